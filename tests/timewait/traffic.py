"""TCP traffic of known sorts: `python -m tests.timewait.traffic SCENE`.

Each function of `SCENES` runs alone in a namespace that nothing else uses, and prints JSON.
"""

import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vespiary.prove.timewait import Condition, Monitor, Report, own_namespace
from vespiary.prove.timewait.diag import dump, open_diag
from vespiary.prove.timewait.states import NUMBERS

_SIOCSIFADDR, _SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8916, 0x8913, 0x8914, 1
ADDRESS = "10.9.9.9"
"""An address of the namespace that is not a loopback address, so that no port is reused."""


def bring_up() -> None:
    """Give the namespace its loopback interface and an address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))
        address = struct.pack("16sHH4s8x", b"lo:1", socket.AF_INET, 0, socket.inet_aton(ADDRESS))
        fcntl.ioctl(any_socket, _SIOCSIFADDR, address)


def settings(**values: str) -> None:
    """Write settings of `net.ipv4`."""
    for name, value in values.items():
        Path(f"/proc/sys/net/ipv4/{name}").write_text(value)


def listener(host: str, port: int = 0) -> socket.socket:
    """A listening socket."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=512)


def pair(server: socket.socket) -> tuple[socket.socket, socket.socket]:
    """A connection: the client's end and the server's."""
    client = socket.socket(server.family)
    client.connect(server.getsockname())
    return client, server.accept()[0]


def close_in_order(first: socket.socket, second: socket.socket) -> None:
    """Close both ends; the first one stays in TIME_WAIT."""
    first.close()
    assert second.recv(1) == b""
    second.close()


def ended(server: socket.socket, count: int, *, by_server: bool = False) -> None:
    """Make connections that leave `count` sockets in TIME_WAIT."""
    for _ in range(count):
        client, accepted = pair(server)
        close_in_order(*((accepted, client) if by_server else (client, accepted)))
    settled()


@contextmanager
def monitor(*, owners: str = "polling", sockets: bool = False) -> Iterator[Monitor]:
    """Watch this namespace."""
    with Monitor(lambda: [own_namespace()], owners=owners, sockets=sockets) as watching:
        yield watching


def settled(*more: str) -> None:
    """Wait until the kernel has done what the last closes made it do: no socket is under way."""
    passing = {NUMBERS[name] for name in ("fin_wait1", "closing", "last_ack", *more)}
    with open_diag() as diag:
        while passing.intersection(dump(diag).states):
            time.sleep(0.01)


def from_ss() -> dict[str, int]:
    """The totals that `ss` prints, under its own names."""
    done = subprocess.run(["ss", "-Htan"], capture_output=True, text=True, check=True)
    return dict(Counter(line.split()[0] for line in done.stdout.splitlines()))


def totals() -> dict[str, Any]:
    """Sockets in several states, of both families, and who else counts them."""
    kept = []
    for host in ("127.0.0.1", "::1", ADDRESS):
        server = listener(host)
        ended(server, 20)
        ended(server, 5, by_server=True)
        kept += [server, *pair(server), *pair(server)]
        client, accepted = pair(server)
        client.close()  # FIN_WAIT2 without a process, and CLOSE_WAIT at the other end.
        kept.append(accepted)
    settled()
    with monitor(sockets=True) as watching:
        report = watching.report()
    return {"report": report, "ss": from_ss(), "pid": os.getpid(), "kept": len(kept)}


def fullness() -> dict[str, Any]:
    """The half of a small range filled, then the rest: what the budget says, and the kernel."""
    settings(ip_local_port_range="40000 40199", ip_local_reserved_ports="40010-40013")
    server = listener(ADDRESS, 9)
    reports: list[Report] = []
    with monitor() as watching:
        ended(server, 97)
        reports.append(watching.report())
        ended(server, 10)
        reports.append(watching.report())
        ended(server, 196 - 107)
        reports.append(watching.report())
    refused = None
    try:
        pair(server)
    except OSError as error:
        refused = error.errno
    return {"reports": reports, "errno": refused}


