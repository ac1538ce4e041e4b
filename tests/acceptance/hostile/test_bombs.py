"""Compression abused: bombs, windows that were not agreed on, data that nothing made.

A kilobyte may inflate to a megabyte (RFC 1951 gives at most 1,032 to one), and nothing tells before
how much will come. The limit on a message therefore holds while it is inflated: memory is bounded
by it whatever was sent, and the code is 1009.
"""

import itertools
import struct
from collections.abc import Callable

import pytest

from tests.acceptance.hostile.conftest import Serve
from tests.acceptance.hostile.deflating import (
    EMPTY_LAST_BLOCK,
    EMPTY_STORED_BLOCK,
    OFFER,
    Deflater,
    cut,
    deflated,
    in_compressed_frames,
)
from tests.acceptance.hostile.peer import BINARY, CLOSE, PING, TEXT, Peer, frame
from tests.acceptance.hostile.raw import attack_client
from tests.acceptance.hostile.sequences import BEFORE, INVALID
from tests.acceptance.hostile.server_process import MEBIBYTE

pytestmark = [pytest.mark.acceptance, pytest.mark.serial]

LIMIT = 64 << 10
GROWTH_MAX = 16 * MEBIBYTE
BOMB = deflated(bytes(64 * MEBIBYTE))
"""64 KiB that become 64 MiB."""

SMALL = {"limits": {"message_bytes_max": LIMIT}}
ECHO = {"url": "ws://127.0.0.1:0", "handler": "echo", "compression": {}}
COUNT = {**ECHO, "handler": "count"}
PARTS = {**ECHO, "handler": "count_parts", "limits": {"message_bytes_max": None}}
PLAIN = {"url": "ws://127.0.0.1:0", "handler": "echo"}


GRANTED = b"permessage-deflate; server_no_context_takeover"
"""What our client asks for."""


def offering(peer: Peer, offer: str = OFFER) -> Peer:
    """Upgrade, and be granted compression."""
    peer.upgrade(offer=offer)
    assert peer.extensions.startswith("permessage-deflate")
    return peer


def sending(wire: bytes) -> Callable[[Peer], None]:
    """An attack that is these bytes."""
    return lambda peer: peer.send_if_it_still_can(wire)


@pytest.mark.parametrize("size", [1 << 20, 1000, 64], ids=["whole", "1000 bytes", "64 bytes"])
def test_a_bomb_is_refused_while_it_is_inflated(serve: Serve, size: int) -> None:
    assert len(BOMB) * 1000 < 64 * MEBIBYTE
    server = serve(echo=ECHO)
    wire = in_compressed_frames(cut(BOMB, size))
    with server.steady("echo", GROWTH_MAX):
        for _ in range(20):
            with server.connect("echo") as peer:
                offering(peer).send_if_it_still_can(wire)
                assert peer.close_code() == 1009
    told = server.wait_idle("echo")
    assert told["limits_reached"] == {"message_bytes_max": 20}


def test_a_client_refuses_a_bomb_too(driver: str) -> None:
    wire = in_compressed_frames([BOMB], mask=False)
    attacks = [sending(wire)] * 10
    attack_client(driver, attacks, 1009, GROWTH_MAX, GRANTED)


def test_many_bombs_that_each_keep_to_the_limit_cost_no_memory(serve: Serve) -> None:
    server = serve(echo=ECHO, count=COUNT)
    small = in_compressed_frames([deflated(bytes(MEBIBYTE))])
    with server.steady("echo", GROWTH_MAX), server.connect("count") as peer:
        offering(peer)
        for _ in range(10):
            peer.send(small * 20)
            told = [peer.read_frame() for _ in range(20)]
            assert told == [(TEXT, str(MEBIBYTE).encode())] * 20


def test_answers_that_nobody_reads_hold_the_sender_of_bombs_back(serve: Serve) -> None:
    limits = {"write_bytes_max": 2 * MEBIBYTE}
    plain_answers = {"compression": {"threshold_bytes": 1 << 40}, "limits": limits}
    server = serve(echo={**ECHO, **plain_answers, "deadlines": {"write_seconds": 1.0}})
    small = in_compressed_frames([deflated(bytes(LIMIT))])
    with (
        server.steady("echo", GROWTH_MAX),
        server.many_peers("echo", 5, receive_buffer=4096) as peers,
    ):
        for peer in peers:
            offering(peer).pump(small, 0.3)
        server.wait_for("echo", lambda told: told["limits_reached"] == {"write_seconds": 5})
        assert all(peer.end().reset for peer in peers)
    assert server.wait_idle("echo")["write_pauses"] >= 5


