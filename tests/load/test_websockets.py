"""The verdict on WebSocket servers."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest
from websockets.sync.server import ServerConnection, serve

Handler = Callable[[ServerConnection], None]
Start = Callable[..., str]

if TYPE_CHECKING:
    from websockets.http11 import Request, Response

    from tests.load.conftest import Load, Serve

pytestmark = pytest.mark.acceptance


@pytest.fixture
def websocket() -> Iterator[Start]:
    """Start a server of the `websockets` library, an implementation that is not ours."""
    with contextlib.ExitStack() as stack:

        def start(handler: Handler, **options: Any) -> str:
            server = stack.enter_context(
                serve(handler, "127.0.0.1", 0, compression=None, max_size=None, **options)
            )
            stack.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            return f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"

        yield start


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


@pytest.mark.parametrize("kind", ["--text", "--binary"])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_a_true_echo_passes_at_every_length_of_a_frames_head(
    websocket: Start, load: Load, driver: str, kind: str, size: int
) -> None:
    done = load(
        websocket(echo), "--connections", 3, "--messages", 5, "--pipeline", 2,
        "--size", size, kind, "--driver", driver,
    )  # fmt: skip
    assert done.status == 0, done.output + done.errors
    assert done.report["received"] == 15
    assert done.report["unclosed"] == 0


def test_fragments_and_pings_are_answered(websocket: Start, load: Load) -> None:
    done = load(
        websocket(echo), "--connections", 5, "--messages", 40, "--pipeline", 4, "--size", 300,
        "--text", "--fragment", "--seed", 3,
    )  # fmt: skip
    assert done.status == 0, done.output + done.errors
    assert done.report["pings_sent"] == done.report["pongs_received"] > 0


def test_an_echo_in_fragments_passes(websocket: Start, load: Load) -> None:
    def fragments(connection: ServerConnection) -> None:
        for message in connection:
            assert isinstance(message, bytes)
            connection.send([message[:10], b"", message[10:]])

    done = load(websocket(fragments), "--messages", 20)
    assert done.status == 0, done.output + done.errors


def test_pings_of_the_server_are_answered(websocket: Start, load: Load) -> None:
    answered: list[bool] = []

    def ping(connection: ServerConnection) -> None:
        for message in connection:
            pong = connection.ping(b"are you there")
            connection.send(message)
            answered.append(pong.wait(5))

    assert load(websocket(ping), "--messages", 3).status == 0
    assert answered == [True] * 3


def test_an_altered_byte_is_found_where_it_is(websocket: Start, load: Load) -> None:
    def alter(connection: ServerConnection) -> None:
        for number, message in enumerate(connection):
            assert isinstance(message, bytes)
            changed = bytearray(message)
            changed[7] ^= number == 4
            connection.send(bytes(changed))

    done = load(websocket(alter), "--messages", 10)
    assert done.status == 1
    assert (done.report["altered"], done.report["received"]) == (1, 10)
    assert (done.problem["message"], done.problem["offset"]) == (4, 7)


def test_shortened_lengthened_and_retyped_messages_are_altered(
    websocket: Start, load: Load
) -> None:
    def spoil(connection: ServerConnection) -> None:
        for number, message in enumerate(connection):
            assert isinstance(message, str)
            answers: list[str | bytes] = [message, message[:-1], message + "x", message.encode()]
            connection.send(answers[number % 4])

    done = load(websocket(spoil), "--messages", 4, "--text")
    assert done.status == 1
    assert (done.report["altered"], done.report["received"]) == (3, 4)
    texts = [problem["text"] for problem in done.report["problems"]]
    assert texts[0] == "the message ended early"
    assert texts[1] == "more came than was sent"
    assert "text came back as binary" in texts[2]


def test_a_message_sent_twice_is_duplicated(websocket: Start, load: Load) -> None:
    def twice(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)
            connection.send(message)

    done = load(websocket(twice), "--messages", 5)
    assert done.status == 1
    assert done.report["duplicated"] == 5


def test_a_refused_handshake_is_reported_with_its_status(websocket: Start, load: Load) -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        return connection.respond(HTTPStatus.FORBIDDEN, "no\n")

    done = load(websocket(echo, process_request=refuse), "--connections", 3, "--messages", 1)
    assert done.status == 1
    assert done.report["refused"] == 3
    assert "403" in done.problem["text"]


def test_a_close_in_the_middle_is_reported_with_its_code(websocket: Start, load: Load) -> None:
    def leave(connection: ServerConnection) -> None:
        connection.send(connection.recv())
        connection.recv()
        connection.close(4321, "enough")

    done = load(websocket(leave), "--messages", 10)
    assert done.status == 1
    report = done.report
    assert (report["closed"], report["received"], report["lost"]) == (1, 1, 1)
    assert report["unsent"] == 8
    assert "4321" in done.problem["text"]
    assert "enough" in done.problem["text"]


def upgrade(connection: socket.socket, accept: bytes | None = None) -> None:
    """Complete the handshake by hand; with an `accept` of one's own, wrongly."""
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        request += connection.recv(65536)
    key = request.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + (accept or base64.b64encode(digest)) + b"\r\n\r\n"
    )


