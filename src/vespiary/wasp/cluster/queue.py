"""Packets that wait until the broker takes them."""

from __future__ import annotations

from collections import deque

__all__ = ["Queue"]


class Queue:
    """Packets in their order, each with its subject."""

    def __init__(self) -> None:
        self._packets: deque[tuple[str, bytes]] = deque()
        self._bytes = 0

    def put(self, to: str, data: bytes, bytes_max: int) -> bool:
        """Add a packet, unless there would be more than `bytes_max` bytes then."""
        if self._bytes + len(data) > bytes_max:
            return False
        self._packets.append((to, data))
        self._bytes += len(data)
        return True

    def take(self) -> tuple[str, bytes] | None:
        """The next packet, and None when there is none."""
        if not self._packets:
            return None
        to, data = self._packets.popleft()
        self._bytes -= len(data)
        return to, data
