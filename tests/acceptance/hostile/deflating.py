"""Compressed messages as an attacker makes them: with zlib, or bit by bit (RFC 1951)."""

import zlib
from collections.abc import Iterable

from tests.acceptance.hostile.peer import BINARY, frame

OFFER = "permessage-deflate; client_max_window_bits"
TAIL = b"\x00\x00\xff\xff"

EMPTY_LAST_BLOCK = b"\x03\x00"
"""A block that calls itself the last, and has nothing in it."""

EMPTY_STORED_BLOCK = b"\x00\x00\x00\xff\xff"


class Deflater:
    """Compresses messages one after the other, with a window that is carried over."""

    def __init__(self, window_bits: int = 15) -> None:
        self._compressor = zlib.compressobj(9, zlib.DEFLATED, -window_bits)

    def message(self, data: bytes) -> bytes:
        """The payload of a compressed message (RFC 7692 section 7.2.1)."""
        made = self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        assert made.endswith(TAIL)
        return made.removesuffix(TAIL)


def deflated(data: bytes) -> bytes:
    """The payload of a compressed message that refers to no other."""
    return Deflater().message(data)


def in_compressed_frames(
    pieces: Iterable[bytes], opcode: int = BINARY, *, mask: bool = True
) -> bytes:
    """A compressed message in frames: the first has RSV1 (RFC 7692 section 6.1)."""
    parts = list(pieces)
    last = len(parts) - 1
    return b"".join(
        frame(
            opcode if number == 0 else 0,
            part,
            fin=number == last,
            mask=mask,
            compressed=number == 0,
        )
        for number, part in enumerate(parts)
    )


def cut(data: bytes, size: int) -> list[bytes]:
    """The data in pieces of a size."""
    return [data[at : at + size] for at in range(0, len(data), size)]
