"""One connection, opened: names resolved, addresses tried, the handshake made, redirects followed.

All of it together is bounded by `handshake_seconds`, counted from the first step.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from vespiary._asked import Asked
from vespiary._race import Address, Race, one_at_a_time, resolve
from vespiary._redirects import REDIRECTS, Target, next_target
from vespiary._versions import next_version
from vespiary.endpoint import Endpoint
from vespiary.errors import (
    CloseReason,
    ConnectionClosed,
    HandshakeRefused,
    Redirect,
)
from vespiary.loop import running_core
from vespiary.trace import requires

if TYPE_CHECKING:
    from vespiary._core import Connection

__all__ = ["open_connection"]

_TOO_LONG = "the handshake took too long"


async def open_connection(target: Target, asked: Asked) -> Connection:
    """Open a connection.

    Raises:
        OSError: no address could be connected to.
        TimeoutError: it took too long.
        HandshakeRefused: the server, or the last of those that were redirected to, said no.
        ConnectionClosed: the connection ended before it was open.
    """
    seconds = math.inf if asked.handshake_seconds is None else asked.handshake_seconds
    deadline = asyncio.get_running_loop().time() + seconds
    steps: list[Redirect] = []
    while True:
        try:
            return await _open_one(target, asked, deadline)
        except HandshakeRefused as answer:
            if answer.status not in REDIRECTS:
                answer.redirects = tuple(steps)
                raise
            following, step = next_target(target, answer, steps, asked.redirects_max)
        except (OSError, ConnectionClosed) as error:
            for step in steps:
                error.add_note(str(step))
            raise
        steps.append(step)
        target = following


async def _open_one(target: Target, asked: Asked, deadline: float) -> Connection:
    """Open a connection to one target, at whichever of its addresses answers."""
    endpoint = target.endpoint
    addresses = await _addresses(endpoint, asked, deadline)
    waits_its_turn = endpoint.scheme == "ws" and not asked.simultaneous_handshakes
    if not requires("rfc6455/4.1/5", "rfc6455/4.1/6", "rfc6455/4.1/7", waits_its_turn):
        return await _in_some_version(target, asked, deadline, addresses)
    turn = one_at_a_time(addresses)
    try:
        async with asyncio.timeout_at(_moment(deadline)):
            await turn.__aenter__()
    except TimeoutError:
        raise TimeoutError(
            f"cannot connect to {endpoint}: {_TOO_LONG}: others with the same address were before"
            " it, one at a time (RFC 6455 section 4.1; simultaneous_handshakes lifts that)"
        ) from None
    try:
        return await _in_some_version(target, asked, deadline, addresses)
    finally:
        await turn.__aexit__(None, None, None)


async def _in_some_version(
    target: Target, asked: Asked, deadline: float, addresses: list[Address]
) -> Connection:
    """Open a connection in the best version, or in the next one that the server names."""
    tried = [asked.versions[0]]
    while True:
        try:
            return await _Opening(target, asked, deadline, tried[-1]).run(addresses)
        except HandshakeRefused as refusal:
            version = next_version(refusal, asked.versions, tried)
            if version is None:
                raise
            tried.append(version)


async def _addresses(endpoint: Endpoint, asked: Asked, deadline: float) -> list[Address]:
    if endpoint.scheme == "unix":
        return [endpoint.path]
    try:
        async with asyncio.timeout_at(_moment(deadline)):
            return await resolve(endpoint.host, endpoint.port, asked.source)
    except TimeoutError:
        raise TimeoutError(
            f"cannot connect to {endpoint}: its name was not resolved in time"
        ) from None


def _moment(deadline: float) -> float | None:
    return None if math.isinf(deadline) else deadline


class _Opening:
    """The attempts at one target."""

    def __init__(self, target: Target, asked: Asked, deadline: float, version: int) -> None:
        self._version = version
        self._target = target
        self._asked = asked
        self._deadline = deadline
        self._core = running_core()
        self._loop = asyncio.get_running_loop()

    async def run(self, addresses: list[Address]) -> Connection:
        """The connection of the address that came through."""
        self._race: Race[Connection] = Race(self._loop, addresses, self._start)
        try:
            return await self._race.run()
        finally:
            # No circle is left for the collector.
            del self._race

    def _start(self, address: Address, number: int) -> Connection:
        attempt = _Attempt(self._race, number, self._target.endpoint)
        hooks = self._asked.hooks.copy()
        hooks.connected, hooks.outcome = attempt.connected, attempt.settle
        native = {**self._asked.native, "versions": [self._version]}
        if not math.isinf(self._deadline):
            native["handshake_seconds"] = max(self._deadline - self._loop.time(), 0.001)
        source = self._asked.source
        return self._core.connect(
            address,
            str(self._target.endpoint),
            hooks,
            native,
            self._asked.handshake(self._target),
            (source, 0) if source is not None else None,
        )


class _Attempt:
    """What one attempt's connection tells; it lives as long as the connection, so it lets go."""

    __slots__ = ("endpoint", "number", "race")

    def __init__(self, race: Race[Connection], number: int, endpoint: Endpoint) -> None:
        self.race: Race[Connection] | None = race
        self.number = number
        self.endpoint = endpoint

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
    ) -> None:
        """It is open, or never will be."""
        race, self.race = self.race, None
        if race is None:
            return
        if connection is not None:
            race.opened(self.number, connection)
            return
        assert reason is not None
        race.failed(self.number, _failure(reason, self.endpoint, headers or [], body or b""))


def _failure(
    reason: CloseReason, endpoint: Endpoint, headers: list[tuple[str, str]], body: bytes
) -> Exception:
    """The exception for a connection that could not be opened."""
    address = endpoint.authority
    if reason.error is not None:
        text = f"cannot connect to {endpoint}: {reason.error.strerror}"
        return type(reason.error)(reason.error.errno, text)
    if reason.status is not None:
        return HandshakeRefused(reason.status, reason.text, address, tuple(headers), body)
    if reason.text == _TOO_LONG:
        return TimeoutError(f"cannot connect to {endpoint}: {reason.text}")
    return ConnectionClosed.from_reason(reason, address)