def frame(connection: socket.socket) -> bytes:
    """The unmasked payload of a short frame."""
    head = connection.recv(2, socket.MSG_WAITALL)
    key = connection.recv(4, socket.MSG_WAITALL)
    masked = connection.recv(head[1] & 0x7F, socket.MSG_WAITALL)
    return bytes(byte ^ key[at % 4] for at, byte in enumerate(masked))


def test_a_close_with_an_error_right_behind_the_last_echo_is_reported(
    serve: Serve, load: Load
) -> None:
    def fail(connection: socket.socket) -> None:
        upgrade(connection)
        for number in range(3):
            echo = b"\x82\x20" + frame(connection)
            close = b"\x88\x02" + (1011).to_bytes(2, "big")
            connection.sendall(echo + close if number == 2 else echo)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(65536)

    url = serve(fail).replace("tcp:", "ws:") + "/"
    done = load(url, "--messages", 3, "--connections", 2)
    assert done.status == 1
    assert (done.report["received"], done.report["closed"]) == (6, 2)
    assert "1011" in done.problem["text"]


@pytest.mark.parametrize("ends", [True, False])
def test_a_close_frame_that_is_not_answered_is_reported(
    serve: Serve, load: Load, *, ends: bool
) -> None:
    def ignore(connection: socket.socket) -> None:
        upgrade(connection)
        connection.sendall(b"\x82\x20" + frame(connection))
        frame(connection)
        if not ends:
            connection.recv(1)

    url = serve(ignore).replace("tcp:", "ws:") + "/"
    done = load(url, "--messages", 1, "--close-timeout", "300ms")
    assert done.status == 1
    assert (done.report["received"], done.report["unclosed"]) == (1, 1)
    words = "without answering the close frame" if ends else "did not answer the close frame"
    assert words in done.problem["text"]


def test_a_wrong_accept_value_is_refused(serve: Serve, load: Load) -> None:
    url = serve(lambda connection: upgrade(connection, b"AAAAAAAAAAAAAAAAAAAAAAAAAAA="))
    done = load(url.replace("tcp:", "ws:") + "/", "--messages", 1)
    assert done.status == 1
    assert done.report["refused"] == 1
    assert "Sec-WebSocket-Accept" in done.problem["text"]


def test_a_masked_frame_of_a_server_is_a_violation(serve: Serve, load: Load) -> None:
    def masked(connection: socket.socket) -> None:
        upgrade(connection)
        connection.recv(65536)
        connection.sendall(b"\x82\x81\x00\x00\x00\x00x")
        connection.recv(65536)

    done = load(serve(masked).replace("tcp:", "ws:") + "/", "--messages", 1)
    assert done.status == 1
    assert done.report["violations"] == 1
    assert "RFC 6455 5.1" in done.problem["text"]


def test_a_handshake_that_never_ends_is_refused_in_time(serve: Serve, load: Load) -> None:
    def silent(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 101 Switching")
        connection.recv(65536)
        threading.Event().wait(40)

    url = serve(silent).replace("tcp:", "ws:") + "/"
    done = load(url, "--connections", 2, "--messages", 1, "--timeout", "500ms")
    assert done.status == 1
    assert done.report["refused"] == 2
    assert "not open after" in done.problem["text"]
