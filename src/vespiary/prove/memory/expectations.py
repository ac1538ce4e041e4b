"""What is expected of a program's memory, and how a run compares with it.

A file of expectations is TOML with a table for each name::

    ["python server.py"]
    peak = "180 MiB +-10 %"
    slope = "< 1 KiB per 1000 messages"
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vespiary import _toml as toml
from vespiary._suggestions import check_names
from vespiary.errors import ConfigurationError
from vespiary.prove.memory.trend import Trend
from vespiary.prove.quantities import parse_size, size_text

__all__ = ["Comparison", "Expectation", "Peak", "SlopeMax", "compare", "learn", "name_of", "read"]

_TOLERANCE_PERCENT = 10.0
_MARGIN = 1.25
"""A slope that was measured may be exceeded by this factor when it was learned."""

_TIMES = {"s": 1.0, "second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}


@dataclass(frozen=True, slots=True)
class Peak:
    """The most that may be used, and the least: `180 MiB +-10 %`, `< 200 MiB`."""

    low: float
    high: float
    text: str

    @classmethod
    def parse(cls, text: str) -> Peak:
        """Read a text.

        Raises:
            ValueError: it is not a peak.
        """
        if text.strip().startswith("<"):
            return cls(0.0, parse_size(text.strip().lstrip("<=")), text)
        size, _, tolerance = text.replace("\N{PLUS-MINUS SIGN}", "+-").partition("+-")
        match = re.fullmatch(r"\s*(\d+\.?\d*)\s*%\s*|\s*", tolerance)
        try:
            if match is None:
                raise ValueError
            middle = parse_size(size)
        except ValueError:
            raise ValueError(
                f"{text!r} is not a peak such as '180 MiB +-10 %' or '< 200 MiB'"
            ) from None
        share = float(match[1] or _TOLERANCE_PERCENT) / 100
        return cls(middle * (1 - share), middle * (1 + share), text)


@dataclass(frozen=True, slots=True)
class SlopeMax:
    """The most that memory may grow by: `0`, `< 1 KiB per 1000 messages`, `2 KiB per second`.

    Attributes:
        bytes_max: Per second, or per unit of work; 0 means that it must not grow.
        of_work: Whether it is per unit of work.
    """

    bytes_max: float
    of_work: bool
    text: str

    @classmethod
    def parse(cls, text: str) -> SlopeMax:
        """Read a text.

        Raises:
            ValueError: it is not a slope.
        """
        plain = text.strip().lstrip("<= ")
        if plain == "0":
            return cls(0.0, False, text)
        match = re.fullmatch(r"(.+?)\s*(?:/|\bper\b)\s*([\d,_]*)\s*([^\W\d]\w*)?", plain)
        try:
            if match is None or not (match[2] or match[3]):
                raise ValueError
            size = parse_size(match[1])
        except ValueError:
            raise ValueError(
                f"{text!r} is not a slope such as '0', '2 KiB per second' or"
                " '1 KiB per 1000 messages'"
            ) from None
        count = float(match[2].replace(",", "") or 1)
        word = (match[3] or "").removesuffix("s") or (match[3] or "")
        if word in _TIMES:
            return cls(size / count / _TIMES[word], False, text)
        return cls(size / count, True, text)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is expected of one run."""

    peak: Peak | None = None
    slope: SlopeMax | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a run compares with one expectation.

    Attributes:
        what: `peak` or `slope`.
        result: `met`, `above`, `below`, or `not judged`.
        text: What was expected and what was measured.
    """

    what: Literal["peak", "slope"]
    result: Literal["met", "above", "below", "not judged"]
    text: str


def compare(expected: Expectation, peak: int, trend: Trend) -> list[Comparison]:
    """Compare a run with what is expected of it."""
    found = []
    if expected.peak is not None:
        found.append(_compare_peak(expected.peak, peak))
    if expected.slope is not None:
        found.append(_compare_slope(expected.slope, trend))
    return found


def _compare_peak(expected: Peak, peak: int) -> Comparison:
    text = f"expected a peak of {expected.text}, measured {size_text(peak)}"
    if peak > expected.high:
        return Comparison("peak", "above", text)
    return Comparison("peak", "below" if peak < expected.low else "met", text)


def _compare_slope(expected: SlopeMax, trend: Trend) -> Comparison:
    slope = trend.per_unit if expected.of_work else trend.per_second
    per = "unit of work" if expected.of_work else "second"
    text = f"expected a slope of {expected.text}"
    if expected.of_work and slope is None and trend.per_second is not None:
        text += ", and no units of work were reported (VESPIARY_MEMORY_WORK)"
        return Comparison("slope", "not judged", text)
    if slope is not None:
        interval = f"{size_text(slope.low)} to {size_text(slope.high)}"
        text += f", measured {size_text(slope.estimate)} per {per} ({interval})"
    if slope is None or (trend.verdict == "unclear" and not expected.bytes_max):
        return Comparison("slope", "not judged", f"{text}: {trend.reason}")
    if expected.bytes_max == 0:
        return Comparison("slope", "above" if trend.verdict == "grows" else "met", text)
    if slope.low > expected.bytes_max:
        return Comparison("slope", "above", text)
    if slope.high <= expected.bytes_max:
        return Comparison("slope", "met", text)
    return Comparison("slope", "not judged", f"{text}: the interval contains the expected slope")


def name_of(name: str | None, command: Sequence[str]) -> str:
    """What a run is called: its command by default, with escapes for what is not UTF-8."""
    text = name or shlex.join(command)
    return text.encode("utf-8", "backslashreplace").decode()


def read(path: Path) -> dict[str, Expectation]:
    """Read a file of expectations.

    Raises:
        ConfigurationError: it cannot be read, or something in it is wrong.
    """
    try:
        tables = toml.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}; --learn writes it", subject=str(path)
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}", subject=str(path)) from error
    return {name: _expectation(path, name, table) for name, table in tables.items()}


def _expectation(path: Path, name: str, table: Any) -> Expectation:
    place = f"{path}: [{json.dumps(name, ensure_ascii=False)}]"
    if not isinstance(table, dict):
        raise ConfigurationError(
            f"{path}: {name!r} is outside of a table: write [{json.dumps(name)}] and below it"
            ' peak = "180 MiB +-10 %"',
            subject=name,
        )
    check_names(table, ("peak", "slope"), place)
    try:
        peak = Peak.parse(str(table["peak"])) if "peak" in table else None
        slope = SlopeMax.parse(str(table["slope"])) if "slope" in table else None
    except ValueError as error:
        raise ConfigurationError(f"{place}: {error}", subject=name) from error
    return Expectation(peak, slope)


def learn(path: Path, name: str, peak: int, trend: Trend) -> list[str]:
    """Write what a run measured as what is expected of the next ones; the lines of its table.

    Other names keep theirs. An unclear trend gives no expectation of the slope.

    Raises:
        ConfigurationError: the file is there and is wrong, or it cannot be written; then it is as
            it was.
    """
    known = read(path) if path.exists() else {}
    tables = {each: _lines(expected) for each, expected in known.items()}
    lines = [f'peak = "{size_text(peak)} +-{_TOLERANCE_PERCENT:g} %"']
    if trend.verdict == "flat":
        lines.append('slope = "0"')
    elif trend.verdict == "grows":
        lines.append(f'slope = "< {_slope(trend)}"')
    tables[name] = lines
    text = "# What is expected of the memory of programs: `vespiary memory --learn` writes it.\n"
    for each in sorted(tables):
        text += f"\n[{json.dumps(each, ensure_ascii=False)}]\n" + "\n".join(tables[each]) + "\n"
    try:
        _replace(path, text)
    except OSError as error:
        raise ConfigurationError(
            f"{path} could not be written: {error.strerror}", subject=str(path)
        ) from error
    return lines


def _replace(path: Path, text: str) -> None:
    """Write a file at once: on a full disk, what it had remains."""
    target = path.resolve()
    new = target.with_name(f"{target.name}.new")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(target)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def _lines(expected: Expectation) -> list[str]:
    pairs = (("peak", expected.peak), ("slope", expected.slope))
    return [
        f"{key} = {json.dumps(value.text, ensure_ascii=False)}"
        for key, value in pairs
        if value is not None
    ]


def _slope(trend: Trend) -> str:
    if trend.per_unit is not None:
        return f"{size_text(trend.per_unit.high * _MARGIN * 1000)} per 1000 units"
    assert trend.per_second is not None
    return f"{size_text(trend.per_second.high * _MARGIN)} per second"
