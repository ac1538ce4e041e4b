"""Ranges of bytes: which parts of a file a request asks for (RFC 9110 section 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["RANGES_MAX", "Part", "Parts", "chosen", "multipart"]

RANGES_MAX = 16
"""Requests for more ranges get the whole file: players and readers of PDF ask for a few, and
hundreds are an attack (CVE-2011-3192)."""

_SPECS_CHARACTERS_MAX = 1000
"""Room for many more ranges than are sent."""
_DIGITS_MAX = 19
_SPEC = re.compile(r"(\d*)-(\d*)", re.A)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a file: `length` bytes from `offset` on."""

    offset: int
    length: int

    def content_range(self, size: int) -> str:
        """Return the value of `Content-Range`."""
        return f"bytes {self.offset}-{self.offset + self.length - 1}/{size}"


Parts = list[Part]


def _number(digits: str) -> int:
    # Larger than any file; and int() refuses thousands of digits.
    return int(digits) if len(digits) <= _DIGITS_MAX else 10**_DIGITS_MAX


def chosen(value: str, size: int) -> Parts | None:
    """Return the parts that a request asks for, in its order.

    An empty list is a range that the file does not have (416). None is a value that is to be
    ignored: it is malformed, has another unit, or requests more bytes than the whole file has.

    Args:
        value: The value of `Range`.
        size: The size of the file.
    """
    unit, equals, specs = value.partition("=")
    is_known = equals and unit.strip(" \t").lower() == "bytes"
    if not is_known or len(specs) > _SPECS_CHARACTERS_MAX:
        return None
    parts: Parts = []
    is_empty = True
    for spec in specs.split(","):
        text = spec.strip(" \t")
        if not text:
            continue
        is_empty = False
        found = _SPEC.fullmatch(text)
        if found is None or found[0] == "-":
            return None
        first, last = found[1], found[2]
        if first and last and _number(last) < _number(first):
            return None
        part = _part(first, last, size)
        if part is None:
            return None
        if part.length:
            parts.append(part)
    if is_empty:
        return None
    is_too_much = len(parts) > RANGES_MAX or sum(part.length for part in parts) > size
    return None if is_too_much else parts


def _part(first: str, last: str, size: int) -> Part | None:
    """A part of the file, without length if there is none; None if it cannot be expressed."""
    if not first:
        length = min(_number(last), size)
        # The end of an empty file is a range, but `Content-Range` cannot express it.
        return None if length == 0 < _number(last) else Part(size - length, length)
    start = _number(first)
    end = size if not last else min(_number(last) + 1, size)
    return Part(start, end - start) if start < size else Part(0, 0)


def multipart(parts: Parts, size: int, media_type: str, boundary: str) -> list[bytes]:
    """Return what stands before each part of a body of several parts, and behind the last.

    `multipart/byteranges`, RFC 9110 section 14.6.
    """
    heads = [
        f"\r\n--{boundary}\r\nContent-Type: {media_type}\r\n"
        f"Content-Range: {part.content_range(size)}\r\n\r\n".encode("latin-1")
        for part in parts
    ]
    heads[0] = heads[0][2:]
    return [*heads, f"\r\n--{boundary}--\r\n".encode("latin-1")]
