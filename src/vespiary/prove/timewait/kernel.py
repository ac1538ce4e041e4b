"""The kernel's settings and counters that bear on TIME_WAIT, of one network namespace.

They are read in the namespace of the calling thread: `/proc/thread-self/net` and `/proc/sys/net`
follow the thread, `/proc/net` only the process.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vespiary.prove.timewait.ports import PortRange, port_range

__all__ = ["TIME_WAIT_SECONDS", "Kernel", "parse_pairs", "parse_sockstat", "read_kernel"]

TIME_WAIT_SECONDS: Final = 60.0
"""`TCP_TIMEWAIT_LEN` of the kernel; it is not a setting."""

_SYSCTLS = Path("/proc/sys")
_STATISTICS = Path("/proc/thread-self/net")

_SETTINGS = (
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_tw_reuse_delay",
    "net.ipv4.tcp_timestamps",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_max_orphans",
)

_COUNTERS = {
    "TcpExt": ("TW", "TWRecycled", "TWKilled", "TCPTimeWaitOverflow", "PAWSActive", "PAWSTimewait"),
    "Tcp": ("ActiveOpens", "PassiveOpens", "AttemptFails", "EstabResets", "CurrEstab", "OutRsts"),
}
"""Those of `/proc/net/netstat` and `/proc/net/snmp` that are shown."""


@dataclass(frozen=True)
class Kernel:
    """What the kernel says at one moment.

    Attributes:
        settings: Each sysctl that there is, by its name, as it was read.
        counters: Counters since the namespace was made, by the kernel's names.
        sockstat: Sockets `inuse` (IPv4 and IPv6, without TIME_WAIT), `orphan`, `tw`, `alloc`.
    """

    settings: dict[str, str] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    sockstat: dict[str, int] = field(default_factory=dict)

    @property
    def port_range(self) -> PortRange:
        """The ports of outgoing connections."""
        return port_range(
            self.settings.get("net.ipv4.ip_local_port_range", "32768 60999"),
            self.settings.get("net.ipv4.ip_local_reserved_ports", ""),
        )

    def number(self, name: str, default: int) -> int:
        """A setting that is one number."""
        text = self.settings.get(f"net.ipv4.{name}", "")
        return int(text) if text.lstrip("-").isdigit() else default

    @property
    def reuse_delay_seconds(self) -> float:
        """After how long in TIME_WAIT `tcp_tw_reuse` lets a port be taken again."""
        return self.number("tcp_tw_reuse_delay", 1000) / 1000


def read_kernel() -> Kernel:
    """Read settings and counters of the calling thread's network namespace."""
    settings = {}
    for name in _SETTINGS:
        text = _read(_SYSCTLS / name.replace(".", "/"))
        if text is not None:
            settings[name] = " ".join(text.split())
    counters: dict[str, int] = {}
    for file in ("netstat", "snmp"):
        counters |= _chosen(parse_pairs(_read(_STATISTICS / file) or ""))
    sockstat = parse_sockstat(_read(_STATISTICS / "sockstat") or "", "TCP:")
    sockstat6 = parse_sockstat(_read(_STATISTICS / "sockstat6") or "", "TCP6:")
    if sockstat6:
        sockstat["inuse"] = sockstat.get("inuse", 0) + sockstat6.get("inuse", 0)
    return Kernel(settings, counters, sockstat)


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def _chosen(groups: dict[str, dict[str, int]]) -> dict[str, int]:
    return {
        name: groups[group][name]
        for group, names in _COUNTERS.items()
        for name in names
        if name in groups.get(group, {})
    }


def parse_pairs(text: str) -> dict[str, dict[str, int]]:
    """Read `/proc/net/netstat` or `snmp`: a line of names, and then a line of their values."""
    groups: dict[str, dict[str, int]] = {}
    lines = text.splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=False):
        group, *columns = names.split() or [""]
        groups[group.rstrip(":")] = _numbers(columns, values.split()[1:])
    return groups


def _numbers(names: Sequence[str], values: Sequence[str]) -> dict[str, int]:
    """The values that are numbers, by their names."""
    pairs = zip(names, values, strict=False)
    return {name: int(value) for name, value in pairs if value.removeprefix("-").isdecimal()}


def parse_sockstat(text: str, prefix: str) -> dict[str, int]:
    """Read the line of `/proc/net/sockstat` that begins with `prefix`: names and values in turn."""
    for line in text.splitlines():
        words = line.split()
        if words[:1] == [prefix]:
            return _numbers(words[1::2], words[2::2])
    return {}
