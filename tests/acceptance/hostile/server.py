"""The server under attack: endpoints as told, and one more that tells the statistics.

    python -m tests.acceptance.hostile.server JSON

JSON has `driver`, `descriptors` (RLIMIT_NOFILE, or null), `headroom` (bytes that its address space
may grow by once it serves, or null), and `endpoints`: by name, `url`,
`handler` (a name below), and optionally `framing`, `slow_consumer`, `executor`, `limits`,
`deadlines`, `compression`, `tls` (the files of a certificate and its key) and, for datagrams,
`connections`.

Prints one line with the URLs by name once it serves, and one with the last statistics when it has
stopped. The endpoint `control` answers every message with the statistics of the other endpoints.
"""

import asyncio
import json
import logging
import resource
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import vespiary

Connection = vespiary.Connection


class Echo(vespiary.Handler):
    """Sends back what comes."""

    def on_message(self, connection: Connection, message: bytes | str) -> None:
        """Send it back."""
        connection.send(message)


class Fail(Echo):
    """Sends back what comes, and fails where it is asked to."""

    def on_request(self, request: vespiary.Request) -> None:
        """Fail for one path."""
        if request.path == "/fail-in-request":
            raise RuntimeError("as asked, in on_request")
        request.connection.data = request.path

    def on_open(self, connection: Connection) -> None:
        """Fail for one path."""
        if connection.data == "/fail-in-open":
            raise RuntimeError("as asked, in on_open")

    def on_message(self, connection: Connection, message: bytes | str) -> None:
        """Fail for one message."""
        if message in ("fail", b"fail"):
            raise RuntimeError("as asked, in on_message")
        super().on_message(connection, message)

    def on_close(self, connection: Connection, reason: vespiary.CloseReason) -> None:
        """Fail for one path."""
        if connection.data == "/fail-in-close":
            raise RuntimeError("as asked, in on_close")


class FailInStream(Fail):
    """The same for an endpoint to which no request comes."""

    on_request = vespiary.Handler.on_request  # type: ignore[assignment]


async def fail_later(connection: Connection) -> None:
    """The same as a coroutine, after it has awaited something."""
    async for message in connection:
        await asyncio.sleep(0)
        if message in ("fail", b"fail"):
            raise RuntimeError("as asked, in a coroutine")
        connection.send(message)


async def echo_later(connection: Connection) -> None:
    """Sends back what comes, as a coroutine does it."""
    async for message in connection:
        connection.send(message)
        await connection.drain()


async def echo_slowly(connection: Connection) -> None:
    """Sends back what comes, each after a while."""
    async for message in connection:
        await asyncio.sleep(0.01)
        connection.send(message)


async def hang(connection: Connection) -> None:
    """Takes a message and never ends."""
    await connection.receive()
    connection.send("hanging")
    await asyncio.Event().wait()


class Count(vespiary.Handler):
    """Answers each message with its size."""

    def on_message(self, connection: Connection, message: bytes | str) -> None:
        """Answer it."""
        connection.send(str(len(message)))


class CountParts(vespiary.Handler):
    """The same of messages that come in parts, whatever their size."""

    def on_part(self, connection: Connection, part: bytes, last: bool, text: bool) -> None:
        """Add it up."""
        connection.data = (connection.data or 0) + len(part)
        if last:
            connection.send(str(connection.data))
            connection.data = 0


class Flood(vespiary.Handler):
    """Sends, for a message with a number, as many messages of 64 KiB; each begins with its own."""

    def on_message(self, connection: Connection, message: bytes | str) -> None:
        """Send them."""
        for number in range(int(message)):
            connection.send(number.to_bytes(4) + bytes((64 << 10) - 4))


class Publish(vespiary.Handler):
    """Publishes, for a message with a number, a message of as many bytes to all its connections."""

    def on_start(self, server: vespiary.Server) -> None:
        """Keep the server."""
        self._server = server

    def on_open(self, connection: Connection) -> None:
        """Subscribe it."""
        connection.subscribe("news")

    def on_message(self, connection: Connection, message: bytes | str) -> None:
        """Publish, or answer that there is no memory for it."""
        news = bytes(int(message))
        try:
            self._server.publish("news", news)
        except MemoryError:
            connection.send("no memory")


