"""The state that all processes of a server share: who is present, and what topics retain.

A process sends its state to the other workers and to other machines as small packets, which may be
lost. Every packet is a JSON object in one line; a retained message follows it as it is.

==========  ====================================================================================
`beat`      every second: the number of the latest batch, and the digest of retained messages
`changes`   a batch: who has entered and left
`ask`       send all of your members: the sender has missed a batch, or has just started
`whole`     a part of all members
`leave`     the sender ends
`compare`   send the stamps of your retained messages, from a topic on
`stamps`    some of them
`want`      send the messages of these topics
`kept`      a retained message
==========  ====================================================================================

A process that has nothing to share sends nothing. One that has sent something, and is not heard of
for `LOST_SECONDS`, has ended or is away: its members are removed. If it is back, it is asked for
all of them. While a broker is away, nothing is known about processes on other machines, and they
are not removed.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from vespiary._counted import counted
from vespiary.errors import SendRefused
from vespiary.presence import Change, Other, Presence
from vespiary.workers._backplane import Published, Stated
from vespiary.workers._retained import NO_STAMP, Entry, Stamps, is_stamp

if TYPE_CHECKING:
    import asyncio

    from vespiary._core import Topics

__all__ = ["SharedState"]

logger = logging.getLogger("vespiary")

LOST_SECONDS = 4.0
_BEAT_SECONDS = 1.0
_BATCH_SECONDS = 0.1
"""How long changes are collected."""
_LATE_SECONDS = 1.0
"""A process whose own loop was blocked for this time has heard nothing of others meanwhile."""
_ASK_SECONDS = 2.0
_PART_BYTES = 24 << 10
"""A packet of the backplane has 32 KiB."""
_PARTS_A_TURN_MAX = 20
"""So many parts of whole lists are sent at once: half a megabyte. Carriers drop more than they can
keep."""
_TRANSFERS_MAX = 100
_PROCESSES_MAX = 10_000
_SWEEP_MAX = 10_000
"""Connections of which one round finds out if they have ended."""
_DIFFERENT_BEATS = 3
"""A message that was published a moment ago is on its way to a process that does not have it."""
_STAMPS_MAX = 500
_WANTED_MAX = 16
_COMPARE_SECONDS = (2.0, 60.0)
"""The first pause between two comparisons with a process, and the longest one."""
_ODD = (ValueError, TypeError, KeyError, IndexError, RecursionError)


class SharedState:
    """What one process of a server shares with others.

    Args:
        process: The name of this process.
        loop: The server's loop.
        topics: The server's topics.
        members_max: See `Presence`.

    Attributes:
        lost: Members that were removed because their process was not heard of any more.
    """

    def __init__(
        self,
        process: str,
        loop: asyncio.AbstractEventLoop,
        topics: Topics,
        members_max: int | None,
    ) -> None:
        self.process = process
        self.presence = Presence(members_max)
        self.stamps = Stamps(process)
        self.lost = 0
        self._loop = loop
        self._topics = topics
        self._send: Callable[[Stated], object] | None = None
        self._is_away: Callable[[str], bool] = lambda _: False
        self._timer: asyncio.TimerHandle | None = None
        self._ticked = self._beat_at = 0.0
        self._sweep: Iterator[Any] = iter(())
        self._comparison: _Comparison | None = None
        self._transfers: dict[str, _Transfer] = {}
        self._is_odd_reported = self._is_full_reported = self._is_stopped = False

    def connect(self, send: Callable[[Stated], object], is_away: Callable[[str], bool]) -> None:
        """Share the state from now on.

        Args:
            send: Sends a packet to a process, or to all where the name is empty.
            is_away: Whether nothing can come from a process at present.
        """
        self._send, self._is_away = send, is_away
        self.run()

    def run(self) -> None:
        """Begin to look for connections that have ended; on the loop's thread."""
        if self._timer is None and not self._is_stopped:
            self._ticked = self._loop.time()
            self._timer = self._loop.call_later(_BATCH_SECONDS, self._tick)

    def stop(self) -> None:
        """Share nothing any more."""
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            if self._has_something:
                self._post("", "leave")

    @property
    def _has_something(self) -> bool:
        return bool(self.presence.sequence or self.stamps.kept)

    def _tick(self) -> None:
        now = self._loop.time()
        try:
            if now > self._ticked + _LATE_SECONDS:
                for other in self.presence.others.values():
                    other.heard = now
            self._ticked = now
            self._end_some()
            self._send_changes()
            self._send_parts()
            if now >= self._beat_at:
                self._beat_at = now + _BEAT_SECONDS
                self._beat(now)
        except Exception:
            logger.exception("Sharing the state of the server failed")
        self._timer = self._loop.call_later(_BATCH_SECONDS, self._tick)

    def _end_some(self) -> None:
        """Remove connections that have ended."""
        some = list(itertools.islice(self._sweep, _SWEEP_MAX))
        if not some:
            self._sweep = iter(self.presence.connections())
            some = list(itertools.islice(self._sweep, _SWEEP_MAX))
        for connection in some:
            if not connection.is_open:
                self.presence.end(connection)

    def _send_changes(self) -> None:
        for part in _parts(self.presence.changes()):
            self.presence.sequence += 1
            self._post("", "changes", n=self.presence.sequence, c=part)

    def _beat(self, now: float) -> None:
        if self._has_something:
            self._post("", "beat", n=self.presence.sequence, d=f"{self.stamps.digest:x}")
        for process, other in list(self.presence.others.items()):
            if self._is_away(process):
                other.heard = now
            elif now > other.heard + LOST_SECONDS:
                self._remove(process, other)
        if self._comparison is not None and now > self._comparison.until:
            self._comparison = None

    def _remove(self, process: str, other: Other) -> None:
        count = self.presence.forget(process)
        self.lost += count
        if count:
            logger.warning(
                "Removed %s of process %s, which was not heard of for %g s",
                counted(count, "member"),
                process,
                LOST_SECONDS,
            )

    def _post(self, to: str, kind: str, payload: bytes = b"", **content: Any) -> None:
        if self._send is not None:
            head = json.dumps({"k": kind, "p": self.process, **content}, separators=(",", ":"))
            self._send(Stated(to, head.encode() + b"\n" + payload))

    def receive(self, stated: Stated) -> None:
        """Take a packet of another process."""
        if stated.process not in ("", self.process) or self._timer is None:
            return
        try:
            head, _, payload = stated.message.partition(b"\n")
            packet = json.loads(head)
            self._heed(packet, payload)
        except _ODD as error:
            # Such a program sends many: the log has the first one.
            level = logging.DEBUG if self._is_odd_reported else logging.WARNING
            self._is_odd_reported = True
            logger.log(level, "A packet with the state of a process is not valid: %r", error)

    def _heed(self, packet: dict[str, Any], payload: bytes) -> None:
        kind, process = packet["k"], _text(packet["p"])
        if process == self.process:
            return
        now = self._loop.time()
        if kind == "leave":
            self.presence.forget(process)
            return
        if kind == "ask":
            self._send_all(process)
            return
        if kind == "compare":
            self._send_stamps(process, _text(packet["t"]))
            return
        if kind == "want":
            for topic in packet["t"][:_WANTED_MAX]:
                self._send_kept(process, _text(topic))
            return
        if kind == "stamps":
            self._compare(process, packet, now)
            return
        if kind == "kept":
            self._take_kept(process, packet, payload, now)
            return
        if process not in self.presence.others and len(self.presence.others) >= _PROCESSES_MAX:
            return
        self._follow(process, self.presence.hear(process, now), packet, now)

    def _follow(self, process: str, other: Other, packet: dict[str, Any], now: float) -> None:
        """Take what a process says of its members."""
        kind, sequence = packet["k"], _number(packet["n"])
        if kind == "changes":
            self.presence.apply(other, sequence, _changes(packet["c"]))
        elif kind == "whole":
            part = _number(packet["i"]), _number(packet["of"])
            self.presence.take_part(other, sequence, part, _changes(packet["c"]))
            # Further parts are on their way.
            other.asked = now
        elif kind == "beat":
            self._look_at_digest(process, other, int(_text(packet["d"]), 16), now)
        else:
            raise ValueError(f"{kind!r} is not a kind of packet")
        if other.is_over and not self._is_full_reported:
            self._is_full_reported = True
            logger.warning(
                "Some connections that are present in process %s are not known here: members_max"
                " is reached",
                process,
            )
        if other.sequence != sequence and kind != "whole" and now >= other.asked + _ASK_SECONDS:
            other.asked = now
            self._post(process, "ask")

    def _send_all(self, process: str) -> None:
        """Begin to send all members; a process that is being sent them is not sent them again."""
        if process not in self._transfers and len(self._transfers) < _TRANSFERS_MAX:
            self._send_changes()
            parts = list(_parts(self.presence.whole())) or [[]]
            self._transfers[process] = _Transfer(self.presence.sequence, parts)
            self._send_parts()

    def _send_parts(self) -> None:
        left = _PARTS_A_TURN_MAX
        for process, one in list(self._transfers.items()):
            while left and one.sent < len(one.parts):
                numbers = one.sequence, one.sent, len(one.parts)
                self._post_part(process, numbers, one.parts[one.sent])
                one.sent += 1
                left -= 1
            if one.sent == len(one.parts):
                del self._transfers[process]

    def _post_part(self, process: str, numbers: tuple[int, int, int], part: list[Change]) -> None:
        sequence, index, count = numbers
        self._post(process, "whole", n=sequence, i=index, of=count, c=part)

    # Retained messages

    def retain(self, topic: str, message: str | bytes | None, compress: bool | None) -> bytes:
        """Note that this process has published a retained message, or discarded one.

        Returns:
            Its stamp; none if the topic retains another message by now.
        """
        if message is not None and self._topics.retained(topic) != message:
            return NO_STAMP
        stamp = self.stamps.next()
        self.stamps.put(topic, stamp, is_kept=message is not None, compress=compress)
        return stamp

    def deliver(self, published: Published) -> None:
        """Send a message of another process to subscribers, and retain it if it is the latest."""
        topic, message, compress, retain, stamp = published
        topics, is_newer = self._topics, False
        if retain or message is None:
            is_newer = is_stamp(stamp) and self.stamps.is_newer(topic, stamp)
            if not is_newer and (message is None or self.stamps.is_known(topic, stamp)):
                return
        if message is None:
            topics.discard_retained(topic)
            self.stamps.put(topic, stamp, is_kept=False)
            return
        try:
            topics.publish(topic, message, None, compress, is_newer)
        except SendRefused as error:
            if not is_newer:
                raise
            # Its stamp stays: so it does not come again, and an older one does not either.
            logger.warning("A message of another process is not retained: %s", error)
            topics.discard_retained(topic)
            self.stamps.put(topic, stamp, is_kept=False)
            topics.publish(topic, message, None, compress, False)
            return
        if is_newer:
            self.stamps.put(topic, stamp, is_kept=True, compress=compress)

    def _look_at_digest(self, process: str, other: Other, digest: int, now: float) -> None:
        """Compare retained messages with a process that seems to have other ones."""
        if digest == self.stamps.digest:
            other.differs, other.compare_wait = 0, 0.0
            return
        other.differs += 1
        is_first = not self.stamps.kept
        if other.differs < _DIFFERENT_BEATS and not is_first:
            return
        if self._comparison is None and now >= other.compare_at:
            first, longest = _COMPARE_SECONDS
            other.compare_wait = min(max(2 * other.compare_wait, first), longest)
            other.compare_at = now + other.compare_wait
            self._comparison = _Comparison(process, now)
            self._post(process, "compare", t="")

    def _send_stamps(self, process: str, after: str) -> None:
        found = [
            (topic, entry.stamp.hex(), entry.is_kept)
            for topic, entry in self.stamps.after(after, _STAMPS_MAX)
        ]
        self._post(process, "stamps", e=found, more=len(found) == _STAMPS_MAX)

    def _compare(self, process: str, packet: dict[str, Any], now: float) -> None:
        comparison = self._comparison
        if comparison is None or comparison.process != process:
            return
        entries = [(_text(topic), bytes.fromhex(stamp), kept) for topic, stamp, kept in packet["e"]]
        for topic, stamp, is_kept in entries:
            if is_stamp(stamp) and self.stamps.is_newer(topic, stamp):
                if is_kept:
                    comparison.wanted.append(topic)
                else:
                    self.deliver(Published(topic, None, stamp=stamp))
        comparison.after = entries[-1][0] if packet["more"] else None
        self._ask_for_more(comparison, now)

    def _ask_for_more(self, comparison: _Comparison, now: float) -> None:
        comparison.until = now + _ASK_SECONDS
        if comparison.wanted:
            some = comparison.wanted[:_WANTED_MAX]
            del comparison.wanted[:_WANTED_MAX]
            comparison.coming = set(some)
            self._post(comparison.process, "want", t=some)
        elif comparison.after is not None:
            self._post(comparison.process, "compare", t=comparison.after)
        else:
            self._comparison = None

    def _send_kept(self, process: str, topic: str) -> None:
        entry, message = self.stamps.get(topic), self._topics.retained(topic)
        if entry is None or not entry.is_kept or message is None:
            return
        is_text = isinstance(message, str)
        data = message.encode() if isinstance(message, str) else message
        facts = _kept_facts(entry)
        self._post(process, "kept", data, t=topic, text=is_text, **facts)

    def _take_kept(self, process: str, packet: dict[str, Any], payload: bytes, now: float) -> None:
        topic, stamp = _text(packet["t"]), bytes.fromhex(packet["s"])
        compress = packet["z"]
        if compress not in (None, False, True):
            raise ValueError(f"compress is {compress!r}")
        message = payload.decode() if packet["text"] else payload
        comparison = self._comparison
        if comparison is None or comparison.process != process:
            return
        if is_stamp(stamp) and self.stamps.is_newer(topic, stamp):
            self.deliver(Published(topic, message, compress, retain=True, stamp=stamp))
        comparison.coming.discard(topic)
        if not comparison.coming:
            self._ask_for_more(comparison, now)


