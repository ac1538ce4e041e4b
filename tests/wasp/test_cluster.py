"""Several machines as one server: three nodes, and a broker of NATS that ends and comes back."""

import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import wait_until
from tests.wasp.cluster_nodes import PLUGIN, TEXT, Broker, Connect, Node, nodes
from tests.wasp.conftest import Run
from vespiary.wasp import FileError, check
from vespiary.wasp.cluster.sequence import History, Incoming

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


def heard(node: Node, first: int, last: int) -> None:
    """All numbers come, each once and in order."""
    for number in range(first, last + 1):
        assert node.client.line() == f"number {number}"


def test_what_one_node_publishes_reaches_all_through_a_restart_of_the_broker(
    run: Run, lines: Connect, broker: Broker
) -> None:
    made = nodes(run, lines, TEXT.format(port=broker.port))
    made[0].say("publish bytes")
    made[0].say("text grüße")
    for one in made:
        assert [one.client.line(), one.client.line()] == ["bytes", "grüße"]
    # It ends in the middle of a stream: what it has taken and not delivered is gone.
    made[1].say("many 1 3000")
    broker.kill()
    made[1].say("many 3001 4000")
    heard(made[1], 1, 4000)
    made[0].server.wait_for("is away, and messages for other nodes wait")
    broker.start()
    for one in (made[0], made[2]):
        heard(one, 1, 4000)
    # The other direction works too, and nothing was lost.
    made[2].say("publish back")
    for one in made:
        assert one.client.line() == "back"
        assert one.status()["messages_lost"] == one.status()["messages_dropped"] == 0
    assert all(one.stop() == 0 for one in made)
    assert "has left" in made[0].server.log or "has left" in made[2].server.log


def test_send_to_reaches_a_connection_of_another_node(
    run: Run, lines: Connect, broker: Broker
) -> None:
    first, second, third = nodes(run, lines, TEXT.format(port=broker.port))
    name = second.client.ask("id")
    assert first.client.ask(f"to {name} from the first") == "True"
    assert second.client.line() == "from the first"
    assert second.client.ask(f"to {name} from itself") == "from itself"
    assert second.client.line() == "True"
    third.server.process.kill()
    third.server.end()
    first.server.wait_for("Lost process")
    wait_until(lambda: first.status()["nodes"] == 1)


def test_a_node_that_was_stopped_gets_what_it_has_missed(
    run: Run, lines: Connect, broker: Broker
) -> None:
    made = nodes(run, lines, TEXT.format(port=broker.port))
    stopped = made[2].server.process
    stopped.send_signal(signal.SIGSTOP)
    try:
        made[0].say("many 1 100")
        heard(made[1], 1, 100)
        made[0].server.wait_for(f"Lost process {stopped.pid}")
    finally:
        stopped.send_signal(signal.SIGCONT)
    heard(made[2], 1, 100)
    made[0].server.wait_for(f"Process {stopped.pid} of {socket.gethostname().lower()} is back")


def test_a_broker_that_hangs_is_noticed_and_nothing_is_lost(
    run: Run, lines: Connect, broker: Broker
) -> None:
    made = nodes(run, lines, TEXT.format(port=broker.port), 2)
    broker.send_signal(signal.SIGSTOP)
    try:
        made[0].say("many 1 500")
        for one in made:
            one.server.wait_for("is away, and messages for other nodes wait")
    finally:
        broker.send_signal(signal.SIGCONT)
    heard(made[1], 1, 500)


def test_what_waits_for_the_broker_has_a_limit_and_the_rest_is_counted(
    run: Run, lines: Connect, broker: Broker
) -> None:
    text = TEXT.replace(
        'cluster = "nats://127.0.0.1:{port}"',
        '[cluster]\nurl = "nats://127.0.0.1:{port}"\nqueue_bytes_max = "8KiB"\n',
    )
    made = nodes(run, lines, text.format(port=broker.port), 2)
    broker.kill()
    made[0].server.wait_for("is away, and messages for other nodes wait")
    made[0].say("many 1 1000")
    heard(made[0], 1, 1000)
    dropped = made[0].status()["messages_dropped"]
    assert 0 < dropped < 1000
    assert made[0].status()["messages_waiting"] == 1000 - dropped
    assert "queue_bytes_max is 8192" in made[0].server.log
    broker.start()
    # The latest ones come, and the other node counts what it has not got.
    heard(made[1], dropped + 1, 1000)
    assert made[1].status()["messages_lost"] == dropped
    with urllib.request.urlopen(f"{made[1].admin}metrics", timeout=60) as answer:
        metrics = answer.read().decode()
    assert f'vespiary_cluster_messages_lost_total{{worker=""}} {dropped}.0' in metrics
    assert 'vespiary_cluster_connected{worker=""} 1.0' in metrics


