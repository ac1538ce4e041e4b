"""Framings as plug-ins: a function says how long the next message is.

::

    def message_size(data: bytes) -> int | None:
        # A message is preceded by its length in one byte, which is a part of it.
        return 1 + data[0]

It gets the bytes that have arrived and do not belong to an earlier message, at least one, and
returns the size of the first message in them, or None while that is not known yet. It is called
again as more arrives. What is sent is not changed.

The engine has no such framing. So a filter in front of its framing `length` adds a length to each
message that arrives, and removes it from each that leaves. The engine's limits apply as usual.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

from vespiary._callbacks import is_async
from vespiary.errors import ConfigurationError
from vespiary.filters import Filter, FilterFactory
from vespiary.framing import LengthPrefix

if TYPE_CHECKING:
    from vespiary._core import Connection

__all__ = ["PREFIX", "MessageSize", "framing_filter"]

MessageSize = Callable[[bytes], int | None]

PREFIX = LengthPrefix(width=8)
"""The engine's framing behind the filter."""

_SIZE_MAX = (1 << 63) - 1


def framing_filter(found: object, reference: str, message_bytes_max: int | None) -> FilterFactory:
    """What makes the filter of a connection.

    Args:
        found: What the configuration names.
        reference: How it does.
        message_bytes_max: The most bytes of a message, and of what may be its beginning.

    Raises:
        ConfigurationError: it is not a plain function of the bytes.
    """
    fault = _fault(found)
    if fault is not None:
        raise ConfigurationError(
            f"{reference} {fault}: a framing is a function message_size(data) that returns the size"
            " of the first message, or None",
            subject="framing",
        )
    size: MessageSize = found  # type: ignore[assignment]
    return lambda: _Messages(size, message_bytes_max)


def _fault(found: object) -> str | None:
    if not callable(found) or inspect.isclass(found):
        return "cannot be called with bytes"
    if is_async(found):
        return "is async"
    try:
        inspect.signature(found).bind(b"")
    except TypeError:
        return f"is defined with {inspect.signature(found)}"
    except ValueError:
        # A built-in function may have no signature.
        return None
    return None


class _Messages(Filter):
    """Finds the messages of one connection."""

    def __init__(self, size: MessageSize, message_bytes_max: int | None) -> None:
        self._size = size
        self._max = message_bytes_max
        self._arrived = bytearray()
        self._expected: int | None = None
        self._head = bytearray()
        self._left = 0

    def received(self, connection: Connection, data: bytes) -> bytes | None:
        """Put its length before each message that is complete."""
        arrived, framed = self._arrived, bytearray()
        arrived += data
        while arrived:
            if self._expected is None:
                self._expected = self._asked(bytes(arrived))
            size = self._expected
            if size is None or (size > len(arrived) and not self._is_too_long(size)):
                break
            framed += size.to_bytes(PREFIX.width)
            framed += arrived[:size]
            del arrived[:size]
            self._expected = None
        return bytes(framed) or None

    def _asked(self, data: bytes) -> int | None:
        size = self._size(data)
        if size is None:
            # If these bytes alone exceed the limit, the engine gets them, and ends the connection.
            return len(data) if self._is_too_long(len(data)) else None
        if type(size) is not int or not 0 < size <= _SIZE_MAX:
            raise ValueError(f"message_size must return a number above 0 or None; got {size!r}")
        return size

    def _is_too_long(self, size: int) -> bool:
        return self._max is not None and size > self._max

    def sending(self, connection: Connection, data: bytes) -> bytes | None:
        """Remove the length before each message; a batch may begin or end anywhere in it."""
        plain, at = bytearray(), 0
        while at < len(data):
            if self._left:
                piece = data[at : at + self._left]
                plain += piece
                self._left -= len(piece)
                at += len(piece)
                continue
            missing = PREFIX.width - len(self._head)
            piece = data[at : at + missing]
            self._head += piece
            at += len(piece)
            if len(self._head) == PREFIX.width:
                self._left = int.from_bytes(self._head)
                self._head.clear()
        return bytes(plain) or None