def reuse() -> dict[str, Any]:
    """The same to a loopback address, where the kernel reuses ports after a second."""
    settings(ip_local_port_range="40000 40199", tcp_tw_reuse="2")
    server = listener("127.0.0.1", 9)
    with monitor() as watching:
        ended(server, 150)
        return {"report": watching.report()}


def polled() -> dict[str, Any]:
    """Connections of which a known part was open during a look, then all closed."""
    server = listener(ADDRESS, 9)
    with monitor(sockets=True) as watching:
        watching.report()
        seen = [pair(server) for _ in range(30)]
        watching.report()
        for client, accepted in seen:
            close_in_order(client, accepted)
        ended(server, 20)
        return {"report": watching.report(), "pid": os.getpid()}


def served() -> dict[str, Any]:
    """A server that closes first."""
    server = listener(ADDRESS, 9)
    ended(server, 12, by_server=True)
    with monitor() as watching:
        before = watching.report()
        server.close()
        after = watching.report()
    return {"before": before, "after": after, "pid": os.getpid()}


def overflow() -> dict[str, Any]:
    """More connections than may be in TIME_WAIT."""
    settings(tcp_max_tw_buckets="30")
    server = listener("127.0.0.1", 9)
    condition = Condition.parse("overflow > 0")
    with Monitor(lambda: [own_namespace()], owners="polling", alarms=[condition]) as watching:
        ended(server, 20)
        reports = [watching.report()]
        ended(server, 20)
        reports.append(watching.report())
    return {"reports": reports}


def leak() -> dict[str, Any]:
    """Connections that the peer closed and this process did not."""
    server = listener(ADDRESS, 9)
    kept = []
    for _ in range(120):
        client, accepted = pair(server)
        client.close()
        kept.append(accepted)
    settled()
    condition = Condition.parse("close_wait > 100")
    with Monitor(lambda: [own_namespace()], owners="polling", alarms=[condition]) as watching:
        return {"report": watching.report(), "pid": os.getpid()}


def _closing_child(address: tuple[str, int], count: int) -> tuple[int, list[int]]:
    """Fork a process that makes connections and closes them; its number and their local ports."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        ports = []
        for _ in range(count):
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            with socket.socket(family) as client:
                client.connect(address)
                ports.append(client.getsockname()[1])
        os.write(writing, json.dumps(ports).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        ports = json.load(pipe)
    os.waitpid(pid, 0)
    return pid, ports


def _accepting_child(server: socket.socket) -> int:
    """Fork a process that closes each connection after its client did."""
    pid = os.fork()
    if pid == 0:
        while True:
            accepted = server.accept()[0]
            accepted.recv(1)
            accepted.close()
    return pid


def traced() -> dict[str, Any]:
    """Closes by processes that have ended before anybody looks."""
    server = listener(ADDRESS, 9)
    accepting = _accepting_child(server)
    shell = f"for _ in 1 2 3 4 5; do exec 3<>/dev/tcp/{ADDRESS}/9; exec 3>&-; done"
    try:
        with monitor(owners="tracepoint", sockets=True) as watching:
            hosts = [ADDRESS] * 14 + [f"::ffff:{ADDRESS}"]
            closed = [_closing_child((host, 9), 40) for host in hosts]
            subprocess.run(["bash", "-c", shell], check=True)
            settled("fin_wait2", "close_wait")
            report = watching.report()
            # Also when one of these is gone and the other one is still there.
            later = watching.report()
    finally:
        os.kill(accepting, signal.SIGKILL)
        os.waitpid(accepting, 0)
    return {"report": report, "later": later, "closed": closed}


SCENES: dict[str, Callable[[], dict[str, Any]]] = {
    scene.__name__: scene
    for scene in (totals, fullness, reuse, polled, served, leak, overflow, traced)
}


if __name__ == "__main__":
    bring_up()
    json.dump(SCENES[sys.argv[1]](), sys.stdout)
