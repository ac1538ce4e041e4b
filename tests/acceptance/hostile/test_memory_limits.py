"""Messages that do not fit into the memory of the process (`ulimit -v`).

Each of them ends its own connection. The server, and every other connection, goes on.
"""

import contextlib
import struct

import pytest

from tests.acceptance.hostile.conftest import Serve
from tests.acceptance.hostile.deflating import OFFER, Deflater
from tests.acceptance.hostile.peer import BINARY, CLOSE, TEXT, Peer, frame
from tests.acceptance.hostile.server_process import MEBIBYTE, Server

pytestmark = [pytest.mark.acceptance, pytest.mark.serial]

HEADROOM = 96 * MEBIBYTE
SIZE = 512 * MEBIBYTE
PIECE = bytes(MEBIBYTE)
LIMITS = {"message_bytes_max": 2 * SIZE, "write_bytes_max": 2 * SIZE, "write_high_bytes": SIZE}


def websocket_head(opcode: int, length: int, *, fin: bool = True) -> bytes:
    """The head of a masked frame whose key leaves the payload as it is."""
    return struct.pack("!BBQI", opcode | (0x80 if fin else 0), 0xFF, length, 0)


def pour(peer: Peer, head: bytes = b"") -> None:
    """Send the head and then zeros, until the other end has had enough."""
    with contextlib.suppress(OSError):
        peer.socket.sendall(head)
        for _ in range(SIZE // len(PIECE)):
            peer.socket.sendall(PIECE)


def is_served(server: Server, name: str, question: bytes, answer: bytes) -> None:
    """Another connection gets its answer."""
    with server.connect(name) as peer:
        if server.urls[name].startswith("ws:"):
            peer.upgrade()
        peer.send(question)
        got = b""
        while len(got) < len(answer):
            got += peer.socket.recv(1 << 16)
        assert got == answer
    assert server.process.poll() is None


STREAMS = {
    "line": ("line", b"", b"hello\n", b"hello\n"),
    "length": ("length", struct.pack("!I", SIZE), b"\0\0\0\x02ab", b"\0\0\0\x02ab"),
}


@pytest.mark.parametrize("framing", STREAMS)
def test_a_message_of_a_stream_that_memory_cannot_hold_ends_its_connection_alone(
    serve: Serve, framing: str
) -> None:
    name, head, question, answer = STREAMS[framing]
    echo = {"url": "tcp://127.0.0.1:0", "handler": "echo", "framing": name, "limits": LIMITS}
    server = serve(headroom=HEADROOM, echo=echo)
    with server.connect("echo") as peer:
        pour(peer, head)
    server.wait_for("echo", lambda told: told["connections_broken"] == 1)
    is_served(server, "echo", question, answer)


ECHO = {"url": "ws://127.0.0.1:0", "handler": "echo", "limits": LIMITS}
QUESTION, ANSWER = frame(TEXT, b"hello"), frame(TEXT, b"hello", mask=False)


@pytest.mark.parametrize("fin", [True, False], ids=["whole", "fragment"])
@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
def test_a_websocket_message_that_memory_cannot_hold_ends_its_connection_alone(
    serve: Serve, opcode: int, fin: bool
) -> None:
    server = serve(headroom=HEADROOM, echo=ECHO)
    with server.connect("echo") as peer:
        peer.upgrade()
        pour(peer, websocket_head(opcode, SIZE, fin=fin))
    server.wait_for("echo", lambda told: told["connections_broken"] == 1)
    is_served(server, "echo", QUESTION, ANSWER)


@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
def test_a_message_that_inflates_to_more_than_memory_ends_its_connection_alone(
    serve: Serve, opcode: int
) -> None:
    server = serve(headroom=HEADROOM, echo=ECHO | {"compression": {}})
    bomb = Deflater().message(bytes(SIZE))
    with server.connect("echo") as peer:
        peer.upgrade(offer=OFFER)
        peer.send(frame(opcode, bomb, compressed=True))
        received, payload = peer.read_frame()
        assert received == CLOSE
        assert payload[:2] == struct.pack("!H", 1009)
    is_served(server, "echo", QUESTION, ANSWER)


def test_an_answer_that_memory_cannot_hold_ends_its_connection_alone(serve: Serve) -> None:
    """The message fits; its copies in the write queue of a peer that does not read do not."""
    server = serve(headroom=HEADROOM, echo=ECHO)
    size = 20 * MEBIBYTE
    with server.connect("echo") as peer, contextlib.suppress(OSError):
        peer.upgrade()
        for _ in range(20):
            peer.socket.sendall(websocket_head(TEXT, size))
            peer.socket.sendall(bytes(size))
    server.wait_for("echo", lambda told: told["connections_broken"] == 1)
    is_served(server, "echo", QUESTION, ANSWER)


SHARED: dict[str, bool] = {}
OWN = {"server_context_takeover": True}


@pytest.mark.parametrize("compression", [None, SHARED, OWN], ids=["plain", "shared", "own"])
def test_publishing_what_memory_cannot_hold_raises_a_memory_error(
    serve: Serve, compression: dict[str, bool] | None
) -> None:
    """Whether it is encoded once for all subscribers, compressed once for all, or for each."""
    endpoint = {"url": "ws://127.0.0.1:0", "handler": "publish", "limits": LIMITS}
    server = serve(headroom=HEADROOM, echo=endpoint | {"compression": compression})
    with server.connect("echo") as peer:
        peer.upgrade(offer=None if compression is None else OFFER)
        peer.send(frame(TEXT, str(64 * MEBIBYTE).encode()))
        assert peer.read_frame() == (TEXT, b"no memory")
    is_served(server, "echo", frame(TEXT, b"5"), frame(BINARY, bytes(5), mask=False))
