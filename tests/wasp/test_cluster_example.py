"""The example in examples/cluster: a chat on several machines."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.addresses import free_port
from tests.waiting import wait_until
from tests.wasp.cluster_nodes import Broker
from tests.wasp.conftest import Run

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "cluster"

pytestmark = pytest.mark.skipif(
    shutil.which("nats-server") is None, reason="nats-server is not installed"
)

Start = Callable[[str], str]


@pytest.fixture
def start(run: Run, folder: Path, port: int) -> Iterator[Start]:
    """Starts a node, and returns the URL of its chat."""
    broker = Broker(port)
    broker.start()
    shutil.copy(EXAMPLE / "chat.py", folder)
    text = (EXAMPLE / "wasp.toml").read_text()

    def started(node: str) -> str:
        environment = {
            "NODE": node,
            "BROKER": f"nats://127.0.0.1:{port}",
            "PORT": str(free_port()),
            "ADMIN_PORT": str(free_port()),
        }
        run(text, environment=environment).serves(2)
        return f"ws://127.0.0.1:{environment['PORT']}/"

    yield started
    broker.kill()


def is_here(client: ClientConnection, names: str) -> bool:
    """Whether these are there, as the node of a client knows it."""
    client.send("who")
    while not (answer := str(client.recv(timeout=60))).startswith("here: "):
        pass
    return answer == f"here: {names}"


def comes(client: ClientConnection, wanted: str) -> None:
    """Receive until a message comes."""
    while client.recv(timeout=60) != wanted:
        pass


def test_a_chat_has_one_room_on_all_nodes(start: Start) -> None:
    one, two = start("one"), start("two")
    with connect(one) as ann, connect(two) as bob:
        assert ann.recv(timeout=60) == "you are on node one: what is your name?"
        ann.send(" ")
        assert str(ann.recv(timeout=60)).startswith("a name has 1 to 40 characters")
        ann.send("Ann")
        comes(bob, "you are on node two: what is your name?")
        bob.send("Bob")
        for client in (ann, bob):
            wait_until(lambda client=client: is_here(client, "Ann, Bob"))  # type: ignore[misc]
        ann.send("hello")
        comes(bob, "Ann: hello")
        bob.send("topic honey")
        comes(ann, "topic honey")
        with connect(start("three")) as cat:
            cat.send("Cat")
            # It has started later, and has the topic and who is there.
            comes(cat, "topic honey")
            wait_until(lambda: is_here(cat, "Ann, Bob, Cat"))
        comes(ann, "Cat has left")
        wait_until(lambda: is_here(ann, "Ann, Bob"))
