"""Streams of frames that hypothesis makes, whole and broken: ours answers as wsproto would.

VESPIARY_FUZZ_EXAMPLES is how many; the default is quick.
"""

import itertools
import os
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.acceptance.hostile.conftest import Serve
from tests.acceptance.hostile.deflating import OFFER, Deflater
from tests.acceptance.hostile.peer import BINARY, CLOSE, PING, PONG, TEXT, Peer, frame
from tests.acceptance.hostile.reference import Answer, answers
from tests.acceptance.hostile.sequences import INVALID
from tests.acceptance.hostile.server_process import Server

pytestmark = [
    pytest.mark.acceptance,
    # A thread that another test left may draw from `random` in the midst of a strategy of these,
    # none of which does.
    pytest.mark.filterwarnings("ignore:Do not use the .random. module inside strategies"),
]

EXAMPLES = int(os.environ.get("VESPIARY_FUZZ_EXAMPLES", "200"))
PLAIN = {"url": "ws://127.0.0.1:0", "handler": "echo"}
DEFLATING = {**PLAIN, "compression": {"threshold_bytes": 1 << 40, "client_window_bits": 15}}
"""It takes compressed messages, and answers them with plain ones."""

END = frame(PING, b"the end")

# CPython's decoder, which wsproto has, looks at surrogates late: those have tests of their own.
NO_TEXT = [it.data for it in INVALID if not it.data.startswith(b"\xed")]
# wsproto does not know 1014, which was registered after RFC 6455.
CODES = st.integers(0, 0xFFFF).filter(lambda code: code != 1014)
CODES |= st.sampled_from([1000, 1001, 1005, 1006, 1012, 1015, 2999, 3000, 4999, 5000])

texts = st.text(max_size=40).map(str.encode)
reasons = st.one_of(texts, st.sampled_from(NO_TEXT))
payloads = st.one_of(
    texts,
    st.binary(max_size=300),
    st.sampled_from(NO_TEXT),
    st.integers(0, 70_000).map(lambda size: b"x" * size),
)
controls = st.builds(
    frame, st.sampled_from([PING, PONG]), st.binary(max_size=125), mask=st.just(True)
)
closes = st.one_of(
    st.binary(max_size=1),
    st.builds(lambda code, reason: struct.pack("!H", code) + reason[:123], CODES, reasons),
).map(lambda payload: frame(CLOSE, payload))


@st.composite
def messages(draw: st.DrawFn, *, deflater: Deflater | None = None) -> bytes:
    """A message in fragments, with pings and pongs between them; perhaps compressed.

    Nothing stands between compressed fragments: wsproto 1.3 takes what follows a ping for plain.
    """
    opcode = draw(st.sampled_from([TEXT, BINARY]))
    payload = draw(payloads)
    is_compressed = deflater is not None and draw(st.booleans())
    if deflater is not None and is_compressed:
        payload = deflater.message(payload)
    cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
    edges = [0, *cuts, len(payload)]
    wire = b""
    for number, (begin, end) in enumerate(itertools.pairwise(edges)):
        wire += frame(
            0 if number else opcode,
            payload[begin:end],
            fin=number == len(cuts),
            compressed=is_compressed and number == 0,
        )
        if number < len(cuts) and not is_compressed:
            wire += draw(st.just(b"") | controls)
    return wire


@st.composite
def any_frames(draw: st.DrawFn) -> bytes:
    """A frame with any bits, opcode and form of length, masked or not."""
    opcode = draw(st.integers(0, 15))
    fin = draw(st.booleans())
    wire = bytearray(frame(opcode, draw(payloads), fin=fin, mask=draw(st.integers(0, 9)) > 0))
    wire[0] |= draw(st.sampled_from([0, 0, 0, 1, 2, 4, 7])) << 4
    if draw(st.integers(0, 9)) == 0:
        length = draw(st.integers(0, (1 << 64) - 1))
        form = draw(st.sampled_from(["!BH", "!BQ"]))
        if form == "!BH":
            return bytes(wire[:1]) + struct.pack(form, 0x80 | 126, min(length, 125)) + bytes(4)
        # A length that is too small for its form, or too large for any.
        length = length | 1 << 63 if draw(st.booleans()) else min(length, 65_535)
        return bytes(wire[:1]) + struct.pack(form, 0x80 | 127, length) + bytes(4)
    return bytes(wire)


@st.composite
def streams(draw: st.DrawFn, *, compressed: bool = False) -> tuple[bytes, list[bytes]]:
    """A stream, and the segments in which it is sent."""
    deflater = Deflater() if compressed else None
    valid = st.one_of(messages(deflater=deflater), controls)
    parts = draw(st.lists(valid, max_size=5))
    parts += draw(st.lists(any_frames() | closes, max_size=2))
    parts += draw(st.lists(valid, max_size=2))
    stream = b"".join(parts) + END
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=4)))
    edges = [0, *cuts, len(stream)]
    return stream, [stream[a:b] for a, b in itertools.pairwise(edges) if a < b]


def read_answers(peer: Peer) -> list[Answer]:
    """All frames up to a close frame, or up to the answer to the last ping."""
    told: list[Answer] = []
    while True:
        opcode, payload = peer.read_frame()
        told.append((opcode, payload[:2] if opcode == CLOSE else payload))
        if opcode == CLOSE or (opcode, payload) == (PONG, b"the end"):
            return told


def check(server: Server, stream: bytes, segments: list[bytes], offer: str | None) -> None:
    """Send it, and compare."""
    with server.connect("echo") as peer:
        peer.upgrade(offer=offer)
        assert bool(peer.extensions) == bool(offer)
        peer.send_in_pieces(segments)
        assert read_answers(peer) == answers(stream, offer)


QUICK = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.timeout(60 + EXAMPLES)
def test_any_stream_is_answered_as_the_reference_does(serve: Serve) -> None:
    server = serve(echo=PLAIN)

    @QUICK
    @given(streams())
    def compare(made: tuple[bytes, list[bytes]]) -> None:
        check(server, *made, None)

    compare()
    assert server.process.poll() is None


@pytest.mark.timeout(60 + EXAMPLES)
def test_any_compressed_stream_is_answered_as_the_reference_does(serve: Serve) -> None:
    server = serve(echo=DEFLATING)

    @QUICK
    @given(streams(compressed=True))
    def compare(made: tuple[bytes, list[bytes]]) -> None:
        check(server, *made, OFFER)

    compare()
    assert server.process.poll() is None
