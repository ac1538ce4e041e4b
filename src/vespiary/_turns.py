"""How many handshakes with one address run at the same time; further ones wait.

RFC 6455 section 4.1 allows a client to have only one connecting WebSocket per address, so that a
page cannot block a server with connections that never finish. This protects servers from code that
a browser does not trust. But a program opens the connections that its user wants, and no other
library for programs follows this rule: of 120 connects to a server that needs 100 ms for each, the
last would wait 12 seconds, and one server that hangs would block all others. So the limit is an
option (`ClientOptions`). Its default keeps the queues of servers from overflowing, and 1 is the
rule of the RFC.

All clients take the addresses in the same order, so that no two of them wait for each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections import deque
from collections.abc import AsyncIterator, Hashable, Iterable

__all__ = ["turn"]


class _Address:
    """The handshakes with one address."""

    __slots__ = ("__weakref__", "running", "waiting")

    def __init__(self) -> None:
        self.running = 0
        self.waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    async def enter(self, most: int) -> None:
        """Wait until fewer than `most` run, in the order of the calls."""
        if self.running < most and not self.waiting:
            self.running += 1
            return
        place = asyncio.get_running_loop().create_future()
        self.waiting.append((place, most))
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.leave()
            else:
                # This one leaves the queue: the next may be allowed to run now.
                self._let_in()
            raise

    def leave(self) -> None:
        """One has ended."""
        self.running -= 1
        self._let_in()

    def _let_in(self) -> None:
        while self.waiting:
            place, most = self.waiting[0]
            if not place.done():
                if self.running >= most:
                    return
                self.running += 1
                place.set_result(None)
            self.waiting.popleft()


_loops: weakref.WeakKeyDictionary[
    asyncio.AbstractEventLoop, weakref.WeakValueDictionary[Hashable, _Address]
] = weakref.WeakKeyDictionary()


@contextlib.asynccontextmanager
async def turn(addresses: Iterable[Hashable], most: int | None) -> AsyncIterator[None]:
    """Wait until fewer than `most` handshakes run with any of these addresses in this loop."""
    if most is None:
        yield
        return
    known = _loops.setdefault(asyncio.get_running_loop(), weakref.WeakValueDictionary())
    async with contextlib.AsyncExitStack() as stack:
        for key in sorted(set(addresses), key=str):
            address = known.get(key)
            if address is None:
                address = known[key] = _Address()
            await address.enter(most)
            stack.callback(address.leave)
        yield