def test_without_a_broker_a_server_serves_and_connects_when_it_comes(
    run: Run, lines: Connect, port: int
) -> None:
    broker = Broker(port)
    made = [Node(run(TEXT.format(port=port)), lines) for _ in range(2)]
    made[0].say("publish alone")
    assert made[0].client.line() == "alone"
    assert not made[0].status()["connected"]
    broker.start()
    try:
        for one in made:
            one.knows(1)
        made[1].say("publish together")
        assert made[0].client.line() == "together"
    finally:
        broker.kill()
    assert all(one.stop() == 0 for one in made)


def test_workers_of_several_nodes_reach_each_other_once(
    run: Run, lines: Connect, broker: Broker
) -> None:
    text = "workers = 2\n" + TEXT.format(port=broker.port)
    made = [Node(run(text), lines) for _ in range(2)]
    clients = [one.client for one in made]
    names = [one.ask("id") for one in clients]
    while len({name.split(".")[1] for name in names}) < 4:
        # Each of the two workers of a node gets connections.
        clients += [lines(one.url) for one in made]
        names += [one.ask("id") for one in clients[-2:]]
        assert len(clients) < 100
    for one in made:
        # Each of the two workers is a process of its own in the cluster.
        one.knows_processes(2)
    made[0].say("retain this")
    made[0].say("publish hello")
    assert [one.line() for one in clients] == ["hello"] * len(clients)
    for name, client in zip(names, clients, strict=True):
        # `True` comes to the sender, and its own message if it is the receiver.
        made[1].say(f"to {name} for {name}")
        if client is not made[1].client:
            assert made[1].client.line() == "True"
            assert client.line() == f"for {name}"
        else:
            assert {client.line(), client.line()} == {"True", f"for {name}"}
    wait_until(lambda: clients[-1].ask("kept") == "this")


def test_a_password_is_needed_and_not_logged(run: Run, lines: Connect, port: int) -> None:
    broker = Broker(port, "--user", "ann", "--pass", "honey")
    broker.start()
    try:
        text = TEXT.replace("nats://", "nats://ann:honey@")
        made = nodes(run, lines, text.format(port=port), 2)
        made[0].say("publish hello")
        assert made[1].client.line() == "hello"
        stranger = Node(run(TEXT.format(port=port)), lines)
        stranger.server.wait_for("Authorization Violation")
        assert "honey" not in made[0].server.log
    finally:
        broker.kill()


