"""The kernel's dump as bytes: whole, cut off, and of nonsense."""

import contextlib
import errno
import socket
import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vespiary.prove.timewait.diag import DumpError, Row, parse

ROWS = st.tuples(
    st.sampled_from([socket.AF_INET, socket.AF_INET6]),
    st.integers(1, 12),
    st.integers(0, 4),
    st.integers(0, 0xFFFF),
    st.binary(min_size=34, max_size=34),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 0xFFFFFFFF),
)


def record(row: Row, attributes: bytes = b"", kind: int = 18) -> bytes:
    """A record as `include/uapi/linux/inet_diag.h` has it."""
    family, state, timer, port, remote, milliseconds, inode = row
    body = struct.pack("=BBBB", family, state, timer, 0) + struct.pack("=H", port) + remote
    body += struct.pack("=I8xIIIII", 0, milliseconds, 0, 0, 0, inode) + attributes
    return struct.pack("=IHHII", 16 + len(body), kind, 2, 1, 7) + body


def done() -> bytes:
    return struct.pack("=IHHIIi", 20, 3, 2, 1, 7, 0)


def failed(number: int) -> bytes:
    return struct.pack("=IHHIIi", 20, 2, 0, 1, 7, -number)


@given(st.lists(st.lists(st.tuples(ROWS, st.sampled_from([0, 4, 8, 24])), max_size=6), max_size=4))
def test_every_record_of_every_message_is_read(
    messages: list[list[tuple[Row, int]]],
) -> None:
    packed = [b"".join(record(row, bytes(size)) for row, size in message) for message in messages]
    expected = [row for message in messages for row, _ in message]
    assert parse([*packed, done()]) == expected


@given(st.lists(ROWS, min_size=1, max_size=5), st.data())
def test_a_dump_that_is_cut_off_is_an_error_and_never_a_short_answer(
    rows: list[Row], data: st.DataObject
) -> None:
    whole = b"".join(record(row, bytes(8)) for row in rows) + done()
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(DumpError):
        parse([whole[:cut]])


@given(st.lists(st.binary(max_size=400), max_size=4))
def test_nonsense_is_an_error_of_its_own_kind(messages: Sequence[bytes]) -> None:
    with contextlib.suppress(DumpError, OSError):
        parse(messages)


@given(st.lists(ROWS, min_size=1, max_size=4), st.data())
def test_a_changed_byte_breaks_nothing_else(rows: list[Row], data: st.DataObject) -> None:
    whole = bytearray(b"".join(record(row) for row in rows) + done())
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(DumpError, OSError):
        parse([bytes(whole)])


def test_an_error_of_the_kernel_is_raised_as_it_is() -> None:
    with pytest.raises(PermissionError) as raised:
        parse([failed(errno.EPERM)])
    assert raised.value.errno == errno.EPERM


def test_an_unknown_record_is_an_error() -> None:
    row = (2, 6, 3, 1, bytes(34), 5, 0)
    with pytest.raises(DumpError, match="unknown type 99"):
        parse([record(row, kind=99)])


def test_a_record_of_one_length_among_others_does_not_shift_what_follows() -> None:
    short, long = (2, 6, 3, 1, b"a" * 34, 5, 0), (10, 1, 0, 2, b"b" * 34, 6, 7)
    message = record(short) + record(long, bytes(len(record(short)))) + record(short)
    assert parse([message, done()]) == [short, long, short]
