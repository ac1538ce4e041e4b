"""The systemd unit for a configuration."""

from __future__ import annotations

from dataclasses import dataclass

from vespiary.endpoint import Endpoint
from vespiary.limits import Deadlines
from vespiary.wasp.configuration import Configuration

__all__ = ["Unit", "unit_text"]

_PRIVILEGED_PORTS = 1024
_STOP_MARGIN_SECONDS = 7
_UNLIMITED_STOP = "infinity"

_HARDENED = """\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome={home}
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service @io-event io_uring_setup io_uring_enter io_uring_register
SystemCallErrorNumber=EPERM
UMask=0077
"""


@dataclass(frozen=True, slots=True)
class Unit:
    """What a unit is created from, in addition to the configuration.

    Attributes:
        name: Its name, without `.service`.
        program: The command `vespiary`, as words.
        user: The user that runs it; None for a user that systemd creates (`DynamicUser=`).
    """

    name: str
    program: tuple[str, ...]
    user: str | None


def unit_text(configuration: Configuration, unit: Unit) -> str:
    """Return the text of a unit file.

    systemd before 253 ignores `Type=notify-reload`, so the unit itself sends SIGHUP.
    The stop may take what the longest drain needs. A port below 1024 needs a capability, and
    nothing else is allowed that a server does not need.
    """
    file = configuration.path.absolute()
    words = " ".join(_quoted(word) for word in (*unit.program, "run", str(file)))
    owner = "DynamicUser=yes" if unit.user is None else f"User={unit.user}"
    if configuration.table.user is not None:
        # systemd starts it as root, and it changes to this user by itself.
        owner = f"# The server becomes the user {configuration.table.user} by itself."
    capabilities = _capabilities(configuration)
    is_at_home = str(file).startswith(("/home/", "/root/"))
    return f"""\
# Written by `vespiary install`. `systemd-analyze security {unit.name}` shows what it may do.
[Unit]
Description=Vespiary: {unit.name}
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
ExecStart={words}
ExecReload=kill -HUP $MAINPID
WorkingDirectory={file.parent}
Restart=on-failure
WatchdogSec=30
KillMode=mixed
TimeoutStopSec={_stop_seconds(configuration)}
LimitNOFILE=1048576
{owner}
StateDirectory={unit.name}
RuntimeDirectory={unit.name}
{capabilities}{_HARDENED.format(home="read-only" if is_at_home else "yes")}
[Install]
WantedBy=multi-user.target
"""


def _quoted(word: str) -> str:
    """A word of a command, as a unit has it."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if any(one in word for one in " \t'\"\\;") else escaped


def _capabilities(configuration: Configuration) -> str:
    table = configuration.table
    needed = set()
    for planned in configuration.endpoints.values():
        for url in planned.urls:
            endpoint = Endpoint.parse(url)
            if not endpoint.is_unix and 0 < endpoint.port < _PRIVILEGED_PORTS:
                needed.add("CAP_NET_BIND_SERVICE")
    if table.user is not None:
        needed |= {"CAP_SETUID", "CAP_SETGID"}
    names = " ".join(sorted(needed))
    ambient = f"AmbientCapabilities={names}\n" if needed else ""
    return f"{ambient}CapabilityBoundingSet={names}\n"


def _stop_seconds(configuration: Configuration) -> str:
    seconds = [
        planned.options.get("deadlines", Deadlines()).drain_seconds
        for planned in configuration.endpoints.values()
    ]
    if None in seconds:
        return _UNLIMITED_STOP
    longest = max(one for one in seconds if one is not None)
    return f"{longest + _STOP_MARGIN_SECONDS:g}"
