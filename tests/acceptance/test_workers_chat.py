"""The example workers_chat.py: what one client says reaches the clients of all workers."""

from contextlib import ExitStack

import pytest
from websockets.sync.client import connect

from .conftest import Start

pytestmark = pytest.mark.acceptance


def test_a_message_reaches_the_clients_of_all_workers(start: Start) -> None:
    example = start("workers_chat.py", "ws://127.0.0.1:0/")
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(example.url)) for _ in range(12)]
        greetings = {str(client.recv(timeout=60)).partition(",")[0] for client in clients}
        assert greetings <= {"you are with worker 1", "you are with worker 2"}
        clients[0].send("hello")
        assert [client.recv(timeout=60) for client in clients] == ["hello"] * 12
        clients[0].send("count")
        assert str(clients[0].recv(timeout=60)).startswith("connections: 1: ")
    example.stop()
