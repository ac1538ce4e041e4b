"""Frames that break a rule: each is refused with its code, however its bytes arrive."""

import time
from collections.abc import Callable

import pytest

from tests.acceptance.hostile.conftest import Serve
from tests.acceptance.hostile.peer import BINARY, CLOSE, PING, PONG, TEXT, Peer, frame
from tests.acceptance.hostile.raw import attack_client
from tests.acceptance.hostile.server_process import MEBIBYTE
from tests.acceptance.hostile.violations import PROTOCOL, violations

pytestmark = pytest.mark.acceptance

ECHO = {"url": "ws://127.0.0.1:0", "handler": "echo"}
GROWTH_MAX = 16 * MEBIBYTE
HEAD_BYTES = 14


def at_once(wire: bytes) -> list[bytes]:
    return [wire]


def in_bytes(wire: bytes) -> list[bytes]:
    """The head byte by byte, then the rest."""
    return [*(wire[at : at + 1] for at in range(min(HEAD_BYTES, len(wire)))), wire[HEAD_BYTES:]]


@pytest.mark.parametrize("cut", [at_once, in_bytes])
def test_a_server_refuses_every_violation_with_its_code(
    serve: Serve, cut: Callable[[bytes], list[bytes]]
) -> None:
    server = serve(echo=ECHO)
    attacks = list(violations(mask=True))
    with server.steady("echo", GROWTH_MAX):
        for what, wire, code in attacks:
            with server.connect("echo") as peer:
                # The message before is whole, and is answered.
                peer.upgrade().send(frame(TEXT, b"well"))
                assert peer.read_frame() == (TEXT, b"well")
                peer.send_in_pieces(cut(wire))
                assert peer.close_code() == code, what
                assert not peer.answer_close().before, what
    told = server.wait_idle("echo")
    assert told["protocol_errors"] == len(attacks)


def test_a_client_refuses_every_violation_with_its_code(driver: str) -> None:
    table = list(violations(mask=False))
    for code in sorted({code for _, _, code in table}):

        def attack(wire: bytes) -> Callable[[Peer], None]:
            return lambda peer: peer.send_in_pieces(in_bytes(wire))

        attacks = [attack(wire) for _, wire, theirs in table if theirs == code]
        attack_client(driver, attacks, code, GROWTH_MAX)


def test_nothing_is_answered_behind_a_close_frame(serve: Serve) -> None:
    server = serve(echo=ECHO, attacked=ECHO)
    behind = [
        frame(TEXT, b"late"),
        frame(PING, b"late"),
        frame(CLOSE, b"\x03\xe9"),
        frame(CLOSE, b"\x03\xe8") * 1000,
        b"\xff" * 4096,
    ]
    with server.steady("echo", GROWTH_MAX):
        for wire in behind:
            with server.connect("attacked") as peer:
                peer.upgrade().send(frame(CLOSE, b"\x03\xe8bye") + wire)
                end = peer.end()
                assert end.before == b"\x88\x02\x03\xe8"
    told = server.wait_idle("attacked")
    assert told["messages_received"] == told["protocol_errors"] == 0


def test_a_peer_that_never_answers_our_close_is_dropped_at_its_deadline(serve: Serve) -> None:
    server = serve(echo={**ECHO, "deadlines": {"close_seconds": 0.5}})
    flood = frame(BINARY, bytes(1000)) * 100
    with server.steady("echo", GROWTH_MAX), server.connect("echo") as peer:
        peer.upgrade().send(frame(3))
        assert peer.close_code() == PROTOCOL
        # What comes instead of an answer is thrown away, and extends nothing.
        began = time.monotonic()
        peer.pump(flood, 1.0)
        peer.end()
        assert time.monotonic() - began < 2.0
    assert server.wait_idle("echo")["protocol_errors"] == 1


def test_pongs_that_nobody_asked_for_are_let_pass(serve: Serve) -> None:
    server = serve(echo=ECHO)
    with server.steady("echo", GROWTH_MAX), server.connect("echo") as peer:
        peer.upgrade()
        for _ in range(300):
            peer.send(frame(PONG, bytes(125)) * 100)
        peer.echo(b"still here")


def test_control_frames_between_fragments_are_answered_at_once(serve: Serve) -> None:
    server = serve(echo=ECHO)
    with server.steady("echo", GROWTH_MAX), server.connect("echo") as peer:
        peer.upgrade().send(frame(TEXT, b"0", fin=False))
        for number in range(1, 1000):
            payload = b"%d" % number
            peer.send(frame(PING, payload) + frame(0, payload, fin=False))
            assert peer.read_frame() == (PONG, payload)
        peer.send(frame(0))
        whole = b"".join(b"%d" % number for number in range(1000))
        assert peer.read_frame() == (TEXT, whole)
