"""Bytes that no honest peer sends: garbage, oversized heads, impossible frames, floods."""

import contextlib
import os
import struct

import pytest

from tests.acceptance.hostile.conftest import Serve
from tests.acceptance.hostile.peer import BINARY, PING, PONG, REQUEST, TEXT, frame
from tests.acceptance.hostile.server_process import MEBIBYTE, Server

pytestmark = pytest.mark.acceptance

ECHO = {"url": "ws://127.0.0.1:0", "handler": "echo"}
TCP = {"url": "tcp://127.0.0.1:0", "handler": "echo"}
TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(189)


def attack_handshakes(server: Server, attack: bytes, status: int, times: int = 100) -> None:
    """Send it on new connections in place of a handshake, and be refused each time."""
    for _ in range(times):
        with server.connect("echo") as peer:
            peer.send_if_it_still_can(attack)
            end = peer.end()
            assert end.status == status
            assert b"Connection: close" in end.before


def attack_open_websockets(server: Server, attack: bytes, code: int, times: int = 100) -> None:
    """Send it on new WebSockets, and be closed with the code each time."""
    for _ in range(times):
        with server.connect("echo") as peer:
            peer.upgrade()
            peer.send_if_it_still_can(attack)
            assert peer.close_code() == code


@pytest.mark.parametrize(
    "garbage",
    [TLS_HELLO, b"EHLO mail.example\r\n\r\n", bytes(1000), b"\xff" * 100_000],
    ids=["tls", "smtp", "zeros", "ones"],
)
def test_garbage_instead_of_a_handshake_gets_400_and_is_counted(
    serve: Serve, garbage: bytes
) -> None:
    server = serve(echo=ECHO)
    with server.steady("echo", 16 * MEBIBYTE):
        attack_handshakes(server, garbage, 400)
    told = server.wait_idle("echo")
    assert told["protocol_errors"] == 100
    assert told["connections_refused"] == {"status_400": 100}
    assert server.process.poll() is None


def test_random_bytes_after_a_handshake_get_1002(serve: Serve) -> None:
    server = serve(echo=ECHO)
    times = 200
    with server.steady("echo", 16 * MEBIBYTE):
        for _ in range(times):
            with server.connect("echo") as peer:
                peer.upgrade()
                # The first byte has a reserved bit set, so that none of them is a frame.
                peer.send(b"\xf2" + os.urandom(4096))
                assert peer.close_code() == 1002
    told = server.wait_idle("echo")
    assert told["protocol_errors"] == times
    assert told["connections_broken"] == times


@pytest.mark.parametrize(
    ("head", "status", "limit"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nCookie: " + b"c" * 20_000, 431, "header_bytes_max"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 150, 431, "headers_max"),
        (b"GET /" + b"a" * 20_000, 414, "header_bytes_max"),
    ],
    ids=["one field", "many fields", "target"],
)
def test_an_oversized_head_is_refused_while_it_still_comes(
    serve: Serve, head: bytes, status: int, limit: str
) -> None:
    server = serve(echo=ECHO)
    with server.steady("echo", 16 * MEBIBYTE):
        attack_handshakes(server, head, status)
    told = server.wait_idle("echo")
    assert told["limits_reached"] == {limit: 100}
    assert told["connections_refused"] == {f"status_{status}": 100}


def test_a_frame_of_two_to_the_63_bytes_breaks_the_protocol(serve: Serve) -> None:
    server = serve(echo=ECHO)
    attack = struct.pack("!BBQ", 0x82, 0xFF, 1 << 63) + bytes(4096)
    with server.steady("echo", 16 * MEBIBYTE):
        attack_open_websockets(server, attack, 1002)
    told = server.wait_idle("echo")
    assert told["protocol_errors"] == 100
    assert told["limits_reached"] == {}


@pytest.mark.parametrize("limits", [{}, {"message_bytes_max": None}], ids=["limit", "no limit"])
def test_the_largest_frame_that_there_can_be_reserves_no_memory(
    serve: Serve, limits: dict[str, None]
) -> None:
    server = serve(echo={**ECHO, "limits": limits})
    attack = struct.pack("!BBQ", 0x82, 0xFF, (1 << 63) - 1) + bytes(4096)
    with server.steady("echo", 16 * MEBIBYTE):
        if limits:
            with server.many_peers("echo", 100) as peers:
                for peer in peers:
                    peer.upgrade().send(attack)
                server.wait_for("echo", lambda told: told["bytes_received"] >= 100 * 4096)
        else:
            attack_open_websockets(server, attack, 1009)
    told = server.wait_idle("echo")
    assert told["limits_reached"] == ({} if limits else {"message_bytes_max": 100})


