"""What one subscriber that does not read costs the others, and the server."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benches import clocks
from benches.broadcast.client import Subscribers, read_head, request, reset
from benches.catalogue import Server
from benches.measurement import running
from benches.provision import Toolbox

SUBSCRIBERS = 100
BYTES = 4096
MESSAGES = 1000
"""Four megabytes: many times what the sockets and the server's write queue hold."""
RECEIVE_BYTES = 4096


@dataclass(frozen=True)
class Reading:
    """How the subscribers that read fared.

    Attributes:
        last_ms: Until the last of them had a message; the median of messages.
        grown_bytes: The server's resident memory afterwards, more than before.
    """

    last_ms: float
    grown_bytes: int


def _measure(server: Server, toolbox: Toolbox, is_slow: bool) -> Reading:
    with running(server, toolbox) as (process, url):
        port = int(url.rsplit(":", 1)[1].rstrip("/"))
        stuck = _stuck(port) if is_slow else None
        try:
            with Subscribers(port, SUBSCRIBERS) as subscribers:
                for _ in range(20):
                    subscribers.publish(BYTES)
                processes = clocks.family(process)
                before = clocks.resident_bytes(processes)
                lasts = [subscribers.publish(BYTES).last for _ in range(MESSAGES)]
                grown = clocks.resident_bytes(processes) - before
        finally:
            if stuck is not None:
                reset(stuck)
    return Reading(median(lasts) * 1e3, grown)


def _stuck(port: int) -> socket.socket:
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    stuck.connect(("127.0.0.1", port))
    stuck.sendall(request())
    read_head(stuck)
    return stuck


def table(servers: Sequence[Server], toolbox: Toolbox) -> list[str]:
    """The measurements as Markdown."""
    lines = [
        f"{MESSAGES:,} messages of {BYTES:,} B to {SUBSCRIBERS} subscribers, without and with one "
        "more that never reads.",
        "",
        "| server | last has it, ms | with one that does not read | memory grew by | with it |",
        "|---|---:|---:|---:|---:|",
    ]
    for server in servers:
        without, beside = (_measure(server, toolbox, is_slow) for is_slow in (False, True))
        cells = [f"{it.last_ms:.2f}" for it in (without, beside)]
        cells += [f"{it.grown_bytes / 1024:,.0f} KiB" for it in (without, beside)]
        lines.append(f"| {server.name} | " + " | ".join(cells) + " |")
    return lines
