"""A client that sends bytes in parts and reads what comes, also after the server has closed.

A stream of asyncio forgets what it has received as soon as a write fails, and a server that refuses
the beginning of a request does not read its rest. So this one uses a socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterable

__all__ = ["converse"]


async def converse(
    address: tuple[str, int], parts: Iterable[bytes], quiet_seconds: float, *, ends: bool = False
) -> tuple[bytes, bool]:
    """Send the parts, each in a segment of its own, and read to the end.

    Args:
        address: The server.
        parts: What is sent.
        quiet_seconds: So long without a byte, the server is taken to wait.
        ends: Whether the client has nothing more to send, and says so.

    Returns:
        What has come, and whether the connection is still open.
    """
    loop = asyncio.get_running_loop()
    with socket.socket() as own:
        own.setblocking(False)
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(own, address)
        sending = asyncio.ensure_future(_send(own, parts, ends=ends))
        received = bytearray()
        try:
            while True:
                data = await asyncio.wait_for(loop.sock_recv(own, 65536), quiet_seconds)
                if not data:
                    return bytes(received), False
                received += data
        except TimeoutError:
            return bytes(received), True
        except ConnectionError:
            return bytes(received), False
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending


async def _send(own: socket.socket, parts: Iterable[bytes], *, ends: bool) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionError):
        for part in parts:
            await loop.sock_sendall(own, part)
            await asyncio.sleep(0)
        if ends:
            own.shutdown(socket.SHUT_WR)
