"""One connection, opened: names resolved, addresses tried, the handshake made, redirects followed.

All of it together is bounded by `handshake_seconds`, counted from the first step; only waiting for
other handshakes with the same address does not count.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from vespiary._asked import Asked
from vespiary._proxies import Proxy
from vespiary._race import Address, Race, resolve
from vespiary._redirects import REDIRECTS, Target, next_target
from vespiary._slow_hooks import timed
from vespiary._turns import turn
from vespiary._versions import next_version
from vespiary.endpoint import Endpoint
from vespiary.errors import (
    CloseReason,
    ConnectionClosed,
    HandshakeRefused,
    ProxyRefused,
    Redirect,
)
from vespiary.loop import running_core
from vespiary.trace import requires

if TYPE_CHECKING:
    from vespiary._core import Connection

__all__ = ["open_connection"]


async def open_connection(target: Target, asked: Asked) -> Connection:
    """Open a connection.

    Raises:
        OSError: no address could be connected to.
        TimeoutError: it took too long.
        HandshakeRefused: the server, or the last of those that were redirected to, said no.
        ConnectionClosed: the connection ended before it was open.
    """
    clock = _Clock(asked.handshake_seconds)
    steps: list[Redirect] = []
    while True:
        try:
            return await _open_one(target, asked, clock)
        except HandshakeRefused as answer:
            if isinstance(answer, ProxyRefused) or answer.status not in REDIRECTS:
                answer.redirects = tuple(steps)
                raise
            following, step = next_target(target, answer, steps, asked.redirects_max)
        except (OSError, ConnectionClosed) as error:
            for step in steps:
                error.add_note(str(step))
            raise
        steps.append(step)
        target = following


class _Clock:
    """The time that is left; it stands still while a handshake waits for its turn."""

    def __init__(self, seconds: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self.deadline = None if seconds is None else self._loop.time() + seconds

    def left(self) -> float | None:
        """Seconds to the deadline; a little at least, so that what is late ends as such."""
        return None if self.deadline is None else max(self.deadline - self._loop.time(), 0.001)

    @contextlib.asynccontextmanager
    async def stopped_for(self, turn: AbstractAsyncContextManager[None]) -> AsyncIterator[None]:
        """Wait for a turn, and have it for the block."""
        began = self._loop.time()
        async with turn:
            if self.deadline is not None:
                self.deadline += self._loop.time() - began
            yield


async def _open_one(target: Target, asked: Asked, clock: _Clock) -> Connection:
    """Open a connection to one target, at whichever of its addresses answers."""
    endpoint = target.endpoint
    proxy = asked.proxy_to(endpoint)
    addresses = await _addresses(endpoint, proxy, asked, clock)
    opening = _Opening(target, proxy, asked, clock)
    if not endpoint.is_websocket:
        return await opening.run(addresses)
    # A proxy resolves the name, so its addresses are not known here: the name is counted as one
    # address (RFC 6455 section 4.1 step 2).
    counted = addresses if proxy is None else [(endpoint.host, endpoint.port)]
    async with clock.stopped_for(turn(counted, asked.handshakes_per_address_max)):
        return await _in_some_version(opening, addresses)


async def _in_some_version(opening: _Opening, addresses: list[Address]) -> Connection:
    """Open a connection in the best version, or in the next one that the server names."""
    versions = opening.asked.versions
    tried = [versions[0]]
    while True:
        opening.version = tried[-1]
        try:
            return await opening.run(addresses)
        except HandshakeRefused as refusal:
            version = next_version(refusal, versions, tried)
            if version is None:
                raise
            tried.append(version)


async def _addresses(
    endpoint: Endpoint, proxy: Proxy | None, asked: Asked, clock: _Clock
) -> list[Address]:
    """The addresses to connect to: the proxy's, where there is one."""
    if proxy is None and endpoint.path:
        return [endpoint.path]
    host, port = (endpoint.host, endpoint.port) if proxy is None else (proxy.host, proxy.port)
    try:
        async with asyncio.timeout_at(clock.deadline):
            return await resolve(host, port, asked.source)
    except TimeoutError:
        raise TimeoutError(
            f"cannot connect to {_where(endpoint, proxy)}: {host} was not resolved in time"
        ) from None
    except socket.gaierror as error:
        where = _where(endpoint, proxy)
        text = f"cannot connect to {where}: {host} was not resolved: {error.strerror}"
        raise socket.gaierror(error.errno, text) from None


