"""Who is present, and what topics retain, on the nodes of a cluster."""

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import wait_until
from tests.wasp.cluster_nodes import PLUGIN, TEXT, Broker, Connect, Node, nodes
from tests.wasp.conftest import Run

pytestmark = pytest.mark.skipif(
    shutil.which("nats-server") is None, reason="nats-server is not installed"
)


@pytest.fixture
def broker(port: int) -> Iterator[Broker]:
    """A broker that runs."""
    made = Broker(port)
    made.start()
    yield made
    made.kill()


@pytest.fixture(autouse=True)
def _plugin(folder: Path) -> None:
    (folder / "room.py").write_text(PLUGIN)


def sees(node: Node, names: str) -> None:
    """Wait until these are present, as a node knows it."""
    wait_until(lambda: node.client.ask("who") == names, lambda: node.server.log)


def test_presence_covers_all_nodes_through_a_restart_of_the_broker(
    run: Run, lines: Connect, broker: Broker
) -> None:
    text = TEXT.format(port=broker.port)
    made = nodes(run, lines, text)
    for one, name in zip(made, ("Ann", "Bob", "Cat"), strict=True):
        one.say(f"enter {name}")
    for one in made:
        sees(one, "Ann Bob Cat")
    broker.kill()
    for one in made:
        one.server.wait_for("is away, and messages for other nodes wait")
    # Nobody is removed meanwhile, and what changes is known when the broker is back.
    guest = lines(made[0].url)
    guest.socket.sendall(b"enter Dan\n")
    made[1].client.socket.shutdown(socket.SHUT_RDWR)
    made[1].client = lines(made[1].url)
    sees(made[0], "Ann Bob Cat Dan")
    sees(made[1], "Ann Cat")
    broker.start()
    for one in made:
        sees(one, "Ann Cat Dan")
    late = Node(run(text), lines)
    sees(late, "Ann Cat Dan")
    # One node ends, one is killed.
    assert made[0].server.stop() == 0
    for one in (made[1], late):
        sees(one, "Cat")
        assert "Removed" not in one.server.log
    made[2].server.process.kill()
    made[2].server.end()
    for one in (made[1], late):
        sees(one, "nobody")
        one.server.wait_for("Removed 1 member of process")


def test_a_node_that_starts_later_retains_what_the_others_do_and_the_last_writer_wins(
    run: Run, lines: Connect, broker: Broker
) -> None:
    text = TEXT.format(port=broker.port)
    made = nodes(run, lines, text, 2)

    def keeps(node: Node, message: str) -> None:
        wait_until(lambda: node.client.ask("kept") == message, lambda: node.server.log)

    made[0].say("retain first")
    keeps(made[1], "first")
    made.append(Node(run(text), lines))
    keeps(made[2], "first")
    # Both sides of a broker that is away write: the later one wins on all.
    broker.kill()
    for one in made:
        one.server.wait_for("is away, and messages for other nodes wait")
    made[2].say("retain earlier")
    keeps(made[2], "earlier")
    made[1].say("retain later")
    keeps(made[1], "later")
    broker.start()
    for one in made:
        keeps(one, "later")
    made[0].say("discard")
    for one in made:
        keeps(one, "nothing")
    late = Node(run(text), lines)
    late.knows(3)
    keeps(late, "nothing")


def test_presence_covers_the_workers_of_all_nodes(run: Run, lines: Connect, broker: Broker) -> None:
    text = "workers = 2\n" + TEXT.format(port=broker.port)
    made = [Node(run(text), lines) for _ in range(2)]
    clients = [one.client for one in made]
    places = {client.ask("id").split(".")[1] for client in clients}
    while len(places) < 4:
        clients += [lines(one.url) for one in made]
        places |= {client.ask("id").split(".")[1] for client in clients[-2:]}
        assert len(clients) < 100
    for number, client in enumerate(clients):
        client.socket.sendall(b"enter client-%03d\n" % number)
    expected = " ".join(f"client-{number:03}" for number in range(len(clients)))
    for client in clients:
        wait_until(lambda client=client: client.ask("who") == expected)  # type: ignore[misc]


def test_a_plugin_in_a_process_of_its_own_is_a_node_of_the_cluster(
    run: Run, lines: Connect, broker: Broker
) -> None:
    text = TEXT.format(port=broker.port)
    apart = text.replace('framing = "line"', 'framing = "line"\nhost = "process"')
    made = [Node(run(apart), lines), Node(run(text), lines)]
    # The first server is a node, and the process of its plug-in another one.
    made[1].knows(2)
    name = made[0].client.ask("id")
    made[0].say("enter Ann")
    made[1].say("enter Bob")
    for one in made:
        sees(one, "Ann Bob")
    made[1].say("retain this")
    wait_until(lambda: made[0].client.ask("kept") == "this")
    made[0].say("publish hello")
    for one in made:
        assert one.client.line() == "hello"
    assert made[1].client.ask(f"to {name} for Ann") == "True"
    assert made[0].client.line() == "for Ann"
    assert made[0].server.stop() == 0
    sees(made[1], "Bob")
