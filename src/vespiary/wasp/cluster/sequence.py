"""Numbered messages, so that what a broker has lost is noticed and sent again.

A broker of NATS keeps nothing: what it has when it ends, and what is published while a subscriber
is away, is gone. So each process numbers what it publishes, and keeps the latest messages, up to a
limit. It announces its numbers every second. A receiver that misses some asks for them, holds later
ones back meanwhile, and so gets all messages of a process once and in order. It gives up what the
process has not kept, or does not send in time, and counts that as lost.

Nothing here knows sockets or clocks: times are passed in.
"""

from __future__ import annotations

from collections import deque

__all__ = ["History", "Incoming"]

_ASK_SECONDS = 0.5
_ASKS_MAX = 20
"""It is asked for ten seconds. While the broker is away, nothing is asked for."""
_HELD_BYTES_MAX = 16 << 20
_REPLAY_MAX = 1000
"""So many messages are asked for at once."""


class History:
    """The latest messages that a process has published.

    Args:
        bytes_max: How many bytes of them it keeps.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._kept: deque[bytes] = deque()
        self.bytes = 0
        self.last = 0

    @property
    def first(self) -> int:
        """The number of the oldest message that is kept; one more than the last if none is."""
        return self.last - len(self._kept) + 1

    def add(self, data: bytes) -> int:
        """Add a message, and return its number; the oldest ones go, beyond the limit."""
        self.last += 1
        self._kept.append(data)
        self.bytes += len(data)
        while self.bytes > self._bytes_max and len(self._kept) > 1:
            self.bytes -= len(self._kept.popleft())
        return self.last

    def between(self, first: int, last: int) -> list[tuple[int, bytes]]:
        """The messages with these numbers that are kept, the limits included."""
        start = max(first, self.first)
        stop = min(last, self.last, start + _REPLAY_MAX - 1)
        return [(number, self._kept[number - self.first]) for number in range(start, stop + 1)]


class Incoming:
    """What comes from one process.

    Args:
        expected: The number of the next message.

    Attributes:
        lost: How many messages will not come any more.
        repeated: How many have come again.
    """

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._latest = expected - 1
        self._held: dict[int, bytes] = {}
        self._held_bytes = 0
        self._asked_at = float("-inf")
        self._asks = 0
        self.lost = 0
        self.repeated = 0

    @property
    def is_behind(self) -> bool:
        """Whether messages are missing."""
        return self._latest >= self._expected

    def receive(self, number: int, data: bytes) -> list[bytes]:
        """Take a message, and return those that are complete up to it, in their order."""
        self._latest = max(self._latest, number)
        if number < self._expected or number in self._held:
            self.repeated += 1
            return []
        self._held[number] = data
        self._held_bytes += len(data)
        found = self._ready()
        if self._held_bytes > _HELD_BYTES_MAX:
            found += self._give_up(min(self._held))
        return found

    def announce(self, first: int, last: int) -> list[bytes]:
        """Take the numbers that the process can send; what it has not kept is lost."""
        self._latest = max(self._latest, last)
        return self._give_up(first) if first > self._expected else []

    def wanted(self, now: float) -> tuple[int, int] | None:
        """The first and last number to ask for now; None if nothing is to be asked.

        Args:
            now: Seconds of a monotonic clock.
        """
        if self._latest < self._expected or now < self._asked_at + _ASK_SECONDS:
            return None
        self._asked_at = now
        self._asks += 1
        last = min(self._held, default=self._latest + 1) - 1
        return self._expected, min(last, self._expected + _REPLAY_MAX - 1)

    def overdue(self) -> list[bytes]:
        """Give up what was asked for too often, and return what was held back because of it."""
        if self._asks <= _ASKS_MAX:
            return []
        return self._give_up(min(self._held, default=self._latest + 1))

    def _give_up(self, first: int) -> list[bytes]:
        """Expect the message `first` next, or the first one after it that has not come."""
        # Not a step for each number: another process says how far apart they are.
        numbers = sorted(number for number in self._held if number < first)
        found = [self._held.pop(number) for number in numbers]
        self._held_bytes -= sum(map(len, found))
        self.lost += max(0, first - self._expected - len(found))
        self._expected = max(self._expected, first)
        self._asks = 0
        return found + self._ready()

    def _ready(self) -> list[bytes]:
        found = []
        while self._expected in self._held:
            data = self._held.pop(self._expected)
            self._held_bytes -= len(data)
            self._expected += 1
            self._asks = 0
            found.append(data)
        return found
