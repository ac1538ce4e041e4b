"""What an endpoint has counted, as words of 64 bits in shared memory.

First come the single numbers, then names with their counts, such as the reasons of refusals:
`crates/python/src/board.rs` writes both. A name is five words of text, filled up with zeros, and
its first letter says what is counted. When all names are in use, further ones are not counted: so
many different ones do not occur in practice, as they are limits, statuses and errnos.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from vespiary._site import endpoint_statistics
from vespiary.statistics import CompressionStatistics, EndpointStatistics

__all__ = ["NAMES_MAX", "WORDS", "Counts"]

_NUMBERS = (
    "connections_accepted",
    "opened",
    "connections_closed",
    "connections_broken",
    "connections_finishing",
    "handshakes_pending",
    "messages_received",
    "messages_sent",
    "bytes_received",
    "bytes_sent",
    "messages_dropped",
    "datagrams_received",
    "datagrams_sent",
    "protocol_errors",
    "write_pauses",
    "budget_exhausted",
    "handler_errors",
)
_COMPRESSION = (
    "messages_received",
    "compressed_bytes_received",
    "original_bytes_received",
    "messages_sent",
    "compressed_bytes_sent",
    "original_bytes_sent",
    "memory_bytes",
)
_KINDS = {
    "r": "connections_refused",
    "a": "requests_answered",
    "c": "close_codes",
    "l": "limits_reached",
    "d": "datagrams_dropped",
    "e": "datagram_errors",
    "x": "accept_errors",
}
_BY_ERRNO = ("datagram_errors", "accept_errors")

NAMES_MAX = 64
_NUMBER_WORDS = len(_NUMBERS) + len(_COMPRESSION)
_TEXT_WORDS = 5
_NAME_WORDS = _TEXT_WORDS + 1
WORDS = _NUMBER_WORDS + NAMES_MAX * _NAME_WORDS
"""How many words the counts of one endpoint take."""


@dataclass(slots=True)
class Counts:
    """The counts of one endpoint in one or more processes.

    Attributes:
        numbers: The single numbers, in their order.
        names: The counts by kind and name.
    """

    numbers: list[int] = field(default_factory=lambda: [0] * _NUMBER_WORDS)
    names: Counter[str] = field(default_factory=Counter)

    @classmethod
    def read(cls, words: memoryview[int], first: int) -> Counts:
        """Read what begins at a word."""
        numbers = words[first : first + _NUMBER_WORDS].tolist()
        names: Counter[str] = Counter()
        for index in range(NAMES_MAX):
            place = first + _NUMBER_WORDS + index * _NAME_WORDS
            text = words[place : place + _TEXT_WORDS].tobytes().rstrip(b"\0").decode()
            if not text:
                break
            names[text] = words[place + _TEXT_WORDS]
        return cls(numbers, names)

    def write(self, words: memoryview[int], first: int) -> None:
        """Write them, from a word on."""
        for index, number in enumerate(self.numbers):
            words[first + index] = number
        for index, (text, count) in enumerate(list(self.names.items())[:NAMES_MAX]):
            place = first + _NUMBER_WORDS + index * _NAME_WORDS
            name = text.encode().ljust(_TEXT_WORDS * 8, b"\0")
            words[place : place + _TEXT_WORDS] = memoryview(name).cast("Q")
            words[place + _TEXT_WORDS] = count

    def __add__(self, other: Counts) -> Counts:
        """The sum."""
        pairs = zip(self.numbers, other.numbers, strict=True)
        return Counts([one + two for one, two in pairs], self.names + other.names)

    def ended(self) -> Counts:
        """The same when the process has ended: what it still had then has ended with it."""
        of = dict(zip(_NUMBERS, self.numbers, strict=False))
        names = self.names.copy()
        if of["handshakes_pending"]:
            names["rlocal"] += of["handshakes_pending"]
        killed = of["opened"] - of["connections_closed"]
        of["connections_closed"] += killed
        of["connections_broken"] += killed
        of["connections_finishing"] = of["handshakes_pending"] = 0
        compression = [*self.numbers[len(_NUMBERS) : -1], 0]
        return Counts([*of.values(), *compression], names)

    def statistics(self, url: str) -> EndpointStatistics:
        """The same as statistics."""
        fields: dict[str, Any] = dict(zip(_NUMBERS, self.numbers, strict=False))
        fields["connections_open"] = fields.pop("opened") - fields["connections_closed"]
        compression = dict(zip(_COMPRESSION, self.numbers[len(_NUMBERS) :], strict=True))
        fields["compression"] = CompressionStatistics(**compression)
        for name in _KINDS.values():
            fields[name] = {}
        for text, count in self.names.items():
            name = _KINDS[text[0]]
            key = int(text[1:]) if name in _BY_ERRNO else text[1:]
            fields[name][key] = count
        return endpoint_statistics(url, fields)
