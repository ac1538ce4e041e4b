"""Loopback addresses and ports that no other process of a run uses.

Tests run in several processes at once, each with servers on ports that the kernel chooses. A port
of 127.0.0.1 that one test has just closed may be another test's a moment later, and a connection
that should be refused reaches the other server. So each process has an address of its own: the
whole of 127.0.0.0/8 belongs to the loopback interface (RFC 1122 3.2.1.3).

Where a port has to be known before its server listens, it is one that the kernel does not choose
by itself: those begin at 32,768 (ip(7), `ip_local_port_range`).
"""

import contextlib
import os
import random
import socket

OWN_HOST = f"127.{64 + os.getpid() // 65_536 % 64}.{os.getpid() // 256 % 256}.{os.getpid() % 256}"

_PORTS = range(15_000, 32_768)
_CHANCE = random.SystemRandom()
_chosen: set[int] = set()


def free_port() -> int:
    """Return a TCP port on which nothing listens; no call returns it again."""
    while True:
        port = _CHANCE.choice(_PORTS)
        with contextlib.suppress(OSError), socket.create_server(("", port)):
            if port not in _chosen:
                _chosen.add(port)
                return port
