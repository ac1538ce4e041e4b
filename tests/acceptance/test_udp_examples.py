"""The examples of datagrams."""

import socket
import struct
from pathlib import Path

import pytest

from .conftest import Start

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def asked(address: tuple[str, int], query: bytes) -> bytes | None:
    """The answer to a datagram; None when there is none before that to another."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(address)
        client.settimeout(30)
        client.send(query)
        client.send(question("files.home.arpa", number=9))
        answer = client.recv(512)
        return None if answer[:2] == b"\0\x09" else answer


def question(name: str, *, number: int = 7, kind: int = 1, flags: int = 0x0100) -> bytes:
    labels = b"".join(bytes([len(one)]) + one.encode() for one in name.split("."))
    header = struct.pack("!HHHHHH", number, flags, 1, 0, 0, 0)
    return header + labels + b"\0" + struct.pack("!HH", kind, 1)


def test_datagrams_of_every_length_come_back(start: Start) -> None:
    example = start("udp_echo.py", "udp://127.0.0.1:0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(example.address)
        client.settimeout(30)
        for length in (0, 1, 1472, 65_507):
            client.send(b"x" * length)
            assert client.recv(1 << 16) == b"x" * length
    example.stop()


def test_each_peer_has_a_count_of_its_own(start: Start) -> None:
    example = start("udp_connections.py", "udp://127.0.0.1:0")
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        for client in (one, other):
            client.connect(example.address)
            client.settimeout(30)
            for number in (b"1", b"2"):
                client.send(b"hello")
                assert client.recv(1 << 16) == number + b": hello"
        one.send(b"bye")
        assert one.recv(1 << 16) == b"bye\n"
        one.send(b"me again")
        assert one.recv(1 << 16) == b"1: me again"
    example.stop()


def test_a_name_is_answered_over_udp_and_tcp(start: Start) -> None:
    example = start("dns_stub.py", "udp://127.0.0.1:0", "tcp://127.0.0.1:0", serving=2)
    query = question("Printer.home.arpa")
    answer = asked(example.address, query)
    assert answer is not None
    assert answer[:4] == b"\0\7" + struct.pack("!H", 0x8500)
    assert answer[-6:] == b"\0\4" + socket.inet_aton("192.0.2.10")
    port = int(example.urls[1].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 30) as client:
        client.sendall(struct.pack("!H", len(query)) + query)
        with client.makefile("rb") as stream:
            (length,) = struct.unpack("!H", stream.read(2))
            assert stream.read(length) == answer
    example.stop()


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (question("nobody.home.arpa"), 3),
        (question("printer.home.arpa", kind=28), 0),
        (question("printer.home.arpa", flags=0x2800), 4),
    ],
    ids=["no such name", "no such record", "another operation"],
)
def test_other_questions_get_their_codes(start: Start, query: bytes, code: int) -> None:
    example = start("dns_stub.py", "udp://127.0.0.1:0", "tcp://127.0.0.1:0", serving=2)
    answer = asked(example.address, query)
    assert answer is not None
    assert (answer[3] & 15, answer[6:8]) == (code, b"\0\0")
    example.stop()


@pytest.mark.parametrize(
    "query",
    [b"", b"x" * 11, question("a")[:-1], question("a", flags=0x8000), b"\xff" * 100],
    ids=["empty", "half a header", "cut off", "an answer", "pointers"],
)
def test_what_is_malformed_gets_no_answer(start: Start, query: bytes) -> None:
    example = start("dns_stub.py", "udp://127.0.0.1:0", "tcp://127.0.0.1:0", serving=2)
    assert asked(example.address, query) is None
    example.stop()


def test_two_peers_hear_each_other(start: Start) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    arguments = ("239.255.42.42%lo", port)
    first = start("multicast_peers.py", "one", *arguments, serving=1)
    second = start("multicast_peers.py", "two", *arguments, serving=1)
    first.wait_for("'two' is at")
    second.wait_for("'one' is at")
    first.stop()
    second.stop()