def test_bombs_that_just_fit_into_one_piece_starve_nobody(serve: Serve) -> None:
    server = serve(echo=ECHO, count=COUNT)
    small = in_compressed_frames([deflated(bytes(65_000))])
    with server.steady("echo", GROWTH_MAX), server.connect("count") as peer:
        offering(peer)
        for _ in range(10):
            peer.send(small * 1000)
            told = [peer.read_frame() for _ in range(1000)]
            assert told == [(TEXT, b"65000")] * 1000


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [1 << 20, 7, 1], ids=["whole", "7 bytes", "1 byte"])
def test_the_limit_holds_to_the_byte(serve: Serve, opcode: int, size: int) -> None:
    server = serve(count={**COUNT, **SMALL})
    for count, is_taken in ((LIMIT - 1, True), (LIMIT, True), (LIMIT + 1, False)):
        with server.connect("count") as peer:
            wire = in_compressed_frames(cut(deflated(b"b" * count), size), opcode)
            offering(peer).send(wire)
            if is_taken:
                assert peer.read_frame() == (TEXT, b"%d" % count)
            else:
                assert peer.close_code() == 1009
    assert server.wait_idle("count")["limits_reached"] == {"message_bytes_max": 1}


def test_a_bomb_in_parts_is_handed_over_in_parts(serve: Serve) -> None:
    server = serve(echo=ECHO, parts=PARTS)
    with server.steady("echo", GROWTH_MAX), server.connect("parts") as peer:
        offering(peer).send(in_compressed_frames(cut(BOMB, 1000)))
        assert peer.read_frame() == (TEXT, b"%d" % (64 * MEBIBYTE))