class _Transfer:
    """All members of this process, while they are sent to another one."""

    def __init__(self, sequence: int, parts: list[list[Change]]) -> None:
        self.sequence = sequence
        self.parts = parts
        self.sent = 0


class _Comparison:
    """The retained messages of another process, while they are compared with the own ones."""

    def __init__(self, process: str, now: float) -> None:
        self.process = process
        self.until = now + _ASK_SECONDS
        self.after: str | None = None
        self.wanted: list[str] = []
        self.coming: set[str] = set()


def _kept_facts(entry: Entry) -> dict[str, Any]:
    return {"s": entry.stamp.hex(), "z": entry.compress}


def _parts(changes: list[Change]) -> Iterator[list[Change]]:
    """The same changes in parts that fit in a packet."""
    part: list[Change] = []
    size = 0
    for change in changes:
        topic, name, info = change
        # JSON may write a character of two bytes as six.
        cost = 3 * len(topic.encode()) + len(name) + 3 * len((info or "").encode()) + 16
        if part and size + cost > _PART_BYTES:
            yield part
            part, size = [], 0
        part.append(change)
        size += cost
    if part:
        yield part


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text; got {value!r:.50}")
    return value


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise TypeError(f"expected a number; got {value!r:.50}")
    return value


def _changes(value: list[Any]) -> list[Change]:
    return [
        (_text(topic), _text(name), None if info is None else _text(info))
        for topic, name, info in value
    ]
