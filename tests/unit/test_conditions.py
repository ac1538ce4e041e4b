"""Preconditions and dates of HTTP requests (RFC 9110 sections 5.6.7 and 13)."""

import calendar
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vespiary.http._conditions import (
    Validators,
    http_date,
    may_use_range,
    parse_date,
    precondition,
)

NOW = 1_800_000_000
MODIFIED = 1_700_000_000
FILE = Validators('"abc"', MODIFIED)
SAME, BEFORE, AFTER = (http_date(MODIFIED + seconds) for seconds in (0, -1, 1))

MATCHING = ['"abc"', '"x", "abc"', '"x" ,\t"abc" , ', "*", ', "abc"']
OTHER = ['"x"', '"ab"', "abc", "", '"abc', '"x" "abc"', '"abc";', '"ABC"']


def status(**fields: str) -> int | None:
    """The status for a request with these header fields."""
    lines = {name.replace("_", "-"): value for name, value in fields.items()}
    return precondition(lines.get, FILE, NOW)


@pytest.mark.parametrize("tags", MATCHING)
def test_a_tag_that_matches_is_304_or_no_412(tags: str) -> None:
    assert status(if_none_match=tags) == 304
    assert status(if_match=tags) is None


@pytest.mark.parametrize("tags", OTHER)
def test_a_tag_that_does_not_match_is_412_or_no_304(tags: str) -> None:
    assert status(if_none_match=tags) is None
    assert status(if_match=tags) == 412


def test_a_weak_tag_matches_only_where_weak_comparison_is_asked_for() -> None:
    assert status(if_none_match='W/"abc"') == 304
    assert status(if_match='W/"abc"') == 412
    assert not may_use_range({"if-range": 'W/"abc"'}.get, FILE, NOW)


@pytest.mark.parametrize(
    ("date", "modified_since", "unmodified_since"),
    [(SAME, 304, None), (AFTER, 304, None), (BEFORE, None, 412), ("yesterday", None, None)],
)
def test_dates(date: str, modified_since: int | None, unmodified_since: int | None) -> None:
    assert status(if_modified_since=date) == modified_since
    assert status(if_unmodified_since=date) == unmodified_since


def test_a_list_of_tags_goes_before_a_date() -> None:
    # RFC 9110 section 13.2.2: the date is not looked at.
    assert status(if_match='"abc"', if_unmodified_since=BEFORE) is None
    assert status(if_match='"x"', if_unmodified_since=AFTER) == 412
    assert status(if_none_match='"x"', if_modified_since=AFTER) is None
    assert status(if_none_match='"abc"', if_modified_since=BEFORE) == 304


def test_412_goes_before_304() -> None:
    assert status(if_match='"x"', if_none_match='"abc"') == 412
    assert status(if_unmodified_since=BEFORE, if_none_match='"abc"') == 412
    assert status(if_match='"abc"', if_none_match='"abc"') == 304
    assert status(if_unmodified_since=AFTER, if_modified_since=AFTER) == 304


@pytest.mark.parametrize(
    ("value", "is_used"),
    [('"abc"', True), ('"x"', False), (SAME, True), (BEFORE, False), (AFTER, False), ("x", False)],
)
def test_a_range_is_sent_if_nothing_has_changed(value: str, is_used: bool) -> None:
    assert may_use_range({"if-range": value}.get, FILE, NOW) is is_used


def test_a_date_that_is_weak_does_not_allow_a_range() -> None:
    young = Validators('"abc"', MODIFIED, is_old=False)
    assert not may_use_range({"if-range": SAME}.get, young, NOW)
    assert may_use_range({"if-range": '"abc"'}.get, young, NOW)


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ],
)
def test_the_three_forms_of_a_date(text: str) -> None:
    assert parse_date(text, NOW) == calendar.timegm((1994, 11, 6, 8, 49, 37))


def test_a_year_of_two_digits_is_at_most_50_years_ahead() -> None:
    assert parse_date("Sunday, 06-Nov-76 08:49:37 GMT", NOW) == calendar.timegm(
        (2076, 11, 6, 8, 49, 37)
    )
    assert parse_date("Sunday, 06-Nov-80 08:49:37 GMT", NOW) == calendar.timegm(
        (1980, 11, 6, 8, 49, 37)
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "sun, 06 nov 1994 08:49:37 gmt",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sun, \u06606 Nov 1994 08:49:37 GMT",
    ],
)
def test_what_is_not_a_date_is_none(text: str) -> None:
    assert parse_date(text, NOW) is None


@given(st.integers(0, 4_000_000_000))
def test_every_date_that_is_written_is_read(seconds: int) -> None:
    assert http_date(seconds) == formatdate(seconds, usegmt=True)
    assert parse_date(http_date(seconds), NOW) == seconds


@given(st.dictionaries(st.sampled_from(["if-match", "if-none-match", "if-range"]), st.text()))
def test_any_text_has_an_answer(fields: dict[str, str]) -> None:
    assert precondition(fields.get, FILE, NOW) in (None, 304, 412)
    may_use_range(fields.get, FILE, NOW)


@given(st.lists(st.text(st.characters(min_codepoint=0x23, max_codepoint=0x7E)), max_size=5))
def test_a_list_of_tags_matches_if_one_of_them_does(tags: list[str]) -> None:
    value = ", ".join(f'"{tag}"' for tag in tags)
    assert (status(if_none_match=value) == 304) is ("abc" in tags)
