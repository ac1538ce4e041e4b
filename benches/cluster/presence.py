"""How soon all servers of a cluster know who is present, and what topics retain.

    python -m benches.cluster.presence
    python -m benches.cluster.presence --members 5000 --topics 5000

Clients enter a room on the first of three servers. It takes about half a minute, and needs
nats-server.
"""

from __future__ import annotations

import argparse
import resource
import socket
import tempfile
import time
from pathlib import Path

from benches.cluster.nodes import START_SECONDS, TEXT, Node, free_port, started_broker

POLL_SECONDS = 0.02


def asked(node: Node, command: str) -> str:
    """The answer of a server to a line."""
    node.socket.sendall(f"{command}\n".encode())
    return node.file.readline().strip()


def seconds_until(node: Node, command: str, expected: int) -> float:
    """How long it takes until a server gives this answer."""
    begin = time.monotonic()
    while asked(node, command) != str(expected):
        assert time.monotonic() < begin + START_SECONDS, asked(node, command)
        time.sleep(POLL_SECONDS)
    return time.monotonic() - begin


def memory(node: Node) -> int:
    """The resident memory of a server, in bytes."""
    for line in Path(f"/proc/{node.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise AssertionError("the server has ended")


def run(members: int, topics: int, folder: Path) -> None:
    """Measure, and print what was found."""
    port = free_port()
    file = folder / "wasp.toml"
    plugin = Path(__file__).with_name("room.py")
    file.write_text(TEXT.format(port=port, plugin=plugin))
    broker = started_broker(port)
    nodes: list[Node] = []
    clients: list[socket.socket] = []
    try:
        nodes += [Node(file) for _ in range(3)]
        for one in nodes:
            one.wait_for_others()
        before = memory(nodes[1])
        host, port_of_first = nodes[0].socket.getpeername()
        for number in range(members):
            client = socket.create_connection((host, port_of_first), START_SECONDS)
            client.sendall(f"enter member-{number:06}\n".encode())
            assert client.recv(100) == b"entered\n"
            clients.append(client)
        late = max(seconds_until(one, "present", members) for one in nodes[1:])
        print(f"{members} members are known on all servers {late:.2f} s after the last has entered")
        each = (memory(nodes[1]) - before) / members
        print(f"memory of another server: {each:.0f} bytes per member")
        began = time.monotonic()
        assert asked(nodes[0], f"retain {topics}") == "done"
        for one in nodes[1:]:
            seconds_until(one, "retained", topics)
        print(
            f"{topics} retained messages are on all servers after {time.monotonic() - began:.2f} s"
        )
        nodes.append(Node(file))
        joined = seconds_until(nodes[3], "present", members)
        print(f"a server that starts knows all members {joined:.2f} s after it serves")
        retained = joined + seconds_until(nodes[3], "retained", topics)
        print(f"and all retained messages {retained:.2f} s after it serves")
        nodes[0].process.kill()
        killed = time.monotonic()
        for one in nodes[1:]:
            seconds_until(one, "present", 0)
        gone = time.monotonic() - killed
        print(f"the members of a killed server are removed {gone:.2f} s after its end")
    finally:
        for client in clients:
            client.close()
        for one in nodes:
            one.process.kill()
            one.process.wait()
        broker.kill()
        broker.wait()


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=2000)
    parser.add_argument("--topics", type=int, default=2000)
    given = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as folder:
        run(given.members, given.topics, Path(folder))


if __name__ == "__main__":
    main()
