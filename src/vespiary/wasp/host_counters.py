"""What the kernel counts for the whole machine, or for the container: TIME_WAIT and others."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["host_counters", "memory_bytes"]

_SOCKETS = Path("/proc/net/sockstat")
_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TIME_WAIT_MAX = Path("/proc/sys/net/ipv4/tcp_max_tw_buckets")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def host_counters() -> dict[str, int]:
    """What is known of TCP in this network namespace; a number that cannot be read is missing.

    Returns:
        `time_wait`, the sockets in TIME_WAIT (IPv4 and IPv6); `time_wait_max`, above which the
        kernel ends them early; `tcp_in_use` and `tcp_orphaned`; `local_ports`, how many ports
        outgoing connections may use.
    """
    found: dict[str, int] = {}
    for line in _text(_SOCKETS).splitlines():
        kind, _, rest = line.partition(":")
        if kind == "TCP":
            words = rest.split()
            values = dict(zip(words[::2], map(int, words[1::2]), strict=False))
            names = {"tw": "time_wait", "inuse": "tcp_in_use", "orphan": "tcp_orphaned"}
            found |= {name: values[word] for word, name in names.items() if word in values}
    ports = _text(_PORTS).split()
    if len(ports) == 2:
        found["local_ports"] = int(ports[1]) - int(ports[0]) + 1
    most = _text(_TIME_WAIT_MAX).strip()
    if most:
        found["time_wait_max"] = int(most)
    return found


def memory_bytes() -> int:
    """The resident memory of this process."""
    fields = _text(Path("/proc/self/statm")).split()
    return int(fields[1]) * _PAGE_BYTES if len(fields) > 1 else 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
