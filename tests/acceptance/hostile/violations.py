"""Frames that break a rule of RFC 6455, by the rule, and the code for it: for either side.

Each is complete: what is wrong is in the bytes, not in what is missing. `mask` is what the sender's
side demands: of a client True.
"""

import struct
from collections.abc import Iterator

from tests.acceptance.hostile.peer import BINARY, CLOSE, PING, PONG, TEXT, frame

PROTOCOL, NOT_TEXT = 1002, 1007

CODES_NEVER_SENT = (
    *(0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 32767, 65535),
)
"""Close codes that RFC 6455 section 7.4 keeps from the wire, or that nobody has defined."""


def violations(*, mask: bool) -> Iterator[tuple[str, bytes, int]]:
    """What is wrong, the bytes, and the code."""
    yield "wrong masking", frame(BINARY, b"hello", mask=not mask), PROTOCOL
    yield "wrong masking of a control frame", frame(PING, b"", mask=not mask), PROTOCOL
    yield from _reserved(mask)
    yield from _control_frames(mask)
    yield from _fragments(mask)
    yield from _lengths(mask)
    yield from _closes(mask)


def _reserved(mask: bool) -> Iterator[tuple[str, bytes, int]]:
    """Section 5.2: bits and opcodes that no extension has given a meaning."""
    for bits in range(1, 8):
        for opcode in (TEXT, BINARY, PING, PONG, CLOSE):
            wire = bytearray(frame(opcode, b"", mask=mask))
            wire[0] |= bits << 4
            yield f"reserved bits {bits:03b} on opcode {opcode}", bytes(wire), PROTOCOL
    begun = frame(TEXT, b"begun", fin=False, mask=mask)
    for bits in range(1, 8):
        wire = bytearray(frame(0, b"", mask=mask))
        wire[0] |= bits << 4
        yield f"reserved bits {bits:03b} on a continuation", begun + bytes(wire), PROTOCOL
    for opcode in (*range(3, 8), *range(11, 16)):
        for fin in (True, False):
            unknown = frame(opcode, b"x", fin=fin, mask=mask)
            yield f"reserved opcode {opcode}, fin {fin}", unknown, PROTOCOL


def _control_frames(mask: bool) -> Iterator[tuple[str, bytes, int]]:
    """Section 5.5: at most 125 bytes, and never in fragments."""
    for opcode in (CLOSE, PING, PONG):
        for size in (126, 127, 1000, 70_000):
            wire = frame(opcode, b"\x03\xe8" + b"x" * (size - 2), mask=mask)
            yield f"control frame {opcode} of {size} bytes", wire, PROTOCOL
        yield f"control frame {opcode} in fragments", frame(opcode, fin=False, mask=mask), PROTOCOL


def _fragments(mask: bool) -> Iterator[tuple[str, bytes, int]]:
    """Section 5.4: a message begins, goes on and ends, before the next one does."""
    for fin in (True, False):
        first = frame(0, b"x", fin=fin, mask=mask)
        yield f"a continuation of nothing, fin {fin}", first, PROTOCOL
        for opcode in (TEXT, BINARY):
            begun = frame(opcode, b"begun", fin=False, mask=mask)
            for other in (TEXT, BINARY):
                inner = frame(other, b"x", fin=fin, mask=mask)
                yield f"{other} within {opcode}, fin {fin}", begun + inner, PROTOCOL
    over = frame(TEXT, b"a", fin=False, mask=mask) + frame(0, b"b", fin=False, mask=mask)
    over += frame(PING, b"", mask=mask) + frame(BINARY, b"c", mask=mask)
    yield "a message within fragments, a ping between", over, PROTOCOL


def _lengths(mask: bool) -> Iterator[tuple[str, bytes, int]]:
    """Section 5.2: the shortest form, and no number above 2^63 - 1."""
    bit, key = (0x80, bytes(4)) if mask else (0, b"")
    for size in (0, 1, 125):
        wire = struct.pack("!BBH", 0x82, bit | 126, size) + key + bytes(size)
        yield f"{size} bytes told in 16 bits", wire, PROTOCOL
    for size in (0, 125, 126, 65_535):
        wire = struct.pack("!BBQ", 0x82, bit | 127, size) + key + bytes(size)
        yield f"{size} bytes told in 64 bits", wire, PROTOCOL
    for size in (1 << 63, (1 << 64) - 1):
        yield f"{size:#x} bytes", struct.pack("!BBQ", 0x82, bit | 127, size) + key, PROTOCOL


def _closes(mask: bool) -> Iterator[tuple[str, bytes, int]]:
    """Sections 5.5.1 and 7.4: no payload, or a code that may be sent and words in UTF-8."""
    yield "a close with half a code", frame(CLOSE, b"\x03", mask=mask), PROTOCOL
    for code in CODES_NEVER_SENT:
        wire = frame(CLOSE, struct.pack("!H", code) + b"why", mask=mask)
        yield f"close code {code}", wire, PROTOCOL
    for words in (b"\xff", b"ok\xed\xa0\x80", b"\xc3", "ü".encode() * 61 + b"\xc3"):
        wire = frame(CLOSE, b"\x03\xe8" + words, mask=mask)
        yield f"a close with the words {words[-3:]!r}", wire, NOT_TEXT
