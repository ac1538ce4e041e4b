"""SIGTERM with work under way: nothing that was received is lost, and the peers are notified."""

import signal
import socket
import time
from urllib.parse import urlsplit

import pytest

from tests.acceptance.hostile.conftest import Serve
from tests.acceptance.hostile.peer import BINARY, CLOSE, TEXT, Peer, frame

pytestmark = pytest.mark.acceptance

ECHO = {"url": "ws://127.0.0.1:0", "handler": "echo"}
GOING_AWAY = (CLOSE, b"\x03\xe9the server is going away")


def assert_nobody_listens(url: str) -> None:
    """Assert that a connect is refused."""
    parts = urlsplit(url)
    with pytest.raises(ConnectionRefusedError), socket.socket() as probe:
        probe.connect((parts.hostname, parts.port))


def test_messages_that_were_received_are_answered_before_the_peers_are_reported_1001(
    serve: Serve,
) -> None:
    server = serve(slow={**ECHO, "handler": "echo_slowly"})
    count, messages = 10, 50
    with server.many_peers("slow", count) as peers:
        for peer in peers:
            peer.upgrade()
            peer.send(b"".join(frame(TEXT, b"%d" % number) for number in range(messages)))
        server.wait_for("slow", lambda told: told["messages_received"] == count * messages)
        assert server.statistics("slow")["messages_sent"] < count * messages
        server.terminate()
        for peer in peers:
            *echoes, last = peer.frames()
            assert echoes == [(TEXT, b"%d" % number) for number in range(messages)]
            assert last == GOING_AWAY
            assert not peer.answer_close().reset
    told = server.wait_stopped()["slow"]
    assert told["messages_sent"] == count * messages
    assert told["connections_broken"] == 0
    assert told["handler_errors"] == 0
    assert "Traceback" not in server.log()


def test_bytes_that_wait_for_a_slow_reader_are_delivered_before_the_close_frame(
    serve: Serve,
) -> None:
    server = serve(flood={**ECHO, "handler": "flood"})
    with server.connect("flood", receive_buffer=4096) as peer:
        peer.upgrade().send(frame(TEXT, b"200"))
        server.wait_for("flood", lambda told: told["messages_sent"] == 200)
        server.terminate()
        time.sleep(0.3)
        *messages, last = peer.frames()
        assert [int.from_bytes(payload[:4]) for _, payload in messages] == list(range(200))
        assert last == GOING_AWAY
        assert not peer.answer_close().reset
    assert server.wait_stopped()["flood"]["connections_broken"] == 0


def test_a_stream_is_drained_and_ends_with_a_fin(serve: Serve) -> None:
    server = serve(
        slow={"url": "tcp://127.0.0.1:0", "framing": "line", "handler": "echo_slowly"},
    )
    lines = b"".join(b"%d\n" % number for number in range(50))
    with server.connect("slow") as peer:
        peer.send(lines)
        server.wait_for("slow", lambda told: told["messages_received"] == 50)
        server.terminate()
        end = peer.end()
    assert end.before == lines
    assert not end.reset
    assert server.wait_stopped()["slow"]["connections_broken"] == 0


def test_nobody_is_accepted_once_the_server_stops(serve: Serve) -> None:
    server = serve(slow={**ECHO, "handler": "echo_slowly"})
    with server.connect("slow") as peer:
        peer.upgrade()
        peer.send(frame(TEXT, b"x") * 50)
        server.wait_for("slow", lambda told: told["messages_received"] == 50)
        server.terminate()
        assert peer.read_frame() == (TEXT, b"x")
        time.sleep(0.1)
        assert_nobody_listens(server.urls["slow"])
        assert server.process.poll() is None
        assert list(peer.frames())[-1] == GOING_AWAY
        peer.answer_close()
    server.wait_stopped()


def test_handlers_that_do_not_end_are_cut_at_the_drain_deadline(serve: Serve) -> None:
    deadlines = {"drain_seconds": 0.5}
    server = serve(hang={**ECHO, "handler": "hang", "deadlines": deadlines})
    with server.many_peers("hang", 5) as peers:
        hang_all(peers)
        began = time.monotonic()
        server.terminate()
        assert all(peer.end().reset for peer in peers)
        assert 0.48 <= time.monotonic() - began < 3
    server.wait_stopped()
    assert "Resetting 5 connections on" in server.log()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(serve: Serve, second: signal.Signals) -> None:
    deadlines = {"drain_seconds": 60.0}
    server = serve(hang={**ECHO, "handler": "hang", "deadlines": deadlines})
    with server.many_peers("hang", 5) as peers:
        hang_all(peers)
        server.terminate()
        time.sleep(0.5)
        assert server.process.poll() is None, "it should wait for its handlers"
        began = time.monotonic()
        server.process.send_signal(second)
        assert all(peer.end().reset for peer in peers)
        server.wait_stopped()
        assert time.monotonic() - began < 3


def hang_all(peers: list[Peer]) -> None:
    """Give each handler a message that it never finishes with."""
    for peer in peers:
        peer.upgrade().send(frame(BINARY, b"x"))
        assert peer.read_frame() == (TEXT, b"hanging")


def test_a_peer_that_does_not_answer_the_close_frame_is_cut_at_its_deadline(serve: Serve) -> None:
    server = serve(echo={**ECHO, "deadlines": {"close_seconds": 0.5}})
    with server.connect("echo") as peer:
        peer.upgrade().echo(b"hello")
        began = time.monotonic()
        server.terminate()
        assert list(peer.frames()) == [GOING_AWAY]
        assert not peer.end().before
        assert 0.48 <= time.monotonic() - began < 3
    assert server.wait_stopped()["echo"]["limits_reached"] == {"close_seconds": 1}


def test_an_idle_server_stops_at_once(serve: Serve) -> None:
    server = serve(echo=ECHO)
    began = time.monotonic()
    server.terminate()
    server.wait_stopped()
    assert time.monotonic() - began < 2
