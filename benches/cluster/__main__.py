"""Kill the broker of three servers again and again, and count what arrives.

    python -m benches.cluster
    python -m benches.cluster --kills 20 --rate 2000 --away 3

One of three servers publishes numbers at a fixed rate, and sends each to a connection of the second
server too. Clients of the second and the third one write down what comes. The broker is killed
(SIGKILL), and started again after a while. It takes about a minute, and needs nats-server.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

NODES = 3
START_SECONDS = 60.0
SERVING = re.compile(r"Serving (\S+)")
TEXT = """\
cluster = "nats://127.0.0.1:{port}"
[admin]
url = "http://127.0.0.1:0/"
[endpoints.room]
url = "tcp://127.0.0.1:0"
plugin = "{plugin}:Room"
framing = "line"
"""


def free_port() -> int:
    """A port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def started_broker(port: int) -> subprocess.Popen[bytes]:
    """A broker that was started."""
    command = ["nats-server", "-a", "127.0.0.1", "-p", str(port)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


class Node:
    """A server, with a client that writes down what comes."""

    def __init__(self, file: Path) -> None:
        command = [sys.executable, "-m", "vespiary", "run", str(file)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE)
        urls: list[str] = []
        assert self.process.stderr is not None
        while len(urls) < 2:
            line = self.process.stderr.readline().decode()
            assert line, "the server has ended"
            urls += SERVING.findall(line)
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        self.admin = next(url for url in urls if url.startswith("http"))
        host, _, port = next(u for u in urls if u.startswith("tcp"))[6:].rpartition(":")
        self.socket = socket.create_connection((host, int(port)), START_SECONDS)
        self.file = self.socket.makefile("r")
        self.came: list[tuple[str, int]] = []

    def collect(self) -> None:
        """Write down what comes, in a thread."""
        threading.Thread(target=self._collect, daemon=True).start()

    def _collect(self) -> None:
        for line in self.file:
            kind, number = line.split()
            self.came.append((kind, int(number)))

    def status(self) -> Any:
        """What the server knows of the cluster."""
        with urllib.request.urlopen(f"{self.admin}status", timeout=START_SECONDS) as answer:
            return json.load(answer)["cluster"]

    def wait_for_others(self) -> None:
        """Wait until it knows the others."""
        end = time.monotonic() + START_SECONDS
        while self.status()["nodes"] != NODES - 1:
            assert time.monotonic() < end, "the servers do not find each other"
            time.sleep(0.1)

    def numbers(self, kind: str) -> list[int]:
        """The numbers of one kind that have come."""
        return [number for one, number in self.came if one == kind]


def described(numbers: list[int], count: int) -> str:
    """How complete and ordered numbers are."""
    found = Counter(numbers)
    twice = sum(times - 1 for times in found.values())
    ordered = numbers == sorted(numbers)
    lost = count - len(found)
    return f"{lost} of {count} lost, {twice} twice, {'in order' if ordered else 'NOT in order'}"


def run(kills: int, rate: int, away: float, folder: Path) -> None:
    """Measure, and print what was found."""
    port = free_port()
    plugin = Path(__file__).with_name("room.py")
    file = folder / "wasp.toml"
    file.write_text(TEXT.format(port=port, plugin=plugin))
    broker = started_broker(port)
    nodes: list[Node] = []
    try:
        nodes += [Node(file) for _ in range(NODES)]
        for one in nodes:
            one.wait_for_others()
        nodes[1].socket.sendall(b"id\n")
        receiver = nodes[1].file.readline().strip()
        for one in nodes[1:]:
            one.collect()
        begin, count = time.monotonic(), 0
        for turn in range(2 * kills + 1):
            # The broker runs in even turns, and is away in odd ones.
            end = begin + (turn // 2 + 1) * 2.0 + ((turn + 1) // 2) * away
            while time.monotonic() < end:
                count += 1
                nodes[0].socket.sendall(f"number {count} {receiver}\n".encode())
                time.sleep(max(0.0, begin + count / rate - time.monotonic()))
            if turn % 2 == 0 and turn < 2 * kills:
                broker.kill()
                broker.wait()
            elif turn < 2 * kills:
                broker = started_broker(port)
        end = time.monotonic() + 20
        while min(len(one.numbers("published")) for one in nodes[1:]) < count:
            if time.monotonic() > end:
                break
            time.sleep(0.1)
        print(f"{kills} kills of the broker, away for {away:g} s each, {rate} messages per second")
        for index, one in enumerate(nodes[1:], start=2):
            print(f"published, on server {index}: {described(one.numbers('published'), count)}")
        print(f"send_to, on server 2: {described(nodes[1].numbers('sent'), count)}")
        for index, one in enumerate(nodes, start=1):
            names = ("sent", "dropped", "received", "lost", "repeated", "replayed")
            status = one.status()
            counts = ", ".join(f"{name} {status[f'messages_{name}']}" for name in names)
            print(f"server {index} has counted: {counts}")
    finally:
        for one in nodes:
            one.process.kill()
            one.process.wait()
        broker.kill()
        broker.wait()


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--rate", type=int, default=1000, help="messages per second")
    parser.add_argument("--away", type=float, default=1.0, help="seconds")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(given.kills, given.rate, given.away, Path(folder))


if __name__ == "__main__":
    main()
