"""Free ports, and who listens on a port (proc_net_tcp: /proc/net/tcp)."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from pathlib import Path

__all__ = ["free_port", "is_bound", "listeners"]

_LISTEN = "0A"
_LOWEST = 10_240
_HIGHEST = 32_000
"""Below the ports that the kernel gives to clients by default (ip_local_port_range)."""


def free_port(taken: set[int]) -> int:
    """A port on which nothing listens; not one of those given out before."""
    numbers = random.SystemRandom()
    while True:
        port = numbers.randrange(_LOWEST, _HIGHEST)
        if port in taken:
            continue
        with contextlib.suppress(OSError):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(socket.AF_INET, kind) as probe:
                    probe.bind(("", port))
            taken.add(port)
            return port


def _bound(name: str) -> list[tuple[int, str, str]]:
    """Local port, state and inode of each socket of a protocol."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/self/net/{name}").read_text().splitlines()[1:]
        words = [line.split() for line in lines]
        return [(int(each[1].rpartition(":")[2], 16), each[3], each[9]) for each in words]
    return []


def _inodes(port: int) -> set[str]:
    listening = {
        inode
        for name in ("tcp", "tcp6")
        for number, state, inode in _bound(name)
        if number == port and state == _LISTEN
    }
    datagrams = {
        inode for name in ("udp", "udp6") for number, _, inode in _bound(name) if number == port
    }
    return listening | datagrams


def is_bound(port: int) -> bool:
    """Whether something listens on a TCP port, or has bound this UDP port."""
    return bool(_inodes(port))


def listeners(port: int, pids: set[int]) -> list[int]:
    """Those of some processes that listen on a port."""
    wanted = {f"socket:[{inode}]" for inode in _inodes(port)}
    return [pid for pid in sorted(pids) if wanted & _links(pid)]


def _links(pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/fd/{name}"))  # noqa: PTH115
    return found