class Block(vespiary.Handler):
    """Blocks its thread with each message."""

    def on_message(self, connection: Connection, message: bytes | str) -> None:
        """Block for a while, and answer."""
        time.sleep(1.0)
        connection.send("unblocked")


class Page(vespiary.Handler):
    """Answers every HTTP request with its method and target."""

    def on_request(self, request: vespiary.Request) -> vespiary.Response:
        """Answer it."""
        return request.respond(200, f"{request.method} {request.target}\n")


HANDLERS: dict[str, Any] = {
    "echo": Echo(),
    "fail": Fail(),
    "fail_in_stream": FailInStream(),
    "fail_later": fail_later,
    "echo_later": echo_later,
    "echo_slowly": echo_slowly,
    "hang": hang,
    "count": Count(),
    "count_parts": CountParts(),
    "flood": Flood(),
    "block": Block(),
    "page": Page(),
    "publish": Publish(),
}


class Control(vespiary.Handler):
    """Tells the statistics."""

    def __init__(self, server: vespiary.Server, names: list[str]) -> None:
        self._server = server
        self._names = names

    def on_message(self, connection: Connection, message: bytes | str) -> None:
        """Tell them."""
        connection.send(json.dumps(self.tell()))

    def tell(self) -> dict[str, Any]:
        """The statistics of the endpoints, by name."""
        endpoints = self._server.statistics().endpoints
        return {name: asdict(it) for name, it in zip(self._names, endpoints, strict=False)}


def websocket(compression: dict[str, Any] | None) -> vespiary.WebSocket | None:
    """The WebSocket options of an endpoint that compresses as told; None for any other."""
    if compression is None:
        return None
    return vespiary.WebSocket(compression=vespiary.Compression(**compression))


def add(server: vespiary.Server, wanted: dict[str, Any]) -> None:
    """Add an endpoint as described."""
    options: dict[str, Any] = {
        "limits": vespiary.Limits(**wanted.get("limits", {})),
        "deadlines": vespiary.Deadlines(**wanted.get("deadlines", {})),
    }
    if "connections" in wanted:
        options["connections"] = wanted["connections"]
    else:
        options |= {
            "framing": wanted.get("framing"),
            "slow_consumer": wanted.get("slow_consumer", "wait"),
            "executor": wanted.get("executor"),
            "websocket": websocket(wanted.get("compression")),
        }
    if "tls" in wanted:
        options["tls"] = vespiary.ServerTLS(*wanted["tls"])
    server.add(HANDLERS[wanted["handler"]], wanted["url"], **options)


def limit_address_space(headroom: int) -> None:
    """Let the address space grow by so many bytes and no more, as `ulimit -v` does."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + headroom
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


async def serve(endpoints: dict[str, dict[str, Any]], headroom: int | None) -> None:
    """Serve until SIGTERM; a second one ends at once."""
    server = vespiary.Server()
    for wanted in endpoints.values():
        add(server, wanted)
    names = [*endpoints, "control"]
    control = Control(server, list(endpoints))
    server.add(control, "ws://127.0.0.1:0", deadlines=vespiary.Deadlines(handshake_seconds=None))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.stop_soon)
    async with server:
        if headroom is not None:
            limit_address_space(headroom)
        print(json.dumps(dict(zip(names, server.urls, strict=True))), flush=True)
        await server.wait_stopped()
    print(json.dumps(control.tell()), flush=True)


def main(options: dict[str, Any]) -> None:
    """Serve as told."""
    logging.basicConfig(format="%(levelname)s %(message)s")
    if options["descriptors"]:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (options["descriptors"], hard))
    vespiary.run(serve(options["endpoints"], options["headroom"]), driver=options["driver"])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
