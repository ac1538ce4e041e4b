"""Which retained message of a topic is the latest, where several processes publish: the last one.

Each retained message has a stamp: the time of the machine that has published it, in nanoseconds,
and the name of the process. The message with the greater stamp wins everywhere, in whichever order
messages come. A process never uses a time that is not greater than each one that it has seen. So
who replaces a message that it knows wins, even if its clock is behind.

A message that was discarded leaves its stamp, so that an older message does not come back. Such
stamps are kept for ten minutes.

`digest` is the same in two processes if they retain the same messages. So a difference is noticed
with a few bytes.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b

__all__ = ["NO_STAMP", "STAMP_BYTES", "Entry", "Stamps", "is_stamp"]

STAMP_BYTES = 16
NO_STAMP = b""
DISCARDED_SECONDS = 600.0
DISCARDED_MAX = 10_000
"""As many as messages are retained by default."""
_TIME = struct.Struct(">Q")
_TIME_MAX = 1 << 63
_NAME_BYTES = STAMP_BYTES - _TIME.size


@dataclass(slots=True)
class Entry:
    """What is known of a topic.

    Attributes:
        stamp: The stamp of the latest message.
        is_kept: Whether the topic retains it; False where it was discarded.
        compress: As for `Connection.send`.
    """

    stamp: bytes
    is_kept: bool
    compress: bool | None


class Stamps:
    """The stamps of all topics that retain a message, or have discarded it.

    Args:
        process: The name of this process.
        clock: Returns nanoseconds since 1970.

    Attributes:
        digest: A number that depends on all topics and stamps of retained messages.
        kept: How many topics retain a message.
    """

    def __init__(self, process: str, clock: Callable[[], int] = time.time_ns) -> None:
        self._name = blake2b(process.encode(), digest_size=_NAME_BYTES).digest()
        self._clock = clock
        self._latest = 0
        self._entries: dict[str, Entry] = {}
        # In the order in which they were discarded here, with the time.
        self._discarded: dict[str, int] = {}
        self.digest = 0
        self.kept = 0

    def next(self) -> bytes:
        """A stamp that is greater than all that were seen."""
        self._latest = max(self._clock(), self._latest + 1)
        return _TIME.pack(self._latest) + self._name

    def is_newer(self, topic: str, stamp: bytes) -> bool:
        """Whether a message with this stamp replaces what is known of the topic."""
        entry = self._entries.get(topic)
        return entry is None or stamp > entry.stamp

    def is_known(self, topic: str, stamp: bytes) -> bool:
        """Whether the message with this stamp is the one that is known."""
        entry = self._entries.get(topic)
        return entry is not None and entry.stamp == stamp

    def put(self, topic: str, stamp: bytes, *, is_kept: bool, compress: bool | None = None) -> None:
        """Note the latest message of a topic."""
        self._latest = max(self._latest, _TIME.unpack_from(stamp)[0])
        self._take_away(topic)
        self._entries[topic] = Entry(stamp, is_kept, compress)
        if is_kept:
            self.kept += 1
            self.digest ^= _digest(topic, stamp)
        else:
            self._discarded[topic] = self._clock()
            self._forget_discarded()

    def _take_away(self, topic: str) -> None:
        entry = self._entries.pop(topic, None)
        self._discarded.pop(topic, None)
        if entry is not None and entry.is_kept:
            self.kept -= 1
            self.digest ^= _digest(topic, entry.stamp)

    def _forget_discarded(self) -> None:
        before = self._clock() - int(DISCARDED_SECONDS * 1e9)
        for topic, at in list(self._discarded.items()):
            if at > before and len(self._discarded) <= DISCARDED_MAX:
                return
            self._take_away(topic)

    def get(self, topic: str) -> Entry | None:
        """What is known of a topic."""
        return self._entries.get(topic)

    def after(self, topic: str, count: int) -> Iterator[tuple[str, Entry]]:
        """The next topics in their order, with what is known of them."""
        later = sorted(name for name in self._entries if name > topic)
        return ((name, self._entries[name]) for name in later[:count])


def is_stamp(data: bytes) -> bool:
    """Whether these bytes are a stamp, and its time one that leaves room for later ones."""
    return len(data) == STAMP_BYTES and _TIME.unpack_from(data)[0] < _TIME_MAX


def _digest(topic: str, stamp: bytes) -> int:
    # XOR, so that the order does not matter, and a topic can be taken away.
    return int.from_bytes(blake2b(stamp + topic.encode(), digest_size=8).digest())
