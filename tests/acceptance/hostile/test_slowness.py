"""Peers that are slow on purpose: silence, a byte now and then, and receivers that never read."""

import contextlib
import threading
import time
from collections.abc import Iterator

import pytest

from tests.acceptance.hostile.conftest import Serve
from tests.acceptance.hostile.peer import BINARY, REQUEST, TEXT, Peer, frame
from tests.acceptance.hostile.server_process import MEBIBYTE

pytestmark = [pytest.mark.acceptance, pytest.mark.serial]

ECHO = {"url": "ws://127.0.0.1:0", "handler": "echo"}
TCP = {"url": "tcp://127.0.0.1:0", "handler": "echo"}
HALF = REQUEST[: len(REQUEST) // 2]
PIECE_BYTES = 64 << 10


@contextlib.contextmanager
def trickling(peers: list[Peer], data: bytes) -> Iterator[None]:
    """Send each of the peers a byte every 20 milliseconds, again and again from the beginning."""
    ended = threading.Event()

    def trickle() -> None:
        position = 0
        while not ended.wait(0.02):
            for peer in peers:
                with contextlib.suppress(OSError):
                    peer.socket.send(data[position : position + 1])
            position = (position + 1) % len(data)

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("half", [b"", HALF], ids=["nothing", "half a handshake"])
def test_silence_instead_of_a_handshake_gets_408_at_its_deadline(serve: Serve, half: bytes) -> None:
    server = serve(echo={**ECHO, "deadlines": {"handshake_seconds": 0.5}})
    count = 100
    with server.steady("echo", 16 * MEBIBYTE):
        began = time.monotonic()
        with server.many_peers("echo", count) as peers:
            for peer in peers:
                peer.send(half)
            assert server.wait_for("echo", lambda told: told["handshakes_pending"] == count)
            ends = [peer.end() for peer in peers]
            seconds = time.monotonic() - began
    assert {end.status for end in ends} == {408}
    assert 0.48 <= seconds < 5
    told = server.wait_idle("echo")
    assert told["limits_reached"] == {"handshake_seconds": count}
    assert told["connections_refused"] == {"status_408": count}


def test_a_handshake_that_trickles_in_does_not_extend_its_deadline(serve: Serve) -> None:
    server = serve(echo={**ECHO, "deadlines": {"handshake_seconds": 0.8}})
    count = 100
    with server.steady("echo", 16 * MEBIBYTE):
        began = time.monotonic()
        with server.many_peers("echo", count) as peers, trickling(peers, HALF):
            ends = [peer.end() for peer in peers]
            seconds = time.monotonic() - began
    assert {end.status for end in ends} == {408}
    assert 0.78 <= seconds < 5
    assert server.wait_idle("echo")["limits_reached"] == {"handshake_seconds": count}


def test_half_open_handshakes_have_a_limit_beyond_which_newcomers_get_503(serve: Serve) -> None:
    limits = {"handshakes_pending_max": 50}
    deadlines = {"handshake_seconds": 1.0}
    server = serve(calm=ECHO, echo={**ECHO, "limits": limits, "deadlines": deadlines})
    with server.steady("calm", 16 * MEBIBYTE), server.many_peers("echo", 50) as peers:
        for peer in peers:
            peer.send(HALF)
        server.wait_for("echo", lambda told: told["handshakes_pending"] == 50)
        with server.many_peers("echo", 20) as newcomers:
            assert {peer.end().status for peer in newcomers} == {503}
        for peer in peers:
            assert peer.end().status == 408
            peer.socket.close()
        server.wait_idle("echo")
        with server.connect("echo") as peer:
            peer.upgrade().echo(b"room again")
    told = server.wait_idle("echo")
    assert told["limits_reached"] == {"handshakes_pending_max": 20, "handshake_seconds": 50}
    assert told["connections_refused"] == {"handshakes_pending_max": 20, "status_408": 50}


def test_a_websocket_message_that_trickles_in_ends_with_1008(serve: Serve) -> None:
    server = serve(echo={**ECHO, "deadlines": {"message_seconds": 0.5}})
    message = frame(TEXT, b"x" * 120)
    count = 50
    with server.steady("echo", 16 * MEBIBYTE), server.many_peers("echo", count) as peers:
        for peer in peers:
            peer.upgrade()
        began = time.monotonic()
        with trickling(peers, message):
            assert {peer.close_code() for peer in peers} == {1008}
        assert 0.48 <= time.monotonic() - began < 5
    told = server.wait_idle("echo")
    assert told["limits_reached"]["message_seconds"] == count
    assert told["connections_broken"] == count


@pytest.mark.parametrize("framing", ["line", "length"])
def test_a_message_of_a_stream_that_trickles_in_ends_the_connection(
    serve: Serve, framing: str
) -> None:
    deadlines = {"message_seconds": 0.5, "close_seconds": 0.5}
    server = serve(echo=ECHO, stream={**TCP, "framing": framing, "deadlines": deadlines})
    count = 50
    with server.steady("echo", 16 * MEBIBYTE):
        began = time.monotonic()
        with server.many_peers("stream", count) as peers, trickling(peers, b"\0\0\1\0" + b"x" * 99):
            for peer in peers:
                peer.end()
            assert 0.48 <= time.monotonic() - began < 5
    told = server.wait_idle("stream")
    assert told["limits_reached"]["message_seconds"] == count
    assert told["connections_broken"] == count


@pytest.mark.parametrize("deadline", ["first_byte_seconds", "idle_seconds"])
def test_a_silent_stream_is_ended_at_its_deadline(serve: Serve, deadline: str) -> None:
    server = serve(echo=ECHO, stream={**TCP, "framing": "line", "deadlines": {deadline: 0.5}})
    count = 50
    with server.steady("echo", 16 * MEBIBYTE):
        began = time.monotonic()
        with server.many_peers("stream", count) as peers:
            for peer in peers:
                assert not peer.end().before
            assert 0.48 <= time.monotonic() - began < 5
    told = server.wait_idle("stream")
    assert told["limits_reached"] == {deadline: count}


def test_an_idle_websocket_that_answers_no_ping_is_reset(serve: Serve) -> None:
    deadlines = {"ping_interval_seconds": 0.2, "ping_timeout_seconds": 0.3}
    server = serve(echo={**ECHO, "deadlines": deadlines})
    with server.many_peers("echo", 20) as peers:
        for peer in peers:
            peer.upgrade()
        assert all(peer.end().reset for peer in peers)
    assert server.wait_idle("echo")["limits_reached"] == {"ping_timeout_seconds": 20}


def test_an_echo_to_a_receiver_that_never_reads_holds_its_sender_back_and_is_reset(
    serve: Serve,
) -> None:
    deadlines = {"write_seconds": 1.0, "ping_interval_seconds": None}
    server = serve(echo={**ECHO, "deadlines": deadlines})
    messages = frame(BINARY, bytes(1000)) * 50
    count = 10
    with (
        server.steady("echo", 16 * MEBIBYTE),
        server.many_peers("echo", count, receive_buffer=4096) as peers,
    ):
        for peer in peers:
            peer.upgrade()
            sent = peer.pump(messages, 0.2)
            # Whatever the kernel's buffers take, the server does not take it all.
            assert sent < 64 * MEBIBYTE
        server.wait_for("echo", lambda told: told["limits_reached"] == {"write_seconds": count})
        assert all(peer.end().reset for peer in peers)
    told = server.wait_idle("echo")
    assert told["write_pauses"] >= count
    assert told["connections_broken"] == count


def test_a_receiver_that_never_reads_fills_its_queue_and_then_the_sender_is_reported(
    serve: Serve,
) -> None:
    limits = {"write_bytes_max": 4 * MEBIBYTE}
    server = serve(calm=ECHO, flood={**ECHO, "handler": "flood", "limits": limits})
    count = 5
    with (
        server.steady("calm", (count * 5 + 8) * MEBIBYTE),
        server.many_peers("flood", count, receive_buffer=4096) as peers,
    ):
        for peer in peers:
            peer.upgrade().send(frame(TEXT, b"2000"))
        server.wait_for("flood", lambda told: told["handler_errors"] == count)
    told = server.wait_idle("flood")
    assert told["limits_reached"]["write_bytes_max"] == count
    assert "WriteQueueFull" in server.log()


@pytest.mark.parametrize("policy", ["drop-oldest", "drop-newest"])
def test_a_policy_that_drops_keeps_a_slow_consumer_within_its_bound(
    serve: Serve, policy: str
) -> None:
    limits = {"write_bytes_max": 4 * MEBIBYTE}
    flood = {**ECHO, "handler": "flood", "limits": limits, "slow_consumer": policy}
    server = serve(calm=ECHO, flood=flood)
    messages = 1000
    with server.steady("calm", 16 * MEBIBYTE), server.connect("flood", receive_buffer=4096) as peer:
        peer.upgrade().send(frame(TEXT, b"%d" % messages))
        told = server.wait_for("flood", lambda told: told["messages_dropped"] > 0)
        numbers: list[int] = []
        while len(numbers) < messages - told["messages_dropped"]:
            opcode, payload = peer.read_frame()
            assert opcode == BINARY
            assert len(payload) == PIECE_BYTES
            numbers.append(int.from_bytes(payload[:4]))
    assert numbers == sorted(set(numbers)), "messages came twice or out of order"
    assert numbers[0] == 0
    # Which end is missing says which policy it was.
    assert (numbers[-1] == messages - 1) == (policy == "drop-oldest")
    assert told["limits_reached"]["write_bytes_max"] > 0
    assert told["handler_errors"] == 0


@pytest.mark.parametrize("url", ["ws://127.0.0.1:0", "tcp://127.0.0.1:0"])
def test_a_policy_that_disconnects_ends_a_slow_consumer(serve: Serve, url: str) -> None:
    limits = {"write_bytes_max": 4 * MEBIBYTE}
    flood = {"url": url, "handler": "flood", "limits": limits, "slow_consumer": "disconnect"}
    server = serve(calm=ECHO, flood=flood)
    with server.steady("calm", 16 * MEBIBYTE), server.connect("flood", receive_buffer=4096) as peer:
        if url.startswith("ws:"):
            peer.upgrade().send(frame(TEXT, b"1000"))
        else:
            peer.send(b"1000")
        told = server.wait_for("flood", lambda told: told["connections_broken"] == 1)
        assert peer.end().reset
    assert told["limits_reached"] == {"write_bytes_max": 1}
