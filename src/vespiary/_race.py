"""Connect to a name with several addresses, some of which may not answer (RFC 8305).

A name often has IPv4 and IPv6 addresses, and some of them may not work. If an address does not
answer, a connect takes minutes. So several addresses are tried at the same time: IPv6 and IPv4
alternately (section 4), each a quarter of a second after the previous one, or at once when that one
has failed (section 5). The first connection is used, and the other attempts are aborted. Only TCP
is connected in these attempts, so only the server that is used gets a handshake.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["Address", "Race", "impossible_name", "interleaved", "resolve"]

Address = str | tuple[str, int]
"""A Unix socket's path, or an IP address and a port."""

ATTEMPT_DELAY_SECONDS = 0.25
"""How far behind the attempt before it one begins: what RFC 8305 section 5 recommends."""


class Abortable(Protocol):
    """What a race asks of a connection."""

    def abort(self) -> None: ...


C = TypeVar("C", bound=Abortable)


async def resolve(host: str, port: int, source: str | None = None) -> list[Address]:
    """The addresses of a host, in the order in which they are to be tried.

    Raises:
        OSError: the resolver knows none (socket.gaierror), or none of the source's family.
    """
    family = socket.AF_UNSPEC
    if source is not None:
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
    try:
        found = await _look_up(host, port, family)
    except UnicodeError:
        raise impossible_name() from None
    return interleaved([(info[0], _address(info[4])) for info in found])


async def _look_up(host: str, port: int, family: int) -> list[Any]:
    kind = socket.SOCK_STREAM
    try:
        return await asyncio.get_running_loop().getaddrinfo(host, port, family=family, type=kind)
    except RuntimeError:
        # No thread can look the name up any more: the interpreter exits, or the loop's executor is
        # shut down. The program is about to end, so the loop may be blocked here.
        return socket.getaddrinfo(host, port, family, kind)


def impossible_name() -> socket.gaierror:
    """The error for a name that DNS cannot have: with a label of over 63 bytes, for example."""
    return socket.gaierror(socket.EAI_NONAME, "no host can have this name (RFC 1035 section 2.3.4)")


def _address(address: tuple[Any, ...]) -> Address:
    """Host and port; an IPv6 address that needs one keeps its scope (RFC 4007 section 11)."""
    host, port = address[:2]
    scope = address[3] if len(address) == 4 else 0
    return (f"{host}%{scope}" if scope and "%" not in host else str(host), int(port))


def interleaved(found: Iterable[tuple[int, Address]]) -> list[Address]:
    """Addresses with their families alternating, the first family first; each only once."""
    families: dict[int, dict[Address, None]] = {}
    for family, address in found:
        families.setdefault(family, {})[address] = None
    rows = itertools.zip_longest(*families.values())
    return [address for row in rows for address in row if address is not None]


class Race(Generic[C]):
    """Attempts at several addresses, of which one comes through.

    `start(address, number)` begins an attempt and returns its connection; the code that watches
    that connection then calls `connected`, `opened` and `failed` with the number. All of it belongs
    to one loop's thread.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        addresses: Sequence[Address],
        start: Callable[[Address, int], C],
        delay_seconds: float = ATTEMPT_DELAY_SECONDS,
    ) -> None:
        self.outcome: asyncio.Future[C] = loop.create_future()
        self._loop = loop
        self._addresses = list(addresses)
        self._start = start
        self._delay_seconds = delay_seconds
        self._next = 0
        self._running: dict[int, C] = {}
        self._failures: list[tuple[Address, Exception]] = []
        self._winner: int | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> C:
        """Run to the end; a cancel aborts every attempt.

        Raises:
            Exception: the failure of the winner, or the first of all failures, with the others as
                notes.
        """
        self._begin_next()
        try:
            return await self.outcome
        except asyncio.CancelledError:
            # The race may have been won already, and this task has only not run since.
            if (
                self.outcome.done()
                and not self.outcome.cancelled()
                and not self.outcome.exception()
            ):
                self.outcome.result().abort()
            raise
        finally:
            self._stop_timer()
            for attempt in self._abandon():
                attempt.abort()

    def connected(self, number: int) -> None:
        """An attempt is connected, before any handshake: the first to be so wins."""
        if number not in self._running:
            return
        if self._winner is None:
            self._winner = number
            self._stop_timer()
            winner = self._running.pop(number)
            for attempt in self._abandon():
                attempt.abort()
            self._running[number] = winner

    def opened(self, number: int, connection: C) -> None:
        """An attempt's handshake is done."""
        self.connected(number)
        if self._running.pop(number, None) is None or self.outcome.done():
            connection.abort()
        else:
            self.outcome.set_result(connection)

    def failed(self, number: int, error: Exception) -> None:
        """An attempt has failed."""
        if self._running.pop(number, None) is None or self.outcome.done():
            return
        self._failures.append((self._addresses[number], error))
        if number == self._winner:
            self.outcome.set_exception(error)
        elif self._next < len(self._addresses):
            self._begin_next()
        elif not self._running:
            self.outcome.set_exception(_first_of(self._failures))

    def _begin_next(self) -> None:
        """Begin the next attempt, and see to the one behind it."""
        self._stop_timer()
        while self._next < len(self._addresses):
            number = self._next
            self._next += 1
            try:
                self._running[number] = self._start(self._addresses[number], number)
            except OSError as error:
                self._failures.append((self._addresses[number], error))
                continue
            if self._next < len(self._addresses):
                self._timer = self._loop.call_later(self._delay_seconds, self._begin_next)
            return
        if not self._running and not self.outcome.done():
            self.outcome.set_exception(_first_of(self._failures))

    def _abandon(self) -> list[C]:
        """Those that run, which run no more."""
        running = list(self._running.values())
        self._running.clear()
        return running

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _first_of(failures: Sequence[tuple[Address, Exception]]) -> Exception:
    """One exception for all failures: the first, with the others as its notes."""
    first = failures[0][1]
    if len(failures) > 1:
        for address, error in failures:
            where = address if isinstance(address, str) else address[0]
            first.add_note(f"{where}: {error}")
    return first
