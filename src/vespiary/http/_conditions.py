"""Conditional requests: validators, and preconditions in their order (RFC 9110 section 13).

Pure functions over the values of header fields. What is malformed is as if it were not there; a
list of entity tags that is malformed matches nothing.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache

__all__ = ["Validators", "http_date", "may_use_range", "parse_date", "precondition"]

Get = Callable[[str], str | None]
"""Returns the value of a header field, by its name in lower case; None if it is not there."""

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS = re.compile(rf"[ \t,]*{_TAG}(?:[ \t]*,[ \t]*(?:{_TAG})?)*[ \t]*")
_ONE_TAG = re.compile(_TAG)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NAMES = "|".join(_MONTHS)
_TIME = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG_DAY = "(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)"
_DATES = (
    re.compile(rf"{_DAY}, (?P<day>\d\d) (?P<month>{_NAMES}) (?P<year>\d{{4}}) {_TIME} GMT", re.A),
    re.compile(rf"{_LONG_DAY}, (?P<day>\d\d)-(?P<month>{_NAMES})-(?P<year>\d\d) {_TIME} GMT", re.A),
    re.compile(rf"{_DAY} (?P<month>{_NAMES}) (?P<day>[ \d]\d) {_TIME} (?P<year>\d{{4}})", re.A),
)
"""The three forms of a date (RFC 9110 section 5.6.7)."""


@dataclass(frozen=True, slots=True)
class Validators:
    """What says whether a representation has changed (RFC 9110 section 8.8).

    Attributes:
        etag: The entity tag, which is a strong one.
        modified: Whole seconds since 1970.
        is_old: Whether `modified` is a strong validator: the file was not changed in the last
            second, so it cannot have changed twice in that second (section 8.8.2.2).
    """

    etag: str
    modified: int
    is_old: bool = True


@lru_cache(maxsize=256)
def http_date(seconds: int) -> str:
    """Return a time as a header field has it."""
    return formatdate(seconds, usegmt=True)


def parse_date(text: str, now: float) -> int | None:
    """Return the seconds since 1970 of a date; None if it is not one.

    Args:
        text: The value of a header field.
        now: The current time: a year of two digits is at most 50 years ahead of it.
    """
    for form in _DATES:
        found = form.fullmatch(text)
        if found is None:
            continue
        year = int(found["year"])
        if len(found["year"]) == 2:
            this_year = 1970 + int(now // 31556952)
            year += this_year // 100 * 100
            year -= 100 if year > this_year + 50 else 0
        day, month = int(found["day"]), _MONTHS.index(found["month"]) + 1
        hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"])
        is_time = hour < 24 and minute < 60 and second <= 60
        if year == 0 or not 1 <= day <= calendar.monthrange(year, month)[1] or not is_time:
            return None
        return calendar.timegm((year, month, day, hour, minute, second))
    return None


def _tags(value: str) -> list[str]:
    return _ONE_TAG.findall(value) if _TAGS.fullmatch(value) else []


def _is_strong_match(tag: str, etag: str) -> bool:
    return tag == etag and not tag.startswith("W/")


def _is_weak_match(tag: str, etag: str) -> bool:
    return tag.removeprefix("W/") == etag.removeprefix("W/")


def precondition(get: Get, validators: Validators, now: float) -> int | None:
    """Return the status of a response to GET or HEAD whose precondition is false: 304 or 412.

    None if the request is to be answered. The order is that of RFC 9110 section 13.2.2.

    Args:
        get: The header fields of the request.
        validators: Those of what would be sent.
        now: The current time.
    """
    match = get("if-match")
    if match is not None:
        is_right = match.strip() == "*" or any(
            _is_strong_match(tag, validators.etag) for tag in _tags(match)
        )
        if not is_right:
            return 412
    elif _is_later(validators, _date(get, "if-unmodified-since", now)):
        return 412
    none_match = get("if-none-match")
    if none_match is not None:
        is_same = none_match.strip() == "*" or any(
            _is_weak_match(tag, validators.etag) for tag in _tags(none_match)
        )
        return 304 if is_same else None
    since = _date(get, "if-modified-since", now)
    return 304 if since is not None and validators.modified <= since else None


def _is_later(validators: Validators, date: int | None) -> bool:
    return date is not None and validators.modified > date


def _date(get: Get, name: str, now: float) -> int | None:
    value = get(name)
    return None if value is None else parse_date(value, now)


def may_use_range(get: Get, validators: Validators, now: float) -> bool:
    """Whether the condition of a range request is true (`If-Range`, RFC 9110 section 13.1.5)."""
    value = get("if-range")
    if value is None:
        return True
    if _ONE_TAG.fullmatch(value):
        return _is_strong_match(value, validators.etag)
    return validators.is_old and parse_date(value, now) == validators.modified
