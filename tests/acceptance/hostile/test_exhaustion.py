"""Peers that try to exhaust the processor, the memory and the log."""

import contextlib
import threading
import time
from collections.abc import Iterator

import pytest

from tests.acceptance.hostile.conftest import Serve
from tests.acceptance.hostile.peer import BINARY, PONG, TEXT, Peer, frame
from tests.acceptance.hostile.server_process import MEBIBYTE, Server

pytestmark = [pytest.mark.acceptance, pytest.mark.serial]

ECHO = {"url": "ws://127.0.0.1:0", "handler": "echo"}


@contextlib.contextmanager
def reading(peers: list[Peer]) -> Iterator[None]:
    """Read whatever comes to the peers, and throw it away."""

    def read(peer: Peer) -> None:
        with contextlib.suppress(OSError):
            while peer.socket.recv(1 << 20):
                pass

    threads = [threading.Thread(target=read, args=(peer,)) for peer in peers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for peer in peers:
            with contextlib.suppress(OSError):
                peer.socket.shutdown(2)
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("handler", ["echo", "echo_later"])
@pytest.mark.parametrize("size", [1, 60_000], ids=["tiny", "large"])
def test_peers_that_pump_messages_and_read_their_echoes_starve_nobody(
    serve: Serve, handler: str, size: int
) -> None:
    server = serve(calm=ECHO, greedy={**ECHO, "handler": handler})
    pumped = frame(BINARY, bytes(size)) * max(1, 120_000 // size)
    with server.steady("calm", 24 * MEBIBYTE), server.many_peers("greedy", 4) as peers:
        for peer in peers:
            peer.upgrade()
        with reading(peers):
            end = time.monotonic() + 1.0
            while time.monotonic() < end:
                for peer in peers:
                    peer.send(pumped)
    told = server.wait_idle("greedy")
    assert told["bytes_received"] > 4 * MEBIBYTE
    assert told["handler_errors"] == 0


@pytest.mark.parametrize(
    ("size", "waiting"), [(1000, 64), (200_000, 6)], ids=["many small", "few large"]
)
def test_a_coroutine_that_receives_nothing_holds_its_senders_back(
    serve: Serve, size: int, waiting: int
) -> None:
    server = serve(calm=ECHO, hang={**ECHO, "handler": "hang"})
    count = 10
    messages = frame(BINARY, bytes(size))
    with server.steady("calm", 32 * MEBIBYTE), server.many_peers("hang", count) as peers:
        for peer in peers:
            peer.upgrade()
            assert peer.pump(messages, 0.2) < 64 * MEBIBYTE
        # The one that the coroutine took, and what the inbox takes: 64 messages or a mebibyte.
        most = count * (1 + waiting)
        told = server.wait_for("hang", lambda told: told["messages_received"] >= most - count)
        assert told["messages_received"] <= most
        time.sleep(0.2)
        # It sends pongs meanwhile, to show that it lives.
        later = server.statistics("hang")
        for name in ("messages_received", "bytes_received"):
            assert later[name] == told[name], "it still reads"


@pytest.mark.parametrize(
    ("size", "waiting"), [(1000, 64), (200_000, 6)], ids=["many small", "few large"]
)
def test_a_thread_that_is_blocked_holds_its_sender_back_and_nobody_else(
    serve: Serve, size: int, waiting: int
) -> None:
    block = {**ECHO, "handler": "block", "executor": "threads"}
    server = serve(calm=ECHO, block=block)
    with server.steady("calm", 16 * MEBIBYTE), server.connect("block") as peer:
        peer.upgrade().pump(frame(BINARY, bytes(size)), 0.5)
        told = server.statistics("block")
        # The one that the thread works on, and those that wait for it.
        assert waiting <= told["messages_received"] <= 1 + waiting
        # Behind the pongs that show meanwhile that it lives.
        answers = (found for found in peer.frames() if found != (PONG, b""))
        assert next(answers) == (TEXT, b"unblocked")


def attack(server: Server) -> None:
    """Some of everything: connections refused, broken, dropped, closed and stalled."""
    for number in range(300):
        with server.connect("echo") as peer:
            if number % 6 == 0:
                peer.send_if_it_still_can(b"\xff" * 20_000)
            elif number % 6 == 1:
                peer.upgrade().send(frame(BINARY, bytes(500_000)))
            elif number % 6 == 2:
                peer.upgrade().send(b"\xff" * 100)
            elif number % 6 == 3:
                peer.upgrade().send(frame(TEXT, bytes(100_000), fin=False))
            elif number % 6 == 4:
                peer.upgrade().echo(bytes(300_000))
            peer.reset()
    server.wait_idle("echo")


def test_an_attack_that_is_repeated_finds_no_leak(serve: Serve) -> None:
    # The allocator keeps as much as the worst moment so far needed, and how many of an attack's
    # connections are open at once is chance. So memory grows in the first attacks, then no more.
    server = serve(echo=ECHO)
    attack(server)
    descriptors = server.descriptors
    grown = []
    for _ in range(8):
        before = server.resident_bytes()
        for _ in range(5):
            attack(server)
        assert server.descriptors == descriptors
        grown.append(server.resident_bytes() - before)
        if grown[-1] <= MEBIBYTE:
            return
    pytest.fail(f"its memory grew with every five attacks, in bytes: {grown}")


def test_a_limit_that_is_reached_a_thousand_times_is_logged_once(serve: Serve) -> None:
    server = serve(echo={**ECHO, "limits": {"message_bytes_max": 10}})
    for _ in range(200):
        with server.connect("echo") as peer:
            peer.upgrade().send(frame(TEXT, bytes(11)))
            assert peer.close_code() == 1009
    told = server.wait_idle("echo")
    assert told["limits_reached"] == {"message_bytes_max": 200}
    assert server.log().count("Limit reached: message_bytes_max") == 1
