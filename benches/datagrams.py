"""`python -m benches.datagrams`: processor time of echo servers for each datagram of UDP.

Two senders: one system call for each datagram, and GSO, with which one call sends many that stay
together until the server's socket (`UDP_SEGMENT` of udp(7)). The numbers in the datagrams show
which came back. What did not is lost: it is counted, and not sent again.
"""

import argparse
import os
import random
import select
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from statistics import median

from benches import clocks
from benches.catalogue import DATAGRAM_FORMS, PEER_SERVERS, Server
from benches.measurement import LOAD_CORE, ServerError, running
from benches.provision import Toolbox, provide, say
from benches.session import enough_cores
from benches.summary import Spread

UDP_SEGMENT, UDP_GRO = 103, 104
"""Of linux/udp.h."""
OURS = "udp/vespiary, on_datagram, uring"
BOUNDS = (
    ("plain", "udp/uvloop DatagramProtocol", 0.50),
    ("plain", "udp/Go", 0.80),
    ("GSO", "udp/uvloop DatagramProtocol", 0.25),
)
"""The most that a datagram of ours may cost, to these servers."""
SENDERS = ("plain", "GSO")
LOST_SECONDS = 0.5
"""After so long a silence what has not come back is lost."""
NUMBER_BYTES = 8

Figures = Mapping[str, float]


