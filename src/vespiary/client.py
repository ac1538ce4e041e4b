"""Clients for the same URLs: for tests, and for talking onward."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Generator, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from vespiary._hooks import as_handler, handler_hooks
from vespiary._options import native_options
from vespiary._versions import next_version
from vespiary.endpoint import Endpoint
from vespiary.errors import CloseReason, ConnectionClosed, EndpointError, HandshakeRefused
from vespiary.filters import FilterFactory, add_filters
from vespiary.framing import Framing
from vespiary.handler import AsyncHandler, Handler
from vespiary.limits import Deadlines, Limits, SlowConsumer
from vespiary.loop import running_core
from vespiary.websocket import WebSocket

if TYPE_CHECKING:
    from vespiary._core import Connection

__all__ = ["Connecting", "connect"]


class Connecting:
    """A connection that is being made: await it, or use it in `async with`."""

    def __init__(
        self, endpoint: Endpoint, hooks: dict[str, Any], native: dict[str, object], ask: _Ask
    ) -> None:
        self._endpoint = endpoint
        self._hooks = hooks
        self._native = native
        self._ask = ask
        self._connection: Connection | None = None

    def __await__(self) -> Generator[Any, None, Connection]:
        return self._connect().__await__()

    async def __aenter__(self) -> Connection:
        self._connection = await self
        return self._connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        connection = self._connection
        if connection is not None:
            connection.close()
            await connection.wait_closed()

    async def _connect(self) -> Connection:
        endpoint = self._endpoint
        if endpoint.scheme == "unix":
            return await self._connect_to(endpoint.path)
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
        failure: Exception | None = None
        for *_, address in found:
            try:
                return await self._connect_to((str(address[0]), int(address[1])))
            except OSError as error:
                failure = failure or error
        assert failure is not None
        raise failure

    async def _connect_to(self, address: str | tuple[str, int]) -> Connection:
        spoken = self._ask.versions
        asked = [spoken[0]]
        while True:
            try:
                return await self._attempt(address, asked[-1])
            except HandshakeRefused as refusal:
                version = next_version(refusal, spoken, asked)
                if version is None:
                    raise
                asked.append(version)

    async def _attempt(self, address: str | tuple[str, int], version: int) -> Connection:
        outcome: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()

        def settle(
            connection: Connection | None,
            reason: CloseReason | None,
            headers: list[tuple[str, str]] | None,
        ) -> None:
            if outcome.done():
                if connection is not None:
                    connection.abort()
            elif connection is not None:
                outcome.set_result(connection)
            else:
                assert reason is not None
                outcome.set_exception(_failure(reason, self._endpoint, headers or []))

        hooks = {**self._hooks, "outcome": settle}
        connecting = running_core().connect(
            address,
            str(self._endpoint),
            hooks,
            {**self._native, "versions": [version]},
            self._ask.handshake(self._endpoint),
            self._ask.source,
        )
        try:
            return await outcome
        except asyncio.CancelledError:
            connecting.abort()
            raise


class _Ask:
    """What a client asks for beside the endpoint."""

    def __init__(
        self,
        versions: Sequence[int],
        subprotocols: Iterable[str],
        headers: Iterable[tuple[str, str]],
        source: str | None,
    ) -> None:
        self.versions = versions
        self.subprotocols = list(subprotocols)
        self.headers = list(headers)
        self.source = (source, 0) if source is not None else None

    def handshake(
        self, endpoint: Endpoint
    ) -> tuple[str, str, list[str], list[tuple[str, str]]] | None:
        """The facts of a WebSocket handshake; None for a stream."""
        if endpoint.scheme != "ws":
            return None
        host = endpoint.authority if endpoint.port != 80 else endpoint.authority.rpartition(":")[0]
        return host, endpoint.target, self.subprotocols, self.headers


def _failure(reason: CloseReason, endpoint: Endpoint, headers: list[tuple[str, str]]) -> Exception:
    """The exception for a connection that could not be opened."""
    address = endpoint.authority
    if reason.error is not None:
        text = f"cannot connect to {endpoint}: {reason.error.strerror}"
        return type(reason.error)(reason.error.errno, text)
    if reason.status is not None:
        return HandshakeRefused(reason.status, reason.text, address, tuple(headers))
    if reason.text == "the handshake took too long":
        return TimeoutError(f"cannot connect to {endpoint}: {reason.text}")
    return ConnectionClosed.from_reason(reason, address)


def connect(
    url: str,
    handler: Handler | AsyncHandler | None = None,
    *,
    framing: Framing | None = None,
    limits: Limits | None = None,
    deadlines: Deadlines | None = None,
    slow_consumer: SlowConsumer = "wait",
    websocket: WebSocket | None = None,
    subprotocols: Iterable[str] = (),
    headers: Iterable[tuple[str, str]] = (),
    filters: Sequence[FilterFactory] = (),
    source: str | None = None,
    half_close: bool = False,
) -> Connecting:
    """Connect to a server; the connection's messages come from `receive()` or `async for`.

    ::

        async with vespiary.connect("ws://127.0.0.1:9001") as connection:
            connection.send("hello")
            print(await connection.receive())

    Args:
        url: `tcp://`, `unix:///path` or `ws://`.
        handler: Left out, messages are received; given, it is called as a server's would be.
        framing: As for `Server.add`.
        limits: As for `Server.add`, as far as they concern one connection.
        deadlines: The same.
        slow_consumer: As for `Server.add`.
        websocket: What is WebSocket's own; `origins` are a server's, and mean nothing here.
        subprotocols: WebSocket subprotocols to offer, the best first; left out, `websocket`'s.
        headers: Further header fields of the WebSocket handshake, behind `websocket`'s.
        filters: What stands between the socket and the framing: see `vespiary.Filter`.
        source: The local IP address to connect from.
        half_close: Without a handler: when the peer of a stream has finished sending, stay open
            for sending until `close()`. Left out, the connection closes then.

    Errors:
        EndpointError: the URL cannot be connected to.
        OSError: the connect was refused or has failed.
        TimeoutError: connect and handshake took longer than `handshake_seconds`.
        HandshakeRefused: the server answered with something other than 101.
    """
    endpoint = Endpoint.parse(url)
    if endpoint.scheme == "http":
        raise EndpointError(
            f"{url!r}: connect speaks tcp://, unix:// and ws://; for HTTP use an HTTP client",
            subject=url,
            value=url,
        )
    hooks: dict[str, Any] = {} if handler is None else handler_hooks(as_handler(handler))
    native = native_options(
        endpoint,
        framing,
        limits or Limits(),
        deadlines or Deadlines(),
        slow_consumer,
        websocket=websocket,
        parts=hooks.get("part") is not None,
        filtered=add_filters(hooks, filters),
        reads_when_crowded=hooks.get("message") is None,
    )
    if handler is None:
        hooks["stream"] = True
        if half_close:
            hooks["half_close"] = True
    asked = websocket or WebSocket()
    offered = list(subprotocols) or asked.subprotocols
    ask = _Ask(asked.versions, offered, [*asked.headers, *headers], source)
    return Connecting(endpoint, hooks, native, ask)
