"""Kill the broker of three servers again and again, and count what arrives.

    python -m benches.cluster
    python -m benches.cluster --kills 20 --rate 2000 --away 3

One of three servers publishes numbers at a fixed rate, and sends each to a connection of the second
server too. Clients of the second and the third one write down what comes. The broker is killed
(SIGKILL), and started again after a while. It takes about a minute, and needs nats-server.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

from benches.cluster.nodes import NODES, TEXT, Node, free_port, started_broker


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