def _where(endpoint: Endpoint, proxy: Proxy | None) -> str:
    """Return what an error names: the URL, and the proxy where there is one."""
    return endpoint.bare if proxy is None else f"{endpoint.bare} through the proxy {proxy}"


class _Opening:
    """The attempts at one target."""

    def __init__(self, target: Target, proxy: Proxy | None, asked: Asked, clock: _Clock) -> None:
        self.version = asked.versions[0]
        self.target = target
        self.proxy = proxy
        self.asked = asked
        self._clock = clock
        self._core = running_core()
        self._loop = asyncio.get_running_loop()

    async def run(self, addresses: list[Address]) -> Connection:
        """The connection of the address that succeeded."""
        self._race: Race[Connection] = Race(self._loop, addresses, self._start)
        try:
            return await self._race.run()
        finally:
            # Breaks the reference cycle, so that the garbage collector has nothing to do.
            del self._race

    def _start(self, address: Address, number: int) -> Connection:
        endpoint, asked, proxy = self.target.endpoint, self.asked, self.proxy
        attempt = _Attempt(self._race, number, endpoint, proxy)
        hooks = asked.hooks.copy()
        if self._loop.get_debug():
            hooks = timed(hooks, self._loop)
        hooks.connected, hooks.outcome = attempt.connected, attempt.settle
        native = {**asked.native, **asked.native_tls(endpoint), "versions": [self.version]}
        tunnel = None
        if proxy is not None:
            requires("rfc6455/4.1/9")
            tunnel = proxy.tunnel(endpoint)
        left = self._clock.left()
        if left is not None:
            native["handshake_seconds"] = left
        try:
            return self._core.connect(
                address,
                endpoint.bare,
                hooks,
                native,
                handshake=asked.handshake(self.target),
                tunnel=tunnel,
                source=(asked.source, 0) if asked.source is not None else None,
            )
        except OSError as error:
            where = _where(endpoint, proxy)
            if asked.source is not None:
                where += f" from {asked.source}"
            text = f"cannot connect to {where}: {error.strerror}"
            raise type(error)(error.errno, text) from None


class _Attempt:
    """The hooks of one attempt. It lives as long as its connection, and drops the race in time."""

    __slots__ = ("endpoint", "number", "proxy", "race")

    def __init__(
        self, race: Race[Connection], number: int, endpoint: Endpoint, proxy: Proxy | None
    ) -> None:
        self.race: Race[Connection] | None = race
        self.number = number
        self.endpoint = endpoint
        self.proxy = proxy

    def connected(self, _: Connection) -> None:
        """TCP is connected, and no handshake begun."""
        if self.race is not None:
            self.race.connected(self.number)

    def settle(
        self,
        connection: Connection | None,
        reason: CloseReason | None,
        headers: list[tuple[str, str]] | None,
        body: bytes | None,
        cause: str | None,
    ) -> None:
        """It is open, or never will be; `cause` is the name of the engine's."""
        race, self.race = self.race, None
        if race is None:
            return
        if connection is not None:
            race.opened(self.number, connection)
            return
        assert reason is not None
        answer = tuple(headers or []), body or b""
        race.failed(self.number, self._failure(reason, cause, *answer))

    def _failure(
        self,
        reason: CloseReason,
        cause: str | None,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
    ) -> Exception:
        """The exception for a connection that could not be opened."""
        address = self.endpoint.authority
        where = _where(self.endpoint, self.proxy)
        if reason.error is not None:
            text = f"cannot connect to {where}: {reason.error.strerror}"
            return type(reason.error)(reason.error.errno, text)
        if cause == "proxy_refused":
            return ProxyRefused(reason.status or 0, reason.text, str(self.proxy), headers, body)
        if reason.status is not None:
            return HandshakeRefused(reason.status, reason.text, address, headers, body)
        if cause == "handshake_seconds":
            return TimeoutError(f"cannot connect to {where}: {reason.text}")
        return ConnectionClosed.from_reason(reason, address)
