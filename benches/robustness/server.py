"""The servers under test: `server.py CASE`, run by the interpreter of the version that is measured.

It prints its ports as JSON, a word when the measured work begins, and its own figures when it ends.
VESPIARY_DRIVER chooses the driver. Only what both versions of the API have is used.
"""

import asyncio
import json
import logging
import os
import sys
import time

import vespiary
from vespiary import Deadlines, Limits, WebSocket

WS, TCP = "ws://127.0.0.1:0", "tcp://127.0.0.1:0"
WORK_SECONDS = 1.0
BLOCK_SECONDS = 2.0
THREAD_MESSAGES, SMALL = 400_000, bytes(16)
ONE_BYTE_MESSAGES = 1_500_000
figures: dict[str, float] = {}


def report(what: str, **values: object) -> None:
    sys.stdout.write(json.dumps({"what": what, **values}) + "\n")
    sys.stdout.flush()


def count(name: str) -> None:
    figures[name] = figures.get(name, 0) + 1


class Echo(vespiary.Handler):
    def on_message(self, connection, message):
        connection.send(message)


def pause(server):
    yield server.add(Echo(), WS, deadlines=Deadlines(handshake_seconds=3))
    pings = Deadlines(ping_interval_seconds=2, ping_timeout_seconds=2)
    yield server.add(Echo(), WS, deadlines=pings)
    yield server.add(Echo(), WS, deadlines=Deadlines(idle_seconds=2))


async def silent(connection):
    """A coroutine that only waits: its connection is not read."""
    connection.pause_reading()
    await asyncio.sleep(3600)


def dead(server):
    pings = {"ping_interval_seconds": 1, "ping_timeout_seconds": 1}
    yield server.add(silent, WS, deadlines=Deadlines(**pings))
    # What finds the dead without pings: nothing before, and then the kernel's own probes.
    name = "tcp_keepalive_seconds"
    has_probes = name in Deadlines.__dataclass_fields__
    yield server.add(silent, TCP, deadlines=Deadlines(**({name: 1} if has_probes else {})))


class BusyMessage(vespiary.Handler):
    async def on_message(self, connection, message):
        count("on_message begun")
        await asyncio.sleep(WORK_SECONDS)
        count("on_message completed")


class BusyClose(vespiary.Handler):
    async def on_close(self, connection, reason):
        count("on_close begun")
        await asyncio.sleep(WORK_SECONDS)
        count("on_close completed")


class BusyRequest(vespiary.Handler):
    async def on_request(self, request):
        count("on_request begun")
        await asyncio.sleep(WORK_SECONDS)
        count("on_request completed")


async def finally_works(connection):
    try:
        async for _ in connection:
            pass
    finally:
        count("finally begun")
        await asyncio.sleep(WORK_SECONDS)
        count("finally completed")


def shutdown(server):
    deadlines = Deadlines(drain_seconds=5)
    for handler in (BusyMessage(), BusyClose(), finally_works, BusyRequest(), Echo()):
        yield server.add(handler, WS, deadlines=deadlines)


class Topics(vespiary.Handler):
    def on_message(self, connection, message):
        order, _, names = message.partition(" ")
        act = connection.subscribe if order == "subscribe" else connection.unsubscribe
        began = time.perf_counter()
        for name in names.split(","):
            act(name)
        connection.send(f"{time.perf_counter() - began:.6f}")


class OneByte(vespiary.Handler):
    """Send more single bytes than the queue takes; the oldest are dropped."""

    def on_message(self, connection, message):
        for _ in range(ONE_BYTE_MESSAGES):
            connection.send(b"x")
        report("full", sent=ONE_BYTE_MESSAGES)


class FromThreads(vespiary.Handler):
    """Send small messages from a thread; `send` waits, or raises in old versions, when it must."""

    def on_message(self, connection, message):
        sent = 0
        for _ in range(THREAD_MESSAGES):
            try:
                connection.send(SMALL)
            except vespiary.WriteQueueFull:
                continue
            sent += 1
        report("full", sent=sent)


class Blocks(vespiary.Handler):
    def on_message(self, connection, message):
        time.sleep(BLOCK_SECONDS)


def work(server):
    limits = Limits(write_bytes_max=4 << 20)
    names = {field for field in Limits.__dataclass_fields__ if field.startswith("topics_per")}
    unlimited = Limits(**dict.fromkeys(names))
    yield server.add(Echo(), WS, websocket=WebSocket(subprotocols=("chat",)))
    yield server.add(Topics(), WS, limits=unlimited)
    yield server.add(OneByte(), WS, limits=limits, slow_consumer="drop-oldest")
    yield server.add(FromThreads(), WS, limits=limits, executor="threads")
    yield server.add(Blocks(), WS)


class Closes(vespiary.Handler):
    def on_message(self, connection, message):
        connection.close()


def flood(server):
    yield server.add(Closes(), WS, deadlines=Deadlines(close_seconds=5))


class Bulk(vespiary.Handler):
    def __init__(self, size):
        self.size = size

    def on_open(self, connection):
        connection.send(bytes(self.size))


def slow(server):
    writes = Deadlines(write_seconds=2, ping_interval_seconds=None)
    yield server.add(Bulk(8 << 20), WS, deadlines=writes)
    # What fits into the kernel's buffers, so that nothing waits to be written.
    pings = Deadlines(write_seconds=None, ping_interval_seconds=1, ping_timeout_seconds=1)
    yield server.add(Bulk(1 << 20), WS, deadlines=pings)


CASES = {case.__name__: case for case in (pause, dead, shutdown, work, flood, slow)}


def main() -> None:
    logging.disable(logging.CRITICAL)
    server = vespiary.Server()
    endpoints = list(CASES[sys.argv[1]](server))

    def serving(urls):
        ports = [int(url.rstrip("/").rpartition(":")[2]) for url in urls]
        report("serving", ports=ports, process=os.getpid())

    run = getattr(server, "run", None) or server.serve
    run(on_serving=serving)
    report("ended", figures=figures, endpoints=len(endpoints))


main()
