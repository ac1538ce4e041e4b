"""Sizes and spans of time as people write them: `64KiB`, `250ms`."""

from __future__ import annotations

import re

__all__ = ["parse_seconds", "parse_size", "size_text"]

_SIZE_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE_MAX = 1 << 62
"""Half of what a signed 64-bit number has: sums stay below it."""

_SECONDS_MAX = 1e9
"""31 years: clocks and timers take it."""

_SPAN_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def parse_size(text: str) -> int:
    """Bytes of a text such as `1000`, `64KiB`, `1.5 GiB`, `200M`; units are powers of 1,024.

    Raises:
        ValueError: it is not a size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) *([kmgt]?)(?:i?b)?", text.strip().lower(), re.ASCII)
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 1000, 64KiB or 2MiB")
    size = float(match[1]) * _SIZE_UNITS[match[2]]
    if size > _SIZE_MAX:
        raise ValueError(f"{text[:40]!r} is too large: at most {_SIZE_MAX >> 40}TiB")
    return int(size)


def parse_seconds(text: str) -> float:
    """Seconds of a text such as `10`, `250ms`, `5s`, `2min`.

    Raises:
        ValueError: it is not a time.
    """
    pattern = r"(\d+\.?\d*|\.\d+) *(ms|s|m|min|h)?"
    match = re.fullmatch(pattern, text.strip().lower(), re.ASCII)
    if match is None:
        raise ValueError(f"{text!r} is not a time such as 10, 250ms, 5s or 2min")
    seconds = float(match[1]) * _SPAN_UNITS[match[2] or ""]
    if seconds > _SECONDS_MAX:
        raise ValueError(f"{text[:40]!r} is too long: at most {_SECONDS_MAX:.0f}s")
    return seconds


def size_text(count: float) -> str:
    """Bytes for people: `512 B`, `64.0 KiB`, `1.5 GiB`."""
    if abs(count) < 1024:
        return f"{count:.0f} B" if count == int(count) or abs(count) >= 100 else f"{count:.1f} B"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if abs(count) < 1024:
            return f"{count:.1f} {unit}"
    return f"{count / 1024:.1f} TiB"
