"""Send files as bodies: the kernel copies them to the socket (sendfile(2)), window by window.

Each window is sent when the client has read most of the one before. Before it is sent, the kernel
is asked whether it is in the page cache (`RWF_NOWAIT`, preadv2(2)). If not, a thread reads it, so
that the loop does not wait for the disk. Some file systems, such as tmpfs, cannot tell; there the
loop itself reads.

With TLS, or a filter, the bytes have to be in memory. The engine reads them as they leave, so the
windows are smaller.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from vespiary.http._messages import ClientGone

if TYPE_CHECKING:
    from vespiary._core import Exchange

__all__ = ["is_cached", "read_through", "send_part", "window_of"]

_WINDOW_BYTES = 512 << 10
"""What is queued at once. The client has the bytes in the socket's buffer to read while the next
window is on its way."""
_LAYERED_WINDOW_BYTES = 128 << 10
"""The same where the bytes are read into memory."""
_READ_BYTES = 128 << 10


def window_of(exchange: Exchange) -> int:
    """Return how much of a file is queued at once, in bytes."""
    return _LAYERED_WINDOW_BYTES if exchange.is_layered else _WINDOW_BYTES


def is_cached(descriptor: int, offset: int, length: int) -> bool:
    """Whether a part of a file is in memory, as far as its begin, middle and end show."""
    byte = [bytearray(1)]
    try:
        for place in (offset, offset + length // 2, offset + length - 1):
            os.preadv(descriptor, byte, place, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError:
        # The file system cannot tell.
        return True
    return True


def read_through(descriptor: int, offset: int, length: int) -> None:
    """Have a part of a file in memory. To be called in a thread."""
    end = offset + length
    while offset < end:
        count = len(os.pread(descriptor, min(_READ_BYTES, end - offset), offset))
        if not count:
            return
        offset += count


async def send_part(
    exchange: Exchange,
    descriptor: int,
    offset: int,
    length: int,
    room: Callable[[], Awaitable[None]],
) -> None:
    """Send a part of a file as a piece of the body.

    Args:
        exchange: The request, whose response was begun.
        descriptor: The file.
        offset: Where the part begins.
        length: How long it is, in bytes.
        room: Waits until a further piece can be sent.

    Raises:
        OSError: the client has disconnected, or the file cannot be read.
        RuntimeError: the body is longer than its Content-Length says.
    """
    window = window_of(exchange)
    end = offset + length
    while offset < end:
        count = min(window, end - offset)
        if not is_cached(descriptor, offset, count):
            await asyncio.to_thread(read_through, descriptor, offset, count)
        if exchange.is_disconnected:
            raise ClientGone
        if not exchange.write_file(descriptor, offset, count):
            await room()
        offset += count
