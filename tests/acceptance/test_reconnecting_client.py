"""The example of a client, against a server of another make that comes late and drops clients."""

import threading
from http import HTTPStatus

import pytest
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from tests.addresses import free_port

from .conftest import Start

pytestmark = pytest.mark.acceptance


def answer_once(connection: ServerConnection) -> None:
    message = connection.recv()
    assert isinstance(message, str)
    connection.send(f"{message} back")


def test_the_client_waits_for_its_server_and_comes_back_to_it(start: Start) -> None:
    port = free_port()
    client = start("reconnecting_client.py", f"ws://127.0.0.1:{port}/")
    with serve(answer_once, "127.0.0.1", port) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        once = "connected\nheard 'hello back'\nlost: closed by the peer with code 1000\n"
        client.wait_for(once * 2)
        server.shutdown()
        thread.join(10)
    client.stop()


def test_the_client_gives_up_where_nothing_can_be_hoped_for(start: Start) -> None:
    def refuse(connection: ServerConnection, _: Request) -> Response:
        return connection.respond(HTTPStatus.NOT_FOUND, "nothing here\n")

    with serve(answer_once, "127.0.0.1", 0, process_request=refuse) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        port = server.socket.getsockname()[1]
        client = start("reconnecting_client.py", f"ws://127.0.0.1:{port}/")
        client.wait_for("cannot reconnect: 127.0.0.1")
        client.wait_for("HTTP status 404: nothing here")
        server.shutdown()
        thread.join(10)
