"""Text that is not UTF-8: every row of the table, cut into frames and segments at every point.

RFC 6455 section 8.1: such a message fails the connection, with 1007 (section 7.4.1). Ours fails
as soon as no continuation could make a text of it, not only at the message's end.
"""

import codecs
import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.acceptance.hostile.conftest import Serve
from tests.acceptance.hostile.peer import CLOSE, PING, PONG, TEXT, Peer, frame
from tests.acceptance.hostile.raw import attack_client
from tests.acceptance.hostile.sequences import BEFORE, INVALID, VALID, Sequence
from tests.acceptance.hostile.server_process import MEBIBYTE

pytestmark = pytest.mark.acceptance

GROWTH_MAX = 16 * MEBIBYTE

Pieces = list[bytes]


def in_frames(data: bytes, cuts: list[int], *, mask: bool, fin: bool = True) -> Pieces:
    """A text message in frames, cut at these points; unless `fin`, it is not over with the last."""
    edges = [0, *cuts, len(data)]
    pieces = [data[begin:end] for begin, end in itertools.pairwise(edges)]
    return [
        frame(TEXT if number == 0 else 0, piece, fin=fin and number == len(cuts), mask=mask)
        for number, piece in enumerate(pieces)
    ]


def cut_into_frames(*, mask: bool) -> Iterator[Pieces]:
    """Every sequence in two frames, cut at every point, and in frames of one byte."""
    for it in INVALID:
        data = BEFORE + it.data
        for cut in range(len(data) + 1):
            yield [b"".join(in_frames(data, [cut], mask=mask))]
        yield [b"".join(in_frames(data, list(range(1, len(data))), mask=mask))]


def cut_into_segments(*, mask: bool) -> Iterator[Pieces]:
    """Every sequence in one frame, in two segments, cut at every point; and byte by byte."""
    for it in INVALID:
        wire = frame(TEXT, BEFORE + it.data, mask=mask)
        for cut in range(1, len(wire)):
            yield [wire[:cut], wire[cut:]]
        yield [wire[at : at + 1] for at in range(len(wire))]


def impossible() -> list[Sequence]:
    """The sequences that no continuation can save."""
    return [it for it in INVALID if not it.is_cut_short]


def unfinished_frames(*, mask: bool) -> Iterator[Pieces]:
    """The head of a longer frame, and its payload up to the byte that cannot be."""
    for it in impossible():
        sent = BEFORE + it.data[: it.fatal + 1]
        whole = frame(TEXT, sent + bytes(100), mask=mask)
        yield [whole[: len(whole) - 100]]


def unfinished_messages(*, mask: bool) -> Iterator[Pieces]:
    """Frames of a message that is not over, the last one with the byte that cannot be."""
    for it in impossible():
        sent = BEFORE + it.data[: it.fatal + 1]
        for cut in range(len(sent)):
            yield [b"".join(in_frames(sent, [cut], mask=mask, fin=False))]


WAYS = {
    "frames": cut_into_frames,
    "segments": cut_into_segments,
    "unfinished frames": unfinished_frames,
    "unfinished messages": unfinished_messages,
}


def test_the_table_is_what_python_calls_invalid() -> None:
    for it in INVALID:
        decoder = codecs.getincrementaldecoder("utf-8")()
        decoder.decode(BEFORE + it.data[: it.fatal])
        with pytest.raises(UnicodeDecodeError):
            # The fatal byte alone would not do: CPython's decoder looks at surrogates late.
            decoder.decode(it.data[it.fatal :], final=True)


@pytest.mark.parametrize("way", WAYS)
def test_a_server_closes_with_1007(serve: Serve, way: str) -> None:
    server = serve(echo={"url": "ws://127.0.0.1:0", "handler": "echo"})
    attacks = list(WAYS[way](mask=True))
    with server.steady("echo", GROWTH_MAX):
        for pieces in attacks:
            with server.connect("echo") as peer:
                peer.upgrade().send_in_pieces(pieces)
                # Whatever came before is not a message: nothing is answered but the close frame.
                opcode, payload = peer.read_frame()
                assert (opcode, payload[:2]) == (CLOSE, b"\x03\xef"), pieces
    told = server.wait_idle("echo")
    assert told["protocol_errors"] == told["connections_broken"] == len(attacks)


@pytest.mark.parametrize("way", WAYS)
def test_a_client_closes_with_1007(driver: str, way: str) -> None:
    def attack(pieces: Pieces) -> Callable[[Peer], None]:
        return lambda peer: peer.send_in_pieces(pieces)

    attacks = [attack(pieces) for pieces in WAYS[way](mask=False)]
    attack_client(driver, attacks, 1007, GROWTH_MAX)


def test_a_text_that_still_can_become_one_is_waited_for(serve: Serve) -> None:
    server = serve(echo={"url": "ws://127.0.0.1:0", "handler": "echo"})
    for it in INVALID:
        if it.fatal:
            with server.connect("echo") as peer:
                well = BEFORE + it.data[: it.fatal]
                peer.upgrade().send(frame(TEXT, well, fin=False) + frame(PING, b"well?"))
                assert peer.read_frame() == (PONG, b"well?"), it
                peer.send(frame(0, it.data[it.fatal :]))
                assert peer.close_code() == 1007


def test_a_valid_text_comes_back_however_it_is_cut(serve: Serve) -> None:
    server = serve(echo={"url": "ws://127.0.0.1:0", "handler": "echo"})
    every = list(range(1, len(VALID)))
    with server.connect("echo") as peer:
        peer.upgrade()
        for cuts in [*([cut] for cut in range(len(VALID) + 1)), every]:
            peer.send(b"".join(in_frames(VALID, cuts, mask=True)))
            assert peer.read_frame() == (TEXT, VALID)
            peer.send_in_pieces(in_frames(VALID, cuts, mask=True))
            assert peer.read_frame() == (TEXT, VALID)
        wire = frame(TEXT, VALID)
        for cut in range(1, len(wire)):
            peer.send_in_pieces([wire[:cut], wire[cut:]])
            assert peer.read_frame() == (TEXT, VALID)
