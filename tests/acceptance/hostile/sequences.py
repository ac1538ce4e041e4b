"""Byte sequences that are not UTF-8 (RFC 3629), with the byte at which each becomes impossible.

The table follows the rows of RFC 3629 section 4: for each of its ranges what lies just outside of
it. It is written down by hand, so that no decoder is asked that might be wrong in the same way.
"""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Sequence:
    """A sequence; the byte at index `fatal` can follow those before it in no text.

    Where `fatal` is the sequence's length, it is a text that ends too early.
    """

    data: bytes
    fatal: int

    @property
    def is_cut_short(self) -> bool:
        """Whether only the message's end makes it wrong."""
        return self.fatal == len(self.data)


def _sequences() -> Iterator[Sequence]:
    # A continuation, or a byte that is in no text at all, where a letter begins.
    for byte in (0x80, 0xBF, 0xC0, 0xC1, 0xF5, 0xF8, 0xFC, 0xFE, 0xFF):
        yield Sequence(bytes([byte, 0x80, 0x80, 0x80]), 0)
    # A second byte that cannot be: no continuation, or one that the first byte forbids.
    pairs = bytes.fromhex(
        "c27f c2c0 df00 e09f e0c0 e080 e17f ecc0 eda0 edbf edc0 ee7f efc0"
        " f08f f080 f0c0 f17f f3c0 f490 f4bf f4c0"
    )
    for at in range(0, len(pairs), 2):
        yield Sequence(pairs[at : at + 2] + b"\x80\x80", 1)
    # A third or a fourth byte that is not a continuation.
    for data, fatal in (
        ("e0a07f", 2),
        ("e180c0", 2),
        ("ed9fff", 2),
        ("f09041", 2),
        ("f48fc0", 2),
        ("f0908020", 3),
        ("f18080c2", 3),
        ("f48fbfff", 3),
    ):
        yield Sequence(bytes.fromhex(data), fatal)
    # Letters that are not finished when the message is.
    for data_cut in ("c2", "df", "e0", "e0a0", "ed9f", "efbf", "f0", "f090", "f09080", "f48fbf"):
        cut = bytes.fromhex(data_cut)
        yield Sequence(cut, len(cut))


INVALID = tuple(_sequences())

VALID = "\0\x7f\x80\u07ff\u0800\ud7ff\ue000\ufffd\ufffe\uffff\U00010000\U0010ffff".encode()
"""The first and the last letter of each range."""

BEFORE = "ü".encode()
"""What stands before a sequence: it is well, and so must not be what is complained of."""
