"""The echo examples, used by clients that are not ours."""

import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from .conftest import Start

pytestmark = pytest.mark.acceptance


def exchange(url: str, count: int) -> None:
    with connect(url) as client:
        for number in range(count):
            client.send(f"text {number}")
            client.send(f"bytes {number}".encode())
        for number in range(count):
            assert client.recv(timeout=60) == f"text {number}"
            assert client.recv(timeout=60) == f"bytes {number}".encode()


@pytest.mark.parametrize("name", ["echo_callback.py", "echo_async.py"])
def test_both_forms_echo_text_and_bytes_to_many_clients_at_once(start: Start, name: str) -> None:
    example = start(name, "ws://127.0.0.1:0/")
    with ThreadPoolExecutor(20) as pool:
        for outcome in [pool.submit(exchange, example.url, 50) for _ in range(20)]:
            outcome.result()
    with connect(example.url, max_size=None) as client:
        large = bytes(range(256)) * 4000
        client.send(large)
        assert client.recv(timeout=60) == large
    example.stop()


@pytest.mark.parametrize("name", ["echo_callback.py", "echo_async.py"])
def test_a_stop_closes_open_websockets_with_1001(start: Start, name: str) -> None:
    example = start(name, "ws://127.0.0.1:0/")
    with connect(example.url) as client:
        client.send("before")
        assert client.recv(timeout=60) == "before"
        with ThreadPoolExecutor(1) as pool:
            ending = pool.submit(client.recv, timeout=60)
            assert example.stop() < 5
            with pytest.raises(ConnectionClosed) as told:
                ending.result()
    assert told.value.rcvd is not None
    assert told.value.rcvd.code == 1001


def test_one_example_serves_several_urls(start: Start) -> None:
    example = start("echo_callback.py", "ws://127.0.0.1:0/", "ws://[::1]:0/", "tcp://127.0.0.1:0")
    exchange(example.urls[0], 3)
    exchange(example.urls[1], 3)
    port = int(example.urls[2].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"raw")
        assert client.recv(100) == b"raw"
    example.stop()


def read_exactly(client: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        piece = client.recv(count - len(received))
        assert piece, f"the connection ended after {received!r}"
        received += piece
    return received


def test_packets_come_back_however_they_were_cut(start: Start) -> None:
    example = start("packet_echo.py", "tcp://127.0.0.1:0")
    packets = [b"", b"a", b"packet", bytes(range(256)) * 256]
    stream = b"".join(struct.pack("!I", len(packet)) + packet for packet in packets)
    with socket.create_connection(example.address, 60) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start_of_piece in range(0, 30, 3):
            client.sendall(stream[start_of_piece : start_of_piece + 3])
            time.sleep(0.001)
        client.sendall(stream[30:])
        assert read_exactly(client, len(stream)) == stream
    example.stop()


def test_a_packet_that_is_too_long_ends_the_connection_by_its_prefix_alone(start: Start) -> None:
    example = start("packet_echo.py", "tcp://127.0.0.1:0")
    with socket.create_connection(example.address, 60) as client:
        client.sendall(struct.pack("!I", (64 << 10) + 1))
        with suppress(ConnectionResetError):
            assert client.recv(1) == b""
    example.wait_for("message_bytes_max")
    example.stop()


def test_lines_are_numbered_for_each_client_and_quit_ends(start: Start) -> None:
    example = start("line_echo.py", "tcp://127.0.0.1:0")
    for _ in range(2):
        with (
            socket.create_connection(example.address, 60) as client,
            client.makefile("rb") as lines,
        ):
            assert lines.readline() == b"Type a line; quit ends.\r\n"
            client.sendall(b"one\r\ntw")
            assert lines.readline() == b"1 one\r\n"
            client.sendall(b"o\nQUIT\r\nnever read")
            assert lines.read() == b"2 two\r\nGoodbye.\r\n"
    example.stop()


def test_silence_and_trickling_reach_their_deadlines(start: Start) -> None:
    example = start("read_timeout_echo.py", "tcp://127.0.0.1:0", IDLE_SECONDS="1", LINE_SECONDS="2")
    began = time.monotonic()
    with (
        socket.create_connection(example.address, 60) as silent,
        socket.create_connection(example.address, 60) as trickling,
        socket.create_connection(example.address, 60) as lively,
    ):
        trickling.settimeout(0.3)
        ended_after = None  # A missed deadline resets a stream; it does not end it.
        while ended_after is None and time.monotonic() < began + 50:
            lively.sendall(b"tick\n")
            assert read_exactly(lively, 5) == b"tick\n"
            try:
                trickling.sendall(b".")
                assert trickling.recv(1) != b"", "ended, as if all had been said"
            except TimeoutError:
                continue
            except (ConnectionResetError, BrokenPipeError):
                ended_after = time.monotonic() - began
        assert ended_after is not None
        assert ended_after > 1.9
        with pytest.raises(ConnectionResetError):
            silent.recv(1)
        lively.sendall(b"still here\n")
        assert read_exactly(lively, 11) == b"still here\n"
    example.wait_for("idle_seconds is 1")
    example.wait_for("message_seconds is 2")
    example.stop()


def is_served(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, 10) as client:
            return client.recv(100).startswith(b"You are one of")
    except ConnectionResetError:
        return False


def test_who_is_one_too_many_is_refused_until_somebody_leaves(start: Start) -> None:
    example = start("limited_echo.py", "tcp://127.0.0.1:0", CONNECTIONS_MAX="2")
    with socket.create_connection(example.address, 60) as first:
        assert first.recv(100) == b"You are one of 1.\n"
        with socket.create_connection(example.address, 60) as second:
            assert second.recv(100) == b"You are one of 2.\n"
            assert not is_served(example.address)
            second.sendall(b"echo")
            assert second.recv(100) == b"echo"
        end = time.monotonic() + 10
        while not is_served(example.address):
            assert time.monotonic() < end, "no room although somebody has left"
            time.sleep(0.02)
    example.wait_for("refused a connection: connections_max is 2")
    example.stop()
