"""Filters: objects that stand between the socket and the framing, and see every byte.

A filter may change, drop or add bytes in both directions: a cipher, a recorder, a throttle that
counts, a fault for a test. One is made for each connection, so its state is its own.

Three filters are here to be used: `RateLimit`, `ByteDump` and `Deflate`. They can be combined.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import zlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeGuard, cast

from vespiary._callbacks import refuse_coroutine
from vespiary.errors import ConfigurationError, ConnectionClosed

if TYPE_CHECKING:
    from vespiary._core import Connection, Hooks

__all__ = ["ByteDump", "Deflate", "Filter", "FilterFactory", "RateLimit", "add_filters"]


class Filter:
    """An object that sees and may change the bytes of a connection: define some of its methods.

    A method that you do not define passes all bytes on unchanged. If a method raises an exception,
    the connection is reset, and the exception is logged once and counted.
    """

    def opened(self, connection: Connection) -> None:
        """The connection is ready for messages; called before the handler's `on_open`.

        It cannot be `async def`.
        """

    def received(
        self, connection: Connection, data: bytes
    ) -> bytes | Awaitable[bytes | None] | None:
        """Return the bytes that the next filter, or the framing, gets; None drops them.

        It may be `async def`. Bytes that arrive while it runs wait, and if these are too many,
        reading pauses.
        """
        return data

    def sending(
        self, connection: Connection, data: bytes
    ) -> bytes | Awaitable[bytes | None] | None:
        """Return the bytes that the next filter, or the peer, gets. Called once per batch.

        It may be `async def`. Messages that are sent while it runs wait in the write queue.
        """
        return data


Filtered = bytes | None | Awaitable[bytes | None]
"""What a filter makes of bytes: at once, or later."""

FilterFactory = Callable[[], Filter]
"""A function that makes the filter of a connection, such as the class itself."""


class _Bucket:
    """A token bucket: so many bytes per second, and a burst after a pause."""

    __slots__ = ("_filled", "burst", "level", "rate")

    def __init__(self, name: str, rate: float | None, burst: int | None) -> None:
        if rate is not None and not (_is_number(rate) and rate > 0):
            raise _wrong(name, rate, "a number of bytes per second above 0, or None for no limit")
        self.rate = rate or 0.0
        self.burst = max(1024, int(self.rate / 10)) if burst is None else burst
        self.level = float(self.burst)
        self._filled: float | None = None

    def fill(self, now: float) -> None:
        """Add the tokens of the time that has passed."""
        if self._filled is not None:
            self.level = min(self.burst, self.level + (now - self._filled) * self.rate)
        self._filled = now


class RateLimit(Filter):
    """Limits how many bytes per second a connection receives and sends.

    ::

        from vespiary.filters import RateLimit

        slow = functools.partial(RateLimit, received=50_000, sent=100_000)
        vespiary.serve(Chat(), "ws://127.0.0.1:9001", filters=[slow])

    If a peer sends faster, reading pauses, so that TCP slows it down. What this end sends
    faster waits in the write queue, where `Limits` and `slow_consumer=` apply to it. Bytes are
    counted as the filter sees them. A connection has one `RateLimit` at most.

    Args:
        received: Bytes per second from the peer; None for no limit.
        sent: Bytes per second to the peer; None for no limit.
        burst_bytes: How many bytes may pass at once after a pause. Default: those of a tenth of a
            second, and 1,024 at least.

    Raises:
        ConfigurationError: an argument is not valid.
    """

    REFILL_SECONDS = 0.02
    """How often bytes that wait are let go."""

    def __init__(
        self,
        *,
        received: float | None = None,
        sent: float | None = None,
        burst_bytes: int | None = None,
    ) -> None:
        if burst_bytes is not None and not _is_count(burst_bytes):
            raise _wrong("burst_bytes", burst_bytes, "a whole number of at least 1, or None")
        self._received = _Bucket("received", received, burst_bytes)
        self._sent = _Bucket("sent", sent, burst_bytes)
        self._is_refilling = False

    def opened(self, connection: Connection) -> None:
        """Let a burst go, and no more."""
        if self._sent.rate:
            now = _now()
            self._sent.fill(now)
            self._let_go(connection)

    def received(self, connection: Connection, data: bytes) -> bytes:
        """Pass the bytes on, and read no more until their time is over."""
        bucket = self._received
        if bucket.rate:
            bucket.fill(_now())
            bucket.level -= len(data)
            if bucket.level < 0:
                connection._throttle_reading(True)
                self._later(connection, -bucket.level / bucket.rate, self._read_on)
        return data

    def sending(self, connection: Connection, data: bytes) -> bytes:
        """Pass on what was let go, and let more go later."""
        if self._sent.rate:
            self._sent.fill(_now())
            self._sent.level -= len(data)
            self._let_go(connection)
        return data

    def _read_on(self, connection: Connection) -> None:
        connection._throttle_reading(False)

    def _let_go(self, connection: Connection) -> None:
        bucket = self._sent
        connection._limit_sending(max(0, int(bucket.level)))
        if bucket.level < bucket.burst and not self._is_refilling:
            self._is_refilling = True
            # At least until one byte may be sent.
            wait = max(self.REFILL_SECONDS, (1 - bucket.level) / bucket.rate)
            self._later(connection, wait, self._refill)

    def _refill(self, connection: Connection) -> None:
        self._is_refilling = False
        self._sent.fill(_now())
        self._let_go(connection)

    def _later(
        self, connection: Connection, seconds: float, callback: Callable[[Connection], None]
    ) -> None:
        # A connection that has ended needs no timer.
        with contextlib.suppress(ConnectionClosed):
            connection.set_timer(min(seconds, 1e9), callback)


class ByteDump(Filter):
    """Logs the bytes of both directions in hexadecimal and as text.

    ::

        filters=[vespiary.filters.ByteDump]

    Args:
        logger: Where to; default: the logger `vespiary.bytes`.
        level: With which level; default: INFO.
        bytes_max: The most bytes of one batch that are shown; None for all. 1,024: a head, or a
            screen.

    Raises:
        ConfigurationError: an argument is not valid.
    """

    def __init__(
        self,
        logger: logging.Logger | None = None,
        *,
        level: int = logging.INFO,
        bytes_max: int | None = 1024,
    ) -> None:
        if type(level) is not int:
            raise _wrong("level", level, "a number, such as logging.INFO")
        if bytes_max is not None and not _is_count(bytes_max):
            raise _wrong("bytes_max", bytes_max, "a whole number of at least 1, or None")
        self._logger = logger or logging.getLogger("vespiary.bytes")
        self._level = level
        self._bytes_max = bytes_max

    def received(self, connection: Connection, data: bytes) -> bytes:
        """Log what arrived."""
        self._log(connection, "received", data)
        return data

    def sending(self, connection: Connection, data: bytes) -> bytes:
        """Log what leaves."""
        self._log(connection, "sent", data)
        return data

    def _log(self, connection: Connection, what: str, data: bytes) -> None:
        if not self._logger.isEnabledFor(self._level):
            return
        shown = data[: self._bytes_max]
        lines = [_dump_line(shown, start) for start in range(0, len(shown), 16)]
        if len(shown) < len(data):
            lines.append(f"... and {len(data) - len(shown)} more")
        text = "\n".join(lines)
        self._logger.log(self._level, "%s: %d bytes %s\n%s", connection.peer, len(data), what, text)


class Deflate(Filter):
    """Compresses a stream in both directions (zlib, RFC 1950); both ends need it.

    Each batch that leaves is flushed, so that the peer can read it at once. Use it for streams;
    WebSocket has `Compression`.

    Args:
        level: From 1 (fast) to 9 (small).
        batch_bytes_max: The most bytes that one received batch may inflate to; more reset the
            connection. 4 MiB: sixty times a batch of 64 KiB, and texts shrink to a tenth.

    A peer that ends its compressed stream cannot send more: bytes behind it reset the connection.

    Raises:
        ConfigurationError: an argument is not valid.
    """

    def __init__(self, level: int = 6, *, batch_bytes_max: int = 4 << 20) -> None:
        if type(level) is not int or not 1 <= level <= 9:
            raise _wrong("level", level, "a whole number from 1 to 9")
        if not _is_count(batch_bytes_max):
            raise _wrong("batch_bytes_max", batch_bytes_max, "a whole number of at least 1")
        self._deflate = zlib.compressobj(level)
        self._inflate = zlib.decompressobj()
        self._batch_bytes_max = batch_bytes_max

    def received(self, connection: Connection, data: bytes) -> bytes:
        """Inflate what arrived."""
        # zlib keeps what comes behind the end, without a limit.
        inflated = b""
        if not self._inflate.eof:
            inflated = self._inflate.decompress(data, self._batch_bytes_max + 1)
            data = self._inflate.unused_data
        if len(inflated) > self._batch_bytes_max:
            raise ValueError(
                f"{connection.peer} sent bytes that inflate to more than batch_bytes_max, which is"
                f" {self._batch_bytes_max}"
            )
        if data:
            raise ValueError(
                f"{connection.peer} sent {len(data)} bytes behind the end of its compressed stream"
            )
        return inflated

    def sending(self, connection: Connection, data: bytes) -> bytes:
        """Compress what leaves."""
        return self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)


def _dump_line(data: bytes, start: int) -> str:
    piece = data[start : start + 16]
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
    return f"{start:08x}  {piece.hex(' '):<47}  |{text}|"


def _is_count(value: object) -> bool:
    return type(value) is int and 1 <= value < 1 << 31


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value < 1e12


def _wrong(name: str, value: object, wanted: str) -> ConfigurationError:
    return ConfigurationError(f"{name}= takes {wanted}; got {value!r}", subject=name, value=value)


def _now() -> float:
    """The loop's clock, which may be a virtual one."""
    return asyncio.get_running_loop().time()