def test_a_broker_with_tls_must_have_a_certificate_of_the_authority(
    run: Run, lines: Connect, port: int, folder: Path
) -> None:
    command = [sys.executable, "-m", "vespiary", "cert", "--folder", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    files = ["--tlscert", str(folder / "localhost.pem"), "--tlskey", f"{folder}/localhost-key.pem"]
    broker = Broker(port, "--tls", *files)
    broker.start()
    try:
        table = '[cluster]\nurl = "tls://127.0.0.1:{port}"\n'
        text = TEXT.partition("\n")[2].format(port=port)
        stranger = Node(run(table.format(port=port) + text), lines)
        stranger.server.wait_for("certificate verify failed")
        own = table.format(port=port) + 'tls_ca = "vespiary-ca.pem"\n' + text
        made = nodes(run, lines, own, 2)
        made[0].say("publish hello")
        assert made[1].client.line() == "hello"
    finally:
        broker.kill()


def test_packets_of_other_programs_are_reported_once_and_change_nothing(
    run: Run, lines: Connect, broker: Broker
) -> None:
    made = nodes(run, lines, TEXT.format(port=broker.port), 2)
    strange = [b"", b"hello", b"\x95\xa1p", b"\xc1" * 1000, bytes(range(256))]
    with socket.create_connection(("127.0.0.1", broker.port)) as other:
        other.sendall(b'CONNECT {"verbose":false}\r\n')
        for data in strange:
            head = f"PUB vespiary.default.all {len(data)}\r\n".encode()
            other.sendall(head + data + b"\r\n")
        other.sendall(b"PING\r\n")
        answers = other.makefile("rb")
        assert answers.readline().startswith(b"INFO ")
        assert answers.readline() == b"PONG\r\n"
    made[0].say("publish hello")
    assert made[1].client.line() == "hello"
    for one in made:
        one.server.wait_for("A packet of another program came from the broker")
        assert one.server.log.count("A packet of another program") == 1
        assert one.status()["messages_lost"] == 0


WRONG = {
    "scheme": ('"http://127.0.0.1:4222"', "cluster: expected nats://HOST:PORT or tls://"),
    "host": ('"nats://"', "a host is missing"),
    "port": ('"nats://127.0.0.1:nine"', "cluster: expected nats://HOST:PORT"),
    "type": ("4222", "cluster: expected nats://HOST:PORT, or a table with url"),
    "key": ('{ url = "nats://a", queue = 1 }', "cluster.queue: unknown key"),
    "name": ('{ url = "nats://a", name = "a.b" }', "cluster.name: expected a name of letters"),
    "queue": ('{ url = "nats://a", queue_bytes_max = 0 }', "cluster.queue_bytes_max: expected 1"),
    "tls": ('{ url = "nats://a", tls_ca = "ca.pem" }', "cluster.tls_ca: is for tls:// only"),
    "ca": ('{ url = "tls://a", tls_ca = "ca.pem" }', "ca.pem cannot be read"),
    "half": ('{ url = "tls://a", tls_key = "key.pem" }', "tls_key belong together"),
    "file": ('{ url = "nats://a", credentials = "my.creds" }', "my.creds cannot be read"),
}


@pytest.mark.parametrize("case", WRONG)
def test_check_reports_what_is_wrong(folder: Path, case: str) -> None:
    value, report = WRONG[case]
    file = folder / "wasp.toml"
    text = TEXT.replace('"nats://127.0.0.1:{port}"', value)
    assert value in text
    file.write_text(text)
    with pytest.raises(FileError) as wrong:
        check(file)
    assert f"{file}:1: " in str(wrong.value)
    assert report in str(wrong.value)


def test_messages_are_delivered_once_and_in_order_however_they_come() -> None:
    incoming = Incoming(5)
    assert incoming.receive(5, b"5") == [b"5"]
    assert incoming.receive(5, b"5") == []
    assert incoming.receive(8, b"8") == []
    assert incoming.receive(7, b"7") == []
    assert incoming.wanted(0.0) == (6, 6)
    assert incoming.wanted(0.1) is None
    assert incoming.wanted(1.0) == (6, 6)
    assert incoming.receive(6, b"6") == [b"6", b"7", b"8"]
    assert not incoming.is_behind
    assert (incoming.repeated, incoming.lost) == (1, 0)
    # What the sender announces, and nobody has heard, is missing too.
    assert incoming.announce(1, 10) == []
    assert incoming.wanted(2.0) == (9, 10)


def test_what_cannot_come_any_more_is_counted_and_not_waited_for() -> None:
    incoming = Incoming(1)
    assert incoming.receive(4, b"4") == []
    assert incoming.announce(3, 5) == []
    assert incoming.lost == 2
    # A number that nobody can have reached does not keep the receiver busy.
    other = Incoming(1)
    assert other.receive(3, b"3") == []
    assert other.announce(1 << 62, 1 << 62) == [b"3"]
    assert other.lost == (1 << 62) - 2
    now = 0.0
    while not (found := incoming.overdue()):
        assert incoming.wanted(now) == (3, 3)
        now += 1.0
    assert found == [b"4"]
    assert incoming.lost == 3
    assert incoming.wanted(now) == (5, 5)


def test_numbers_that_are_far_apart_cost_nothing() -> None:
    incoming = Incoming(1)
    assert incoming.receive(3, b"c") == []
    assert incoming.announce(1 << 60, 1 << 60) == [b"c"]
    assert incoming.lost == (1 << 60) - 2
    assert incoming.receive(1 << 60, b"z") == [b"z"]


def test_a_history_keeps_the_latest_messages_up_to_its_limit() -> None:
    history = History(10)
    assert [history.add(b"1234") for _ in range(4)] == [1, 2, 3, 4]
    assert (history.first, history.last, history.bytes) == (3, 4, 8)
    assert history.between(1, 9) == [(3, b"1234"), (4, b"1234")]
    history.add(b"x" * 100)
    assert history.between(1, 9) == [(5, b"x" * 100)]