def test_a_frame_above_its_own_limit_is_reported_by_its_name(serve: Serve) -> None:
    server = serve(echo={**ECHO, "limits": {"frame_bytes_max": 1000}})
    with server.connect("echo") as peer:
        peer.upgrade().echo(bytes(1000))
        peer.send(frame(BINARY, bytes(1001)))
        assert peer.close_code() == 1009
    assert server.wait_idle("echo")["limits_reached"] == {"frame_bytes_max": 1}


@pytest.mark.parametrize("payload", [b"", b"x" * 64], ids=["empty", "64 bytes"])
def test_a_flood_of_fragments_ends_at_its_limit(serve: Serve, payload: bytes) -> None:
    server = serve(echo=ECHO)
    piece = frame(0, payload, fin=False) * 1000
    with server.steady("echo", 16 * MEBIBYTE):
        for _ in range(10):
            with server.connect("echo") as peer:
                peer.upgrade().send(frame(BINARY, b"", fin=False))
                peer.pump(piece, 0.15)
                assert peer.close_code() == 1009
    told = server.wait_idle("echo")
    assert told["limits_reached"] == {"fragments_max": 10}
    assert told["connections_broken"] == 10


def test_an_endless_message_within_the_fragment_limit_ends_at_the_message_limit(
    serve: Serve,
) -> None:
    server = serve(echo=ECHO)
    piece = frame(0, bytes(60_000), fin=False)
    with server.steady("echo", 16 * MEBIBYTE):
        for _ in range(5):
            with server.connect("echo") as peer:
                peer.upgrade().send(frame(TEXT, b"", fin=False))
                peer.pump(piece, 0.2)
                assert peer.close_code() == 1009
    assert server.wait_idle("echo")["limits_reached"] == {"message_bytes_max": 5}


def test_pings_whose_pongs_are_not_read_hold_the_sender_back(serve: Serve) -> None:
    server = serve(echo={**ECHO, "deadlines": {"write_seconds": 1.0}})
    pings = frame(PING, bytes(125)) * 100
    with (
        server.steady("echo", 16 * MEBIBYTE),
        server.many_peers("echo", 10, receive_buffer=4096) as peers,
    ):
        for peer in peers:
            peer.upgrade().pump(pings, 0.2)
        server.wait_for("echo", lambda told: told["limits_reached"] == {"write_seconds": 10})
        assert all(peer.end().reset for peer in peers)
    told = server.wait_idle("echo")
    assert told["write_pauses"] >= 10
    assert told["connections_broken"] == 10


def test_a_ping_flood_that_reads_its_pongs_starves_nobody(serve: Serve) -> None:
    server = serve(echo=ECHO)
    with server.steady("echo", 16 * MEBIBYTE), server.connect("echo") as peer:
        peer.upgrade()
        for number in range(300):
            payload = b"%d" % number
            peer.send(frame(PING, payload) * 100)
            assert [peer.read_frame() for _ in range(100)] == [(PONG, payload)] * 100


@pytest.mark.parametrize(
    ("framing", "attack"),
    [("line", b"x" * (1 << 20)), ("length", b"\xff\xff\xff\xff" + bytes(1000))],
    ids=["a line without an end", "a length of four gigabytes"],
)
def test_a_message_too_large_for_a_stream_is_answered_with_a_reset(
    serve: Serve, framing: str, attack: bytes
) -> None:
    limits = {"message_bytes_max": 64 << 10}
    server = serve(echo=ECHO, stream={**TCP, "framing": framing, "limits": limits})
    times = 50
    with server.steady("echo", 16 * MEBIBYTE):
        for _ in range(times):
            with server.connect("stream") as peer:
                peer.send_if_it_still_can(attack)
                with contextlib.suppress(BrokenPipeError):
                    assert peer.end().reset
    told = server.wait_idle("stream")
    assert told["limits_reached"] == {"message_bytes_max": times}
    assert told["connections_broken"] == times


def test_frames_sent_together_with_the_handshake_are_answered(serve: Serve) -> None:
    server = serve(echo=ECHO)
    with server.connect("echo") as peer:
        peer.send(REQUEST % b"/" + frame(TEXT, b"early"))
        end = b""
        while b"\r\n\r\n" not in end:
            end += peer.read(1)
        assert peer.read_frame() == (TEXT, b"early")
