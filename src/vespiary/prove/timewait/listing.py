"""Every socket of a look by itself, for `--sockets`."""

import socket
from collections.abc import Iterator
from typing import Literal

from vespiary.prove.timewait.diag import TIMER_TIME_WAIT
from vespiary.prove.timewait.kernel import TIME_WAIT_SECONDS
from vespiary.prove.timewait.look import Look
from vespiary.prove.timewait.report import SocketReport
from vespiary.prove.timewait.states import CLOSED_BY_PEER, CLOSED_HERE, NAMES, TIME_WAIT
from vespiary.prove.timewait.tally import address

__all__ = ["listed"]


def listed(look: Look) -> Iterator[SocketReport]:
    """Each socket, in the kernel's order."""
    sockets, now = look.sockets, look.clock
    for index, state in enumerate(sockets.states):
        family, remote = sockets.families[index], sockets.remotes[index]
        process, known_by = look.owners[look.numbers[index]]
        left = sockets.milliseconds[index] / 1000
        waits = sockets.timers[index] == TIMER_TIME_WAIT
        yield {
            "namespace": look.namespace.name,
            "state": NAMES.get(state, "close"),
            "local_address": address(family, remote[2:18]),
            "local_port": socket.ntohs(sockets.ports[index]),
            "remote_address": address(family, remote[18:]),
            "remote_port": int.from_bytes(remote[:2]),
            "process": process.name if process else None,
            "pid": process.pid if process else None,
            "known_by": known_by,
            "closed_by": _closed_by(state),
            "since": round(now - TIME_WAIT_SECONDS + left, 3) if state == TIME_WAIT else None,
            "until": round(now + left, 3) if waits else None,
        }


def _closed_by(state: int) -> Literal["this end", "peer"] | None:
    if state in CLOSED_HERE:
        return "this end"
    return "peer" if state in CLOSED_BY_PEER else None