_Step = Callable[["Connection", bytes], Filtered]


def _is_later(made: Filtered) -> TypeGuard[Awaitable[bytes | None]]:
    return made.__class__ is not bytes and isinstance(made, Awaitable)


async def _pass_on(
    connection: Connection, rest: Iterable[_Step], waiting: Awaitable[bytes | None]
) -> bytes | None:
    passed = await waiting
    for step in rest:
        if not passed:
            return None
        made = step(connection, passed)
        passed = await made if _is_later(made) else cast("bytes | None", made)
    return passed


def _made(factory: FilterFactory) -> Filter:
    made: object = factory()
    if isinstance(made, Filter):
        return made
    raise TypeError(
        f"filters= takes functions that return a vespiary.filters.Filter, such as a class of"
        f" filters; {factory!r} returned {made!r}"
    )


def add_filters(hooks: Hooks, factories: Sequence[FilterFactory]) -> bool:
    """Put filters in front of a handler; whether there are any.

    What arrives passes them in their order, what leaves in the reverse.
    """
    if not factories:
        return False

    def make_chain() -> list[Filter]:
        return [_made(make) for make in factories]

    def received(connection: Connection, data: bytes) -> Filtered:
        passed: bytes | None = data
        rest = iter(connection._filters(make_chain))
        for one in rest:
            if not passed:
                return None
            made = one.received(connection, passed)
            if _is_later(made):
                return _pass_on(connection, (it.received for it in rest), made)
            passed = cast("bytes | None", made)
        return passed

    def sending(connection: Connection, data: bytes) -> Filtered:
        filters = connection._filters(make_chain)
        if not data:
            # That is how the native side says that the connection is open.
            for one in filters:
                opened: Callable[[Connection], object] = one.opened
                refuse_coroutine(opened, opened(connection))
            return None
        passed: bytes | None = data
        rest = reversed(filters)
        for one in rest:
            if not passed:
                return None
            made = one.sending(connection, passed)
            if _is_later(made):
                return _pass_on(connection, (it.sending for it in rest), made)
            passed = cast("bytes | None", made)
        return passed

    hooks.filter_received = received
    hooks.filter_sent = sending
    return True
