"""What a service manager is notified of, and the sockets that it passes: systemd's protocols.

sd_notify(3) is one datagram of text, and sd_listen_fds(3) three environment variables. Programs
that are started without them need nothing here.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

from vespiary._counted import counted
from vespiary.errors import ConfigurationError

__all__ = ["notify", "passed_sockets", "reloading", "watchdog_seconds"]

_FIRST = 3
_NOTIFY_SECONDS = 0.1
"""A manager that does not read must not stop the server: its socket holds a few datagrams."""


def notify(*lines: str) -> bool:
    """Send a state such as `READY=1` to the service manager; whether there is one.

    A manager that cannot be reached is not an error: the server serves nevertheless.
    """
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(_NOTIFY_SECONDS)
            sender.sendto("\n".join(lines).encode(), address)
    except OSError:
        return False
    return True


def reloading() -> None:
    """Notify that a reload begins; `READY=1` ends it."""
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notify("RELOADING=1", f"MONOTONIC_USEC={now}")


def watchdog_seconds(environment: Mapping[str, str] = os.environ) -> float | None:
    """How often the service manager wants to be notified that the loop runs: half its limit."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    process = environment.get("WATCHDOG_PID")
    if not microseconds.isdecimal() or (process is not None and process != str(os.getpid())):
        return None
    return int(microseconds) / 2e6 or None


def passed_sockets(environment: Mapping[str, str] = os.environ) -> dict[str, list[int]]:
    """The descriptors of the sockets that were passed, by their names (`FileDescriptorName=`).

    Raises:
        ConfigurationError: one of them is not open.
    """
    count = environment.get("LISTEN_FDS", "")
    if environment.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal():
        return {}
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, list[int]] = {}
    for number in range(int(count)):
        name = names[number] if number < len(names) and names[number] else "unknown"
        # No program that this one starts gets them.
        try:
            os.set_inheritable(_FIRST + number, False)
        except OSError as error:
            raise ConfigurationError(
                f"LISTEN_FDS={count} says that {counted(int(count), 'socket')} were passed, but the"
                f" descriptor {_FIRST + number} is not open: {error.strerror}",
                subject="LISTEN_FDS",
                value=count,
            ) from None
        found.setdefault(name, []).append(_FIRST + number)
    return found
