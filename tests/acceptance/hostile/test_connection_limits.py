"""More connections than allowed: in all, per address, per second, and without descriptors."""

import time

import pytest

from tests.acceptance.hostile.conftest import Serve
from tests.acceptance.hostile.peer import Peer
from tests.acceptance.hostile.server_process import MEBIBYTE, Server

pytestmark = [pytest.mark.acceptance, pytest.mark.serial]

ECHO = {"url": "ws://127.0.0.1:0", "handler": "echo"}
TCP = {"url": "tcp://127.0.0.1:0", "handler": "echo"}


def assert_echoes(server: Server, name: str, **options: str) -> None:
    """Assert that an endpoint serves a newcomer."""
    with server.connect(name, **options) as peer:
        if server.urls[name].startswith("ws:"):
            peer.upgrade()
            peer.echo(b"hello")
        else:
            peer.send(b"hello")
            assert peer.read(5) == b"hello"


def assert_refused(peer: Peer, url: str, limit: str) -> None:
    """Assert that a connection over a limit is refused in HTTP, and reset elsewhere."""
    end = peer.end()
    if url.startswith("ws:"):
        assert end.status == 503
        assert b"\r\nRetry-After: 1\r\n" in end.before
        assert limit.encode() in end.before
    else:
        assert end.reset


@pytest.mark.parametrize("endpoint", [ECHO, TCP], ids=["websocket", "stream"])
def test_one_connection_too_many_is_refused_and_room_is_given_again(
    serve: Serve, endpoint: dict[str, str]
) -> None:
    server = serve(calm=ECHO, full={**endpoint, "limits": {"connections_max": 50}})
    url = server.urls["full"]
    with server.steady("calm", 16 * MEBIBYTE), server.many_peers("full", 50) as peers:
        for peer in peers:
            if url.startswith("ws:"):
                peer.upgrade()
        server.wait_for("full", lambda told: told["connections_open"] == 50)
        for _ in range(100):
            with server.connect("full") as peer:
                assert_refused(peer, url, "connections_max")
        for peer in peers[:10]:
            peer.socket.close()
        server.wait_for("full", lambda told: told["connections_open"] == 40)
        assert_echoes(server, "full")
    told = server.wait_idle("full")
    assert told["connections_refused"] == {"connections_max": 100}
    assert told["limits_reached"] == {"connections_max": 100}
    assert told["connections_accepted"] == 151
    assert told["connections_closed"] == 51


@pytest.mark.parametrize("endpoint", [ECHO, TCP], ids=["websocket", "stream"])
def test_an_address_has_its_own_limit_and_others_have_room(
    serve: Serve, endpoint: dict[str, str]
) -> None:
    server = serve(echo={**endpoint, "limits": {"connections_per_address_max": 3}})
    url = server.urls["echo"]
    with server.many_peers("echo", 3, source="127.0.0.2"):
        server.wait_for("echo", lambda told: told["connections_accepted"] == 3)
        with server.connect("echo", source="127.0.0.2") as peer:
            assert_refused(peer, url, "connections_per_address_max")
        assert_echoes(server, "echo", source="127.0.0.3")
    server.wait_idle("echo")
    assert_echoes(server, "echo", source="127.0.0.2")
    told = server.wait_idle("echo")
    assert told["limits_reached"] == {"connections_per_address_max": 1}
    assert told["connections_refused"]["connections_per_address_max"] == 1


@pytest.mark.parametrize("endpoint", [ECHO, TCP], ids=["websocket", "stream"])
def test_a_rush_is_accepted_at_its_rate_and_the_rest_is_refused(
    serve: Serve, endpoint: dict[str, str]
) -> None:
    rate = 20
    server = serve(calm=ECHO, echo={**endpoint, "limits": {"accepts_per_second_max": rate}})
    url = server.urls["echo"]
    count = 200
    with server.steady("calm", 16 * MEBIBYTE):
        began = time.monotonic()
        with server.many_peers("echo", count) as peers:
            told = server.wait_for("echo", lambda told: told["connections_accepted"] == count)
            seconds = time.monotonic() - began
            refused = told["limits_reached"]["accepts_per_second_max"]
            # A bucket that is full at first lets through its content and what flows in meanwhile.
            assert rate <= count - refused <= rate * (seconds + 1) + 1
            assert_refused(peers[-1], url, "accepts_per_second_max")
        time.sleep(0.2)
        assert_echoes(server, "echo")
    told = server.wait_idle("echo")
    assert told["connections_refused"]["accepts_per_second_max"] == refused


@pytest.mark.parametrize("endpoint", [ECHO, TCP], ids=["websocket", "stream"])
@pytest.mark.parametrize("drop", ["reset", "close"])
def test_ten_thousand_connections_opened_and_dropped_leave_nothing_behind(
    serve: Serve, endpoint: dict[str, str], drop: str
) -> None:
    server = serve(calm=ECHO, echo=endpoint)
    assert_echoes(server, "echo")
    before = server.wait_idle("echo")["connections_accepted"]
    server.wait_for("calm", lambda told: not told["connections_open"])
    descriptors = server.descriptors
    count = 10_000
    with server.steady("calm", 32 * MEBIBYTE):
        for _ in range(count):
            peer = server.connect("echo")
            if drop == "reset":
                peer.reset()
            else:
                peer.socket.close()
        server.wait_for("echo", lambda told: told["connections_accepted"] - before == count)
    told = server.wait_idle("echo")
    if endpoint is ECHO:
        assert sum(told["connections_refused"].values()) == count
    else:
        assert told["connections_closed"] == count + 1
    assert server.descriptors == descriptors
    assert_echoes(server, "echo")


def test_connections_reset_right_behind_their_bytes_are_noticed(serve: Serve) -> None:
    server = serve(calm=ECHO, stream={**TCP, "framing": "length"})
    count = 2000
    with server.steady("calm", 16 * MEBIBYTE):
        for _ in range(count):
            peer = server.connect("stream")
            peer.send(b"\0\0\1\0 a part of it")
            peer.reset()
        server.wait_for("stream", lambda told: told["connections_accepted"] == count)
        told = server.wait_idle("stream")
    assert told["connections_broken"] == count


def test_without_descriptors_accepting_pauses_and_continues(serve: Serve) -> None:
    server = serve(descriptors=64, echo=ECHO)
    spare = 64 - server.descriptors
    with server.steady("echo", 16 * MEBIBYTE), server.many_peers("echo", spare + 20) as peers:
        told = server.wait_for("echo", lambda told: bool(told["accept_errors"]))
        assert told["accept_errors"].keys() == {"EMFILE"}
        open_now = told["handshakes_pending"]
        assert 0 < open_now < len(peers)
        # Those that are in are served while others wait at the door.
        peers[0].upgrade().echo(b"in good time")
        for peer in peers[:30]:
            peer.socket.close()
        # Who waited is let in, without having to come again.
        peers[-1].upgrade().echo(b"at last")
    server.wait_idle("echo")
    assert_echoes(server, "echo")
    assert "EMFILE" in server.log()
    assert "ulimit -n" in server.log()
    assert server.log().count("Accepting failed") == 1


def test_accepting_without_descriptors_does_not_spin(serve: Serve) -> None:
    server = serve(descriptors=64, echo=ECHO)
    with server.many_peers("echo", 80):
        server.wait_for("echo", lambda told: bool(told["accept_errors"]))
        before = server.processor_seconds
        time.sleep(1.0)
        used = server.processor_seconds - before
        told = server.statistics("echo")
    assert used < 0.3, f"{used} seconds of processor time in one second of waiting"
    assert told["accept_errors"]["EMFILE"] < 50