class Sender:
    """Sockets that send to one server, and read what it echoes."""

    def __init__(self, port: int, options: argparse.Namespace, *, is_gso: bool) -> None:
        self._size, self._in_flight, self._is_gso = options.size, options.in_flight, is_gso
        self._sockets = []
        self._number = 0
        for _ in range(options.sockets):
            each = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            each.connect(("127.0.0.1", port))
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
            if is_gso:
                each.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, self._size)
            self._sockets.append(each)

    def __enter__(self) -> "Sender":
        return self

    def __exit__(self, *exception: object) -> None:
        for each in self._sockets:
            each.close()

    def exchange(self, rounds: int) -> tuple[int, int]:
        """Send a window from each socket and read the echoes, so often; how many came and went."""
        sent = lost = 0
        for _ in range(rounds):
            awaited = {each: self._send(each) for each in self._sockets}
            sent += sum(map(len, awaited.values()))
            lost += self._receive(awaited)
        return sent - lost, lost

    def _send(self, to: socket.socket) -> set[bytes]:
        window = []
        for _ in range(self._in_flight):
            self._number += 1
            window.append(self._number.to_bytes(NUMBER_BYTES, "big") * (self._size // NUMBER_BYTES))
        for piece in [b"".join(window)] if self._is_gso else window:
            to.send(piece)
        return set(window)

    def _receive(self, awaited: dict[socket.socket, set[bytes]]) -> int:
        """Read until all is there; how many are lost."""
        while any(awaited.values()):
            waiting = [each for each, datagrams in awaited.items() if datagrams]
            ready, _, _ = select.select(waiting, [], [], LOST_SECONDS)
            if not ready:
                return sum(map(len, awaited.values()))
            for each in ready:
                self._take(each, awaited[each])
        return 0

    def _take(self, each: socket.socket, datagrams: set[bytes]) -> None:
        try:
            data = each.recv(1 << 16)
        except BlockingIOError:
            return
        for start in range(0, len(data), self._size):
            # One that counts as lost may come late.
            datagrams.discard(data[start : start + self._size])


def _measure(
    server: Server, toolbox: Toolbox, options: argparse.Namespace, *, is_gso: bool
) -> Figures:
    with running(server, toolbox) as (process, url):
        port = int(url.rsplit(":", 1)[1].rstrip("/"))
        with Sender(port, options, is_gso=is_gso) as sender:
            sender.exchange(options.rounds // 5 + 1)
            processes = clocks.family(process)
            before = sum(clocks.cpu_nanoseconds(one) for one in processes)
            began = time.monotonic()
            came, lost = sender.exchange(options.rounds)
            seconds = time.monotonic() - began
            used = sum(clocks.cpu_nanoseconds(one) for one in processes) - before
    if not came:
        raise ServerError(f"none of {lost} datagrams came back")
    return {"cpu_us": used / 1000 / came, "lost": lost, "sent": came + lost, "rate": came / seconds}


def _perform(
    servers: Sequence[Server], toolbox: Toolbox, options: argparse.Namespace
) -> dict[str, list[dict[str, Figures]]]:
    found: dict[str, list[dict[str, Figures]]] = {name: [] for name in SENDERS}
    for number in range(options.repeats):
        for name in SENDERS:
            repeat: dict[str, Figures] = {}
            for server in random.sample(servers, len(servers)):
                try:
                    figures = _measure(server, toolbox, options, is_gso=name == "GSO")
                except (ServerError, OSError) as error:
                    say(f"[{number + 1}] {name}, {server.key}: FAILED: {error}")
                    continue
                repeat[server.key] = figures
                text = f"{figures['cpu_us']:.2f} us, lost {figures['lost']:.0f}"
                say(f"[{number + 1}] {name}, {server.key}: {text}")
            found[name].append(repeat)
    return found


def _ratio(repeats: Sequence[Mapping[str, Figures]], key: str, base: str) -> Spread | None:
    pairs = [
        one[key]["cpu_us"] / one[base]["cpu_us"] for one in repeats if key in one and base in one
    ]
    return Spread.of(pairs) if pairs else None


def _table(repeats: Sequence[Mapping[str, Figures]], servers: Sequence[Server]) -> list[str]:
    lines = [
        "| server | CPU us per datagram | ratio of ours | datagrams per second | lost of |",
        "|---|---:|---:|---:|---:|",
    ]
    for server in servers:
        measured = [one[server.key] for one in repeats if server.key in one]
        ratio = _ratio(repeats, OURS, server.key)
        if not measured:
            continue
        cpu, rate = (median(one[name] for one in measured) for name in ("cpu_us", "rate"))
        lost, sent = (sum(one[name] for one in measured) for name in ("lost", "sent"))
        text = f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})" if ratio else ""
        cells = f"**{cpu:.2f}** | {text} | {rate:,.0f} | {lost:,.0f} of {sent:,.0f}"
        lines.append(f"| {server.name} | {cells} |")
    return lines


def _targets(found: Mapping[str, Sequence[Mapping[str, Figures]]]) -> list[str]:
    lines = ["| target | at most | measured | met |", "|---|---:|---:|---|"]
    for name, base, most in BOUNDS:
        ratio = _ratio(found[name], OURS, base)
        if ratio is not None:
            met = "yes" if ratio.median <= most else "**no**"
            text = f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
            who = base.partition("/")[2]
            lines.append(f"| {name} sender: CPU per datagram, to {who} | {most} | {text} | {met} |")
    return lines


def main() -> int:
    """Measure, and print the tables; the exit status is 1 if a server could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m benches.datagrams", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="default 5")
    parser.add_argument("--rounds", type=int, default=400, help="in a repeat (default 400)")
    parser.add_argument("--sockets", type=int, default=4, help="that send (default 4)")
    parser.add_argument(
        "--in-flight", type=int, default=32, help="datagrams of each of them (default 32)"
    )
    parser.add_argument("--size", type=int, default=32, help="of a datagram, in bytes (default 32)")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT")
    options = parser.parse_args()
    if options.size < NUMBER_BYTES or options.size % NUMBER_BYTES:
        parser.error(f"--size must be a multiple of {NUMBER_BYTES}; got {options.size}")
    if not enough_cores():
        say("benches: server and senders need a core each, and only one is allowed")
        return 2
    texts = options.only or [""]
    everything = (*DATAGRAM_FORMS, *(one for one in PEER_SERVERS if one.transport == "udp"))
    chosen = [it for it in everything if any(text in it.key for text in texts)]
    toolbox = provide(chosen, load=None, wants_load=False)
    for key, reason in toolbox.missing.items():
        say(f"    missing: {key}: {reason}")
    servers = [server for server in chosen if server.key not in toolbox.missing]
    os.sched_setaffinity(0, {LOAD_CORE})
    found = _perform(servers, toolbox, options)
    print(
        f"{time.strftime('%Y-%m-%d')}; {options.size} B, {options.sockets} sockets with "
        f"{options.in_flight} datagrams in flight each, {options.repeats} repeats of "
        f"{options.rounds} windows. Medians; ratios are paired by repeat, with their quartiles.\n"
    )
    print("\n".join([*_targets(found), ""]))
    for name in SENDERS:
        print("\n".join([f"## {name} sender", "", *_table(found[name], servers), ""]))
    repeats = [one for name in SENDERS for one in found[name]]
    is_complete = all(server.key in one for one in repeats for server in servers)
    return 0 if is_complete else 1


if __name__ == "__main__":
    sys.exit(main())
