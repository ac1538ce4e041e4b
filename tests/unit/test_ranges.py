"""Ranges of bytes (RFC 9110 section 14)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vespiary.http._ranges import RANGES_MAX, Part, chosen, multipart

SIZE = 1000


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-499", [(0, 500)]),
        ("bytes=500-999", [(500, 500)]),
        ("bytes=500-", [(500, 500)]),
        ("bytes=-1", [(999, 1)]),
        ("bytes=-2000", [(0, 1000)]),
        ("bytes=900-2000", [(900, 100)]),
        ("bytes=0-0,-1", [(0, 1), (999, 1)]),
        ("bytes=600-699, 0-99", [(600, 100), (0, 100)]),
        ("Bytes = ,, 0-0 ,\t,", [(0, 1)]),
        ("bytes=0-0,5000-", [(0, 1)]),
        (f"bytes=0-{'9' * 4000}", None),
        (f"bytes=0-{'9' * 900}", [(0, 1000)]),
        (f"bytes=-{'9' * 900}", [(0, 1000)]),
    ],
)
def test_ranges(value: str, expected: list[tuple[int, int]] | None) -> None:
    wanted = None if expected is None else [Part(*one) for one in expected]
    assert chosen(value, SIZE) == wanted


@pytest.mark.parametrize("value", ["bytes=1000-", "bytes=5000-6000", "bytes=-0", "bytes=-0,1000-"])
def test_a_range_that_the_file_does_not_have_is_empty(value: str) -> None:
    assert chosen(value, SIZE) == []


@pytest.mark.parametrize(
    "value",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-2",
        "bytes=0-0,5-2",
        "bytes=0 - 1",
        "bytes=+1-2",
        "bytes=1-2-3",
        "bytes=\u0660-\u0661",
        "lines=0-1",
        "bytes:0-1",
    ],
)
def test_what_is_malformed_or_of_another_unit_is_ignored(value: str) -> None:
    assert chosen(value, SIZE) is None


def test_more_than_the_file_has_is_ignored() -> None:
    assert chosen("bytes=0-999,0-0", SIZE) is None
    assert chosen(f"bytes={','.join(['0-0'] * RANGES_MAX)}", SIZE) is not None
    assert chosen(f"bytes={','.join(['0-0'] * (RANGES_MAX + 1))}", SIZE) is None


def test_an_empty_file_has_no_range_but_its_end_can_be_asked_for() -> None:
    assert chosen("bytes=0-", 0) == []
    assert chosen("bytes=-0", 0) == []
    assert chosen("bytes=-5", 0) is None


@given(st.text(), st.integers(0, 100))
def test_any_text_has_an_answer(value: str, size: int) -> None:
    check(chosen(f"bytes={value}", size), size)
    check(chosen(value, size), size)


@given(st.text("0123456789-, ", max_size=40), st.integers(0, 100))
def test_every_part_is_within_the_file(value: str, size: int) -> None:
    check(chosen(f"bytes={value}", size), size)


def check(parts: list[Part] | None, size: int) -> None:
    """See that parts are within a file, and together no more than it."""
    for part in parts or []:
        assert 0 <= part.offset < size
        assert part.length > 0
        assert part.offset + part.length <= size
    assert sum(part.length for part in parts or []) <= size


@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(1, 2000))
def test_a_range_is_the_slice_that_python_has(first: int, last: int, size: int) -> None:
    data = range(size)
    found = chosen(f"bytes={first}-{last}", size)
    if last < first:
        assert found is None
    else:
        wanted = data[first : last + 1]
        assert [data[one.offset : one.offset + one.length] for one in found or []] == (
            [wanted] if wanted else []
        )


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(1, 99)), min_size=2, max_size=6))
def test_a_body_of_several_parts_can_be_taken_apart(given_parts: list[tuple[int, int]]) -> None:
    parts = [Part(*one) for one in given_parts]
    heads = multipart(parts, 1000, "text/plain", "limit")
    body = (
        b"".join(head + b"x" * part.length for head, part in zip(heads, parts, strict=False))
        + heads[-1]
    )
    assert body.startswith(b"--limit\r\n")
    assert body.endswith(b"\r\n--limit--\r\n")
    pattern = rb"Content-Type: text/plain\r\nContent-Range: bytes (\d+)-(\d+)/1000\r\n\r\n(x+)\r\n"
    found = [
        (int(one[1]), int(one[2]) - int(one[1]) + 1, len(one[3]))
        for one in re.finditer(pattern, body)
    ]
    assert found == [(part.offset, part.length, part.length) for part in parts]