@pytest.mark.parametrize("block", [EMPTY_STORED_BLOCK, EMPTY_LAST_BLOCK], ids=["stored", "last"])
@pytest.mark.parametrize("handler", [COUNT, PARTS], ids=["whole", "parts"])
def test_blocks_that_inflate_to_nothing_starve_nobody(
    serve: Serve, block: bytes, handler: dict[str, object]
) -> None:
    window = {"compression": {"client_window_bits": 15}}
    server = serve(echo=ECHO, attacked={**handler, **window})
    filling = in_compressed_frames([deflated(bytes(range(256)) * 256)])
    wire = in_compressed_frames([block * ((MEBIBYTE // 2) // len(block)) + b"\x00"])
    with server.steady("echo", GROWTH_MAX), server.connect("attacked") as peer:
        # What was said before is carried over: each block that is the last begins behind it.
        offering(peer).send(filling)
        assert peer.read_frame() == (TEXT, b"65536")
        for _ in range(3):
            peer.send(wire)
            assert peer.read_frame() == (TEXT, b"0")


def test_data_that_nothing_compressed_is_closed_with_1007(serve: Serve) -> None:
    server = serve(echo=ECHO)
    whole = deflated(bytes(range(256)) * 4)
    broken = [
        b"\xff" * 100,
        b"\x07",  # A block of the kind that is reserved.
        b"\x00\x05\x00\x00\x00hello",  # A stored block whose length contradicts itself.
        whole[: len(whole) // 2],
        b"\x02\x02\x00",  # A reference to before the first byte.
    ]
    with server.steady("echo", GROWTH_MAX):
        for payload, size in itertools.product(broken, (1000, 1)):
            with server.connect("echo") as peer:
                offering(peer).send(in_compressed_frames(cut(payload, size)))
                assert peer.close_code() == 1007, payload
    assert server.wait_idle("echo")["protocol_errors"] == len(broken) * 2


def test_a_reference_beyond_the_agreed_window_is_refused(serve: Serve) -> None:
    server = serve(echo={**ECHO, "compression": {"client_window_bits": 9}})
    noise = bytes((number * 7919) % 251 for number in range(400))
    with server.connect("echo") as peer:
        offering(peer)
        assert "client_max_window_bits=9" in peer.extensions
        near, far = Deflater(), Deflater()
        peer.send(in_compressed_frames([near.message(noise)]))
        read_echo(peer)
        # 400 bytes back: within 512.
        peer.send(in_compressed_frames([near.message(noise)]))
        read_echo(peer)
        for wire in (noise, bytes(600), noise):
            last = far.message(wire)
            peer.send(in_compressed_frames([last]))
        # 1,000 bytes back: the last of these is not in a window of 512.
        assert peer.close_code() == 1007


def read_echo(peer: Peer) -> None:
    """Read an answer, compressed or not."""
    opcode, _ = peer.read_frame()
    assert opcode == BINARY


def test_without_context_takeover_nothing_is_carried_over(serve: Serve) -> None:
    server = serve(echo={**ECHO, "compression": {"client_context_takeover": False}})
    deflater = Deflater()
    noise = bytes((number * 7919) % 251 for number in range(400))
    with server.connect("echo") as peer:
        offering(peer)
        assert "client_no_context_takeover" in peer.extensions
        peer.send(in_compressed_frames([deflater.message(noise)]))
        read_echo(peer)
        peer.send(in_compressed_frames([deflater.message(noise)]))
        assert peer.close_code() == 1007


@pytest.mark.parametrize(
    "parameter",
    [
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "client_max_window_bits=08",
        "client_max_window_bits=4294967304",
        "client_max_window_bits=x",
        "server_max_window_bits",
        "server_max_window_bits=0",
        "server_max_window_bits=-8",
        "server_max_window_bits=1e1",
        "server_no_context_takeover=1",
        "client_no_context_takeover=true",
        "unknown",
        "client_max_window_bits; client_max_window_bits",
        "server_max_window_bits=9; server_max_window_bits=10",
    ],
)
def test_an_offer_that_cannot_be_is_declined_and_compression_is_a_violation_then(
    serve: Serve, parameter: str
) -> None:
    server = serve(echo=ECHO)
    with server.connect("echo") as peer:
        peer.upgrade(offer=f"permessage-deflate; {parameter}")
        assert peer.extensions == ""
        peer.echo(b"plain")
        peer.send(in_compressed_frames([deflated(b"compressed")]))
        assert peer.close_code() == 1002


def test_reserved_bits_mean_compression_on_a_messages_first_frame_only(serve: Serve) -> None:
    server = serve(echo=ECHO)
    payload = deflated(b"x" * 100)
    begun = frame(BINARY, payload[:2], fin=False, compressed=True)
    wrong = [frame(PING, b"", compressed=True), frame(CLOSE, b"\x03\xe8", compressed=True)]
    wrong += [begun + frame(0, payload[2:], compressed=True)]
    wrong += [frame(TEXT, b"plain", fin=False) + frame(0, b"", compressed=True)]
    for bits in (0x20, 0x10, 0x30, 0x60, 0x50, 0x70):
        marked = bytearray(frame(BINARY, payload))
        marked[0] |= bits
        wrong.append(bytes(marked))
    for wire in wrong:
        with server.connect("echo") as peer:
            offering(peer).send(wire)
            assert peer.close_code() == 1002, wire[:1].hex()


@pytest.mark.parametrize("size", [1 << 10, 1], ids=["whole", "1 byte"])
def test_invalid_utf8_is_found_in_compressed_text_too(serve: Serve, size: int) -> None:
    server = serve(echo=ECHO)
    with server.steady("echo", GROWTH_MAX):
        for it in INVALID:
            with server.connect("echo") as peer:
                wire = in_compressed_frames(cut(deflated(BEFORE + it.data), size), TEXT)
                offering(peer).send(wire)
                assert peer.close_code() == 1007, it


def test_a_client_finds_invalid_utf8_in_compressed_text_too(driver: str) -> None:
    wires = [
        in_compressed_frames(cut(deflated(BEFORE + it.data), 3), TEXT, mask=False) for it in INVALID
    ]
    attack_client(driver, list(map(sending, wires)), 1007, GROWTH_MAX, GRANTED)


def test_a_message_may_be_plain_although_compression_was_agreed_on(serve: Serve) -> None:
    server = serve(echo=ECHO)
    with server.connect("echo") as peer:
        offering(peer).echo(b"plain")
        peer.send(frame(CLOSE, struct.pack("!H", 1000)))
        assert peer.close_code() == 1000
