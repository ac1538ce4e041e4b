"""The gateway from WebSocket to TCP, between clients and servers that are not ours."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from .conftest import Example, Start

pytestmark = pytest.mark.acceptance

BAD_GATEWAY = 1014


class Target:
    """A TCP server of one connection at a time, which the test plays by hand."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(10)
        self.url = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"

    def accept(self) -> socket.socket:
        connection, _ = self.listener.accept()
        connection.settimeout(10)
        return connection


@pytest.fixture
def target() -> Iterator[Target]:
    made = Target()
    yield made
    made.listener.close()


def gateway(start: Start, target_url: str) -> Example:
    return start("websocket_gateway.py", "ws://127.0.0.1:0/", target_url)


def read_all(stream: socket.socket) -> bytes:
    pieces = []
    while piece := stream.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


def read_exactly(stream: socket.socket, count: int) -> bytes:
    """So many bytes, or what comes before the end.

    MSG_WAITALL would not wait: a socket with a timeout is non-blocking.
    """
    read = b""
    while len(read) < count and (piece := stream.recv(count - len(read))):
        read += piece
    return read


def test_bytes_go_through_in_both_directions(start: Start, target: Target) -> None:
    example = gateway(start, target.url)
    with connect(example.url) as client, target.accept() as stream:
        client.send(b"bytes")
        client.send("text ü")
        assert read_exactly(stream, 12) == "bytestext ü".encode()
        stream.sendall(b"answer")
        assert client.recv(timeout=60) == b"answer"
        client.close()
        read_all(stream)
    example.stop()


def test_each_direction_ends_by_itself(start: Start, target: Target) -> None:
    example = gateway(start, target.url)
    with connect(example.url) as client, target.accept() as stream:
        client.send(b"all that I have to say")
        client.send(b"")
        assert read_all(stream) == b"all that I have to say"
        stream.sendall(b"long afterwards")
        assert client.recv(timeout=60) == b"long afterwards"
        stream.shutdown(socket.SHUT_WR)
        assert client.recv(timeout=60) == b""
        with pytest.raises(ConnectionClosed) as ended:
            client.recv(timeout=60)
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == 1000
    example.stop()


def test_the_client_continues_after_the_target_has_finished(start: Start, target: Target) -> None:
    example = gateway(start, target.url)
    with connect(example.url) as client, target.accept() as stream:
        stream.sendall(b"hello and goodbye")
        stream.shutdown(socket.SHUT_WR)
        assert client.recv(timeout=60) == b"hello and goodbye"
        assert client.recv(timeout=60) == b""
        client.send(b"still ")
        client.send(b"here")
        client.send(b"")
        assert read_all(stream) == b"still here"
    example.stop()


def test_what_was_sent_before_a_close_still_arrives(start: Start, target: Target) -> None:
    example = gateway(start, target.url)
    payload = bytes(range(256)) * 2000
    with target.listener, connect(example.url) as client, target.accept() as stream:
        client.send(payload)
        client.close()
        assert read_all(stream) == payload
    example.stop()


def test_a_target_that_is_not_there_is_reported_by_a_close_code(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    example = gateway(start, url)
    with connect(example.url) as client, pytest.raises(ConnectionClosed) as ended:
        client.recv(timeout=60)
    assert ended.value.rcvd is not None
    assert ended.value.rcvd.code == BAD_GATEWAY
    assert "refused" in ended.value.rcvd.reason
    example.stop()


def test_a_target_that_breaks_off_is_not_good_end(start: Start, target: Target) -> None:
    example = gateway(start, target.url)
    with connect(example.url) as client:
        with target.accept() as stream:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        with pytest.raises(ConnectionClosed) as ended:
            client.recv(timeout=60)
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == BAD_GATEWAY
    example.stop()


def test_a_target_that_does_not_read_holds_its_client_back(start: Start, target: Target) -> None:
    example = gateway(start, target.url)
    piece = bytes(64 << 10)
    sent: list[int] = []

    def send(count: int) -> None:
        for _ in range(count):
            client.send(piece)
            sent.append(len(piece))

    with connect(example.url, compression=None) as client, target.accept() as stream:
        before = example.resident_bytes()
        sender = threading.Thread(target=send, args=(1600,))
        sender.start()
        waited_for = -1
        while waited_for != len(sent):
            waited_for = len(sent)
            time.sleep(0.3)
        # Held back after some buffers' worth of the hundred megabytes.
        assert 0 < waited_for < 1000
        assert example.resident_bytes() - before < 32 << 20
        received = 0
        while received < 1600 * len(piece):
            received += len(stream.recv(1 << 20))
        sender.join(10)
        assert not sender.is_alive()
    example.stop()
