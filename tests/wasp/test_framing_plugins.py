"""Framings as plug-ins: whole messages, wherever the stream is cut, within the limits."""

import contextlib
import socket
from pathlib import Path

import pytest

from tests.wasp.conftest import Run, address_of
from vespiary.wasp import FileError, check

FRAMINGS = """
def counted(data):
    return 1 + data[0]

def paragraphs(data):
    end = data.find(b"\\n\\n")
    return end + 2 if end >= 0 else None

def wrong(data):
    return 0

async def late(data):
    return 1

def two(data, more):
    return 1

class Sized(Greeter):
    def on_message(self, connection, message):
        connection.send(bytes([len(message)]) + message)
        connection.send(b"x" * 200_000)
"""

ENDPOINT = """\
[endpoints.a]
url = "tcp://127.0.0.1:0"
plugin = "plug.py:Sized"
framing = "plug.py:counted"
limits.message_bytes_max = 100
limits.write_bytes_max = "16MiB"
"""


@pytest.fixture(autouse=True)
def _framings(folder: Path) -> None:
    plugin = folder / "plug.py"
    plugin.write_text(plugin.read_text() + FRAMINGS)


def receive(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (piece := client.recv(1 << 16)):
        data += piece
    return data


def test_messages_are_whole_wherever_the_stream_is_cut(run: Run) -> None:
    server = run(ENDPOINT)
    messages = [b"\x03abc", b"\x00", b"\x01z"]
    stream = b"".join(messages)
    expected = b"".join(bytes([len(one)]) + one + b"x" * 200_000 for one in messages)
    for cut in range(len(stream)):
        with socket.create_connection(address_of(server.serves(1)[0]), 60) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.sendall(stream[:cut])
            client.sendall(stream[cut:])
            assert receive(client, len(expected)) == expected
    assert server.stop() == 0


def test_a_message_of_unknown_size_waits_for_its_end_and_is_limited(run: Run) -> None:
    text = ENDPOINT.replace("counted", "paragraphs").replace("Sized", "Greeter")
    server = run(text)
    address = address_of(server.serves(1)[0])
    with socket.create_connection(address, 60) as client:
        client.sendall(b"one\ntwo\n\nthree")
        assert receive(client, 17) == b"hello one\ntwo\n\n 1"
        client.sendall(b"\n\n")
        assert receive(client, 15) == b"hello three\n\n 2"
    with socket.create_connection(address, 60) as client:
        client.sendall(b"x" * 101)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
    server.wait_for("message_bytes_max")
    with socket.create_connection(address, 60) as client:
        client.sendall(b"four\n\n")
        assert receive(client, 14) == b"hello four\n\n 3"


def test_a_size_that_cannot_be_ends_the_connection_alone(run: Run) -> None:
    server = run(ENDPOINT.replace("counted", "wrong"))
    with socket.create_connection(address_of(server.serves(1)[0]), 60) as client:
        client.sendall(b"x")
        server.wait_for("message_size must return a number above 0 or None; got 0")
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("plug.py:cuonted", "plug.py has no 'cuonted'; did you mean counted?"),
        ("plug.py:late", "plug.py:late is async: a framing is a function message_size(data)"),
        ("plug.py:two", "plug.py:two is defined with (data, more)"),
        ("plug.py:Sized", "plug.py:Sized cannot be called with bytes"),
    ],
)
def test_what_is_not_a_framing_is_refused(folder: Path, name: str, words: str) -> None:
    path = folder / "wasp.toml"
    path.write_text(ENDPOINT.replace("plug.py:counted", name))
    with pytest.raises(FileError) as got:
        check(path)
    assert f"{path}:4: endpoints.a.framing: {words}" in str(got.value)
