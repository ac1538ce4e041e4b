"""The conformance kit for handlers: what every well-behaved handler satisfies.

Each check is a conversation in the simulation, and is run with the same messages under other
circumstances: bytes that come one by one, connections side by side, peers that vanish.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, Unpack

from vespiary._core import Connection
from vespiary._faults import Faults
from vespiary.client import ClientOptions, connect
from vespiary.endpoint import Endpoint
from vespiary.errors import ConfigurationError, ConnectionClosed, VespiaryError
from vespiary.handler import AnyHandler
from vespiary.routing import PathPattern
from vespiary.server import Server
from vespiary.server_options import ServerOptions
from vespiary.testing._calls import watch_calls
from vespiary.testing._conversation import (
    BYTE_BY_BYTE,
    HARSH,
    LOSSLESS,
    Ending,
    Heard,
    converse,
    messages_of,
    serving,
    shown,
    watch_log,
)
from vespiary.testing._server import address_of
from vespiary.testing._simulation import run

__all__ = ["HandlerFault", "check_handler"]

T = TypeVar("T")

MESSAGES: tuple[str, ...] = ("hello", "", "Grüße, 世界 🐝", "x" * 5000, "bye")
"""What a handler is sent by default; over a stream, as bytes with a line end each."""


class HandlerFault(AssertionError):
    """A handler does not satisfy a check; the text says which, with the seed to repeat it."""


def check_handler(
    handler: AnyHandler,
    url: str = "ws://127.0.0.1:80",
    *,
    messages: Sequence[str | bytes] | None = None,
    client: ClientOptions | None = None,
    path: str | None = None,
    repeatable: bool = True,
    seeds: int = 10,
    **options: Unpack[ServerOptions],
) -> None:
    """Try what every handler must satisfy, in a simulated network and in virtual time.

    1. However the network cuts and delays the bytes, the answers are the same.
    2. Connections side by side, or one after the other, get the same answers: no state of one
       leaks into another.
    3. Each connection ends when its peer closes, resets, or the server stops; no task stays
       behind, and cancellation is not ignored.
    4. `on_close` is called exactly once for each `on_open`, and nothing after it.
    5. No exception is raised: an exception that Vespiary would log fails the check, with its
       traceback.

    Args:
        handler: As for `Server.add`. A class or a function makes a new handler for each check.
        url: Where it is served: a scheme, and a path if the handler reads path parameters, such as
            `ws://127.0.0.1:80/rooms/{room}`.
        messages: What a client sends. Default: some texts.
        client: The options of that client, of `vespiary.connect`: subprotocols, headers, framing.
        path: Path and query that the clients request. Default: the path of `url`, where the value
            of each parameter is its name (`/rooms/room`).
        repeatable: Whether the same messages always get the same answers. False omits the
            comparisons, for handlers that answer with the time, or talk to all their clients.
        seeds: How many seeds to try for each kind of fault.
        options: Those of `Server.add`.

    Raises:
        ConfigurationError: an option is wrong, or `path` does not belong to `url`.
        HandlerFault: the first check that fails.
    """
    _refuse_options_of_clients(options)
    if "framing" in options:
        client = {"framing": options["framing"], **(client or {})}
    client = client or {}
    path = _path(url, path)
    check = _Check(handler, url, path, messages or _messages(url, client), client, options)
    expected = check.run("one connection", check.alone)
    for seed in range(seeds):
        faults = BYTE_BY_BYTE if seed == 0 else LOSSLESS
        what = "bytes that come one by one" if seed == 0 else "bytes cut and delayed"
        heard = check.run(what, check.alone, seed, faults)
        if repeatable:
            check.compare(what, expected, heard, seed)
    for seed in range(min(seeds, 3)):
        for heard in check.run("connections side by side", check.together, seed) or ():
            if repeatable:
                check.compare("connections side by side", expected, heard, seed)
    for heard in check.run("one connection after the other", check.in_turn) or ():
        if repeatable:
            check.compare("one connection after the other", expected, heard, 0)
    for seed in range(seeds):
        check.run("connections that are reset", check.alone, seed, HARSH)
    check.run("peers that vanish", check.vanishing)
    check.run("a stop of the server", check.stopped, until_ended=False)


@dataclass
class _Check:
    """A handler, and how it is talked to."""

    handler: AnyHandler
    url: str
    path: str
    messages: Sequence[str | bytes]
    client: ClientOptions
    options: ServerOptions

    def run(
        self,
        what: str,
        talk: Callable[[str], Coroutine[Any, Any, T]],
        seed: int = 0,
        faults: Faults | None = None,
        *,
        until_ended: bool = True,
    ) -> T | None:
        """Serve and talk; everything that goes wrong besides the answers is a fault."""
        ending = Ending()

        async def main(handler: AnyHandler) -> T:
            server = Server()
            server.add(handler, self.url, **self.options)
            async with serving(server, ending, until_ended=until_ended) as url:
                return await talk(address_of(url, self.path))

        with watch_log() as log, watch_calls(self.handler) as (handler, calls):
            try:
                heard = run(main(handler), seed=seed, faults=faults, timeout=None)
            except ConfigurationError:
                # The arguments of `check_handler` are wrong, and not the handler.
                raise
            except (OSError, VespiaryError) as error:
                # With these faults, connections are reset, even while they open.
                if faults is not HARSH:
                    logged = "".join(f"\nthe server logged:\n{text}" for text in log.errors[:1])
                    text = f"the client could not connect: {error}{logged}"
                    raise _fault(what, text, seed) from error
                heard = None
        for text in ending.faults():
            raise _fault(what, text, seed)
        for text in log.errors:
            raise _fault(what, f"an exception was raised:\n{text}", seed)
        for text in calls.faults():
            raise _fault(what, text, seed)
        return heard

    def compare(self, what: str, expected: Heard | None, heard: Heard | None, seed: int) -> None:
        """The answers are the same as on one connection in a quiet network."""
        if heard != expected:
            text = f"the answers are {shown(heard)}, and on one connection alone {shown(expected)}"
            raise _fault(what, text, seed)

    async def alone(self, url: str) -> Heard:
        """One connection."""
        heard = await converse(url, self.messages, self.client)
        return messages_of(url, heard, has_framing=self.client.get("framing") is not None)

    async def together(self, url: str) -> list[Heard]:
        """Three connections at a time."""
        return list(await asyncio.gather(*(self.alone(url) for _ in range(3))))

    async def in_turn(self, url: str) -> list[Heard]:
        """Three connections, one after the other."""
        return [await self.alone(url) for _ in range(3)]

    async def vanishing(self, url: str) -> None:
        """Peers that reset the connection, after one message more each time."""
        for count in range(len(self.messages) + 1):
            connection = await self._begun(url, count)
            await asyncio.sleep(0.001 * count)
            connection.abort()
            await connection.wait_closed()

    async def stopped(self, url: str) -> list[Connection[Any]]:
        """Connections that are open when the server stops."""
        connections = [await self._begun(url, count) for count in (0, 1, len(self.messages))]
        await asyncio.sleep(0.01)
        return connections

    async def _begun(self, url: str, count: int) -> Connection[Any]:
        """A connection on which some messages were sent."""
        connection: Connection[Any] = await connect(url, **self.client)
        with contextlib.suppress(ConnectionClosed):
            for message in self.messages[:count]:
                connection.send(message)
        return connection


def _fault(what: str, text: str, seed: int) -> HandlerFault:
    return HandlerFault(f"{what} (seed {seed}): {text}")


def _refuse_options_of_clients(options: ServerOptions) -> None:
    own = ClientOptions.__annotations__.keys() - ServerOptions.__annotations__.keys()
    for name in own & options.keys():
        raise ConfigurationError(
            f"{name}= is an option of the client: write client={{{name!r}: ...}}", subject=name
        )


def _path(url: str, given: str | None) -> str:
    """What the clients request; empty where there are no requests."""
    endpoint = Endpoint.parse(url)
    if not endpoint.has_http:
        if given is not None:
            raise ConfigurationError(
                f"path is for ws:// and http:// URLs; got path={given!r} with {url}", subject="path"
            )
        return ""
    pattern = PathPattern.parse(endpoint.target.partition("?")[0], url)
    path = pattern.example if given is None else given
    if pattern.match(path.partition("?")[0]) is None:
        raise ConfigurationError(
            f"path must be one that {url} serves, such as {pattern.example!r}; got {path!r}",
            subject="path",
        )
    return path


def _messages(url: str, client: ClientOptions) -> list[str | bytes]:
    """What is sent by default."""
    if Endpoint.parse(url).scheme == "ws":
        return list(MESSAGES)
    line_end = "" if client.get("framing") else "\r\n"
    return [(text + line_end).encode() for text in MESSAGES]
