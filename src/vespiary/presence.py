"""Who is present in a topic: connections of this process, of other workers, of other machines.

Each process has the list of its own connections and a copy of each other's. A process numbers its
changes, and sends them in batches. One that has missed a batch, or has just started, asks for the
whole list. The name of a process is new at each start, so the lists of two runs are never mixed.

`Presence` knows no sockets and no clock: times are passed in, and packets are made and read by
`vespiary.workers._state`.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vespiary.errors import SendRefused

if TYPE_CHECKING:
    from vespiary._core import Connection

__all__ = ["Member"]

INFO_BYTES_MAX = 1024
"""Enough for a name and a few facts. Each process has a copy of all of them."""
TOPIC_BYTES_MAX = 256
"""As the default of `Limits.topic_bytes_max`."""

LATER_MAX = 1000
"""Batches of changes that wait for the whole list: those of some minutes."""
PARTS_MAX = 100_000
"""Parts of the list of another process."""

Change = tuple[str, str, str | None]
"""A topic, the id of a connection, and its text; None where it has left."""


@dataclass(frozen=True, slots=True)
class Member:
    """A connection that is present in a topic.

    Attributes:
        connection_id: Its id, which `Server.send_to` takes.
        info: The text that was passed to `Server.enter`.
    """

    connection_id: str
    info: str


def check_member(method: str, topic: object, info: object = "") -> None:
    """Check the topic and the text that a method of the server takes.

    Raises:
        TypeError: one of them is not a text.
        ValueError: one of them is too long.
    """
    limits = (("topic", topic, TOPIC_BYTES_MAX), ("info", info, INFO_BYTES_MAX))
    for name, value, bytes_max in limits:
        if not isinstance(value, str):
            raise TypeError(f"{method}() takes a str as {name}; got {value!r}")
        count = len(value.encode())
        if count > bytes_max:
            raise ValueError(f"{method}() takes at most {bytes_max} bytes as {name}; got {count}")


class Members:
    """The members of each topic."""

    def __init__(self) -> None:
        self.topics: dict[str, dict[str, str]] = {}
        self.count = 0

    def change(self, topic: str, name: str, info: str | None) -> bool:
        """Add, change or remove a member; whether this makes a difference."""
        members = self.topics.get(topic)
        known = None if members is None else members.get(name)
        if known == info:
            return False
        if info is None:
            assert members is not None
            del members[name]
            if not members:
                del self.topics[topic]
            self.count -= 1
            return True
        self.topics.setdefault(topic, {})[name] = info
        self.count += known is None
        return True

    def all(self) -> list[Change]:
        """Each member, as a change that adds it."""
        return [
            (topic, name, info)
            for topic, members in self.topics.items()
            for name, info in members.items()
        ]


@dataclass(slots=True)
class Other:
    """Another process.

    Attributes:
        heard: When something came from it last.
        sequence: The number of its latest batch that is in `members`; None before there was one.
        members: Its connections that are present.
        asked: When its whole list was asked for.
        whole: The parts of that list that have come, by number.
        later: Batches that have come while parts are missing, by number.
        is_over: Whether it has more members than are kept here.
        differs: In how many of its latest announcements its retained messages were other ones.
        compare_at: When its retained messages are compared again at the earliest.
        compare_wait: How long to wait after that.
    """

    heard: float
    sequence: int | None = None
    members: Members = field(default_factory=Members)
    asked: float = float("-inf")
    whole: dict[int, list[Change]] = field(default_factory=dict)
    whole_sequence: int = -1
    later: dict[int, list[Change]] = field(default_factory=dict)
    is_over: bool = False
    differs: int = 0
    compare_at: float = float("-inf")
    compare_wait: float = 0.0


class Presence:
    """Who is present, as one process knows it. Any thread may call what has the lock.

    Args:
        members_max: How many connections are kept, those of other processes included.

    Attributes:
        sequence: The number of the latest batch of changes that was sent.
        others: The other processes, by their names.
    """

    def __init__(self, members_max: int | None) -> None:
        self._members_max = members_max
        self._lock = threading.Lock()
        self._own = Members()
        self._topics_of: dict[Connection, set[str]] = {}
        self._ids: dict[Connection, str] = {}
        self._changes: dict[tuple[str, str], str | None] = {}
        self.sequence = 0
        self.others: dict[str, Other] = {}

    @property
    def own_count(self) -> int:
        """How many members are connections of this process."""
        return self._own.count

    @property
    def others_count(self) -> int:
        """How many are connections of other processes."""
        return sum(other.members.count for other in list(self.others.values()))

    def enter(self, connection: Connection, name: str, topic: str, info: str) -> None:
        """Add a connection of this process to a topic, or change its text.

        Raises:
            SendRefused: there are too many members.
        """
        with self._lock:
            is_new = topic not in self._topics_of.get(connection, ())
            if is_new and self._is_full(self._own.count + self.others_count):
                raise SendRefused(
                    f"members_max is {self._members_max}, and so many are present: raise the limit:"
                    " Server(members_max=...)"
                )
            self._ids[connection] = name
            self._topics_of.setdefault(connection, set()).add(topic)
            if self._own.change(topic, name, info):
                self._changes[topic, name] = info

    def _is_full(self, count: int) -> bool:
        return self._members_max is not None and count >= self._members_max

    def leave(self, connection: Connection, topic: str) -> bool:
        """Remove a connection of this process from a topic; False if it was not there."""
        with self._lock:
            topics = self._topics_of.get(connection, set())
            if topic not in topics:
                return False
            self._remove(connection, topic)
            return True

    def _remove(self, connection: Connection, topic: str) -> None:
        topics, name = self._topics_of[connection], self._ids[connection]
        topics.discard(topic)
        if not topics:
            del self._topics_of[connection], self._ids[connection]
        self._own.change(topic, name, None)
        self._changes[topic, name] = None

    def connections(self) -> list[Connection]:
        """The connections of this process that are present somewhere."""
        with self._lock:
            return list(self._topics_of)

    def end(self, connection: Connection) -> None:
        """Remove a connection from all topics."""
        with self._lock:
            for topic in list(self._topics_of.get(connection, ())):
                self._remove(connection, topic)

    def members(self, topic: str) -> list[Member]:
        """The members of a topic, of all processes, in the order of their ids."""
        with self._lock:
            found = dict(self._own.topics.get(topic, {}))
            for other in self.others.values():
                found.update(other.members.topics.get(topic, {}))
        return [Member(name, found[name]) for name in sorted(found)]

    def changes(self) -> list[Change]:
        """What has changed since the last call."""
        with self._lock:
            changes = [(topic, name, info) for (topic, name), info in self._changes.items()]
            self._changes.clear()
            return changes

    def whole(self) -> list[Change]:
        """All members of this process. `changes` must have been sent before."""
        with self._lock:
            return self._own.all()

    def hear(self, process: str, now: float) -> Other:
        """Something came from another process."""
        with self._lock:
            other = self.others.get(process)
            if other is None:
                other = self.others[process] = Other(now)
        other.heard = now
        return other

    def apply(self, other: Other, sequence: int, changes: list[Change]) -> None:
        """Take a batch of another process. One that is not the next changes nothing, or waits."""
        if other.sequence is not None and sequence == other.sequence + 1:
            other.sequence = sequence
            with self._lock:
                self._change(other, changes)
        elif sequence > other.whole_sequence >= 0 and len(other.later) < LATER_MAX:
            other.later[sequence] = changes

    def take_part(
        self, other: Other, sequence: int, part: tuple[int, int], changes: list[Change]
    ) -> None:
        """Take a part of a whole list, which replaces what is known when all parts are there.

        Args:
            other: Whose list it is.
            sequence: The number of the latest batch that is in it.
            part: The number of the part, from 0, and how many there are.
            changes: The members.
        """
        number, count = part
        if sequence != other.whole_sequence:
            other.whole, other.whole_sequence, other.later = {}, sequence, {}
        if number < count <= PARTS_MAX:
            is_full = self._is_full(sum(map(len, other.whole.values())))
            other.is_over |= is_full
            other.whole[number] = [] if is_full else changes
        if len(other.whole) < count:
            return
        with self._lock:
            other.members = Members()
            for index in range(count):
                self._change(other, other.whole[index])
        other.sequence, other.whole, other.whole_sequence = sequence, {}, -1
        while other.sequence + 1 in other.later:
            self.apply(other, other.sequence + 1, other.later[other.sequence + 1])
        other.later = {}

    def _change(self, other: Other, changes: list[Change]) -> None:
        total = self._own.count + self.others_count
        for topic, name, info in changes:
            before = other.members.count
            if info is not None and self._is_full(total):
                other.is_over = True
                continue
            other.members.change(topic, name, info)
            total += other.members.count - before

    def forget(self, process: str) -> int:
        """Remove a process, and return how many members it had."""
        with self._lock:
            other = self.others.pop(process, None)
            return 0 if other is None else other.members.count
