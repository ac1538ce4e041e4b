"""What a load run is expected to show: `p99 < 5ms`, `rate > 10000`, `errors == 0`."""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vespiary.errors import ConfigurationError
from vespiary.prove.load.report import FAULT_COUNTS, Latency, Report

__all__ = ["Expectation", "has_fault", "parse_expectation"]

_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_TIMES: Final = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}
_COUNTS: Final = (*FAULT_COUNTS, "connected", "sent", "received")
_SHARES: Final = ("altered", "lost", "reordered", "duplicated", "received")
"""Counts of messages that were sent, which may be compared as a percentage of these."""
_LATENCIES: Final = ("minimum", "mean", "maximum")
_CONNECTS: Final = tuple(f"connect.{name}" for name in (*_LATENCIES, "p50", "p90", "p99", "p99.9"))
_NAMES: Final = ("p50", "p99", *_LATENCIES, *_CONNECTS, "rate", "errors", *_COUNTS)
_PERCENTILE: Final = re.compile(r"p(\d{1,2}(?:\.\d+)?|100)")
_TEXT: Final = re.compile(
    r"\s*(?P<name>[\w.]+)\s*(?P<sign>[<>=!]+)\s*(?P<value>[^\s]+?)\s*(?P<unit>[a-z/%]*)\s*"
)


@dataclass(frozen=True, slots=True)
class Expectation:
    """A comparison with something that was measured.

    Attributes:
        text: As it was written.
        name: What is compared: a percentile of the latency, a rate, a count.
        sign: How.
        value: With what, in seconds, messages per second, as a count, or in percent.
        is_share: Whether it is a percentage of the messages that were sent.
    """

    text: str
    name: str
    sign: str
    value: float
    is_share: bool = False

    def measured(self, report: Report) -> float:
        """What the run has shown."""
        if match := _PERCENTILE.fullmatch(self.name):
            return report.percentile(float(match[1]))
        if self.name in _LATENCIES:
            return float(getattr(report.latency, self.name))
        if self.name in _CONNECTS:
            return _of(report.connect_latency_seconds, self.name.removeprefix("connect."))
        if self.name == "rate":
            return report.messages_per_second
        if self.name == "errors":
            return report.errors
        count = float(getattr(report, self.name))
        return 100 * count / max(report.sent, 1) if self.is_share else count

    def is_met(self, report: Report) -> bool:
        """Whether the run has shown that. A latency that was never measured meets nothing."""
        if self.is_time and not self._cases(report):
            return False
        return _COMPARISONS[self.sign](self.measured(report), self.value)

    @property
    def is_time(self) -> bool:
        """Whether a time is compared."""
        return _is_time(self.name)

    def _cases(self, report: Report) -> int:
        is_connect = self.name in _CONNECTS
        return (report.connect_latency_seconds if is_connect else report.latency).count


def has_fault(report: Report, expectations: Sequence[Expectation]) -> bool:
    """Whether something was wrong that no expectation allows.

    A count of faults that an expectation names, and that meets it, is not a fault: loss on a lossy
    network, for example.
    """
    if report.clean:
        return False
    is_paced = report.paced is None or report.paced.reached or not report.complete
    if report.hosts_failed or not is_paced:
        return True
    allowed = {each.name for each in expectations if each.is_met(report)}
    counted = {name for name in FAULT_COUNTS if getattr(report, name)}
    return not counted or not counted <= allowed


def _of(latency: Latency, name: str) -> float:
    return float(getattr(latency, name.replace(".", "_")))


def _is_time(name: str) -> bool:
    return name in _LATENCIES or name in _CONNECTS or bool(_PERCENTILE.fullmatch(name))


def parse_expectation(text: str) -> Expectation:
    """An expectation from a text such as `p99 < 5ms`.

    Raises:
        ConfigurationError: It is not one; the text says what is wrong and what would be right.
    """
    match = _TEXT.fullmatch(text)
    if match is None:
        raise _wrong(text, "is not NAME SIGN VALUE, such as 'p99 < 5ms' or 'errors == 0'")
    name, sign = match["name"], match["sign"]
    if not (name in _NAMES or _PERCENTILE.fullmatch(name)):
        raise _wrong(text, f"{name!r} is not measured; {_near(name)}")
    if sign not in _COMPARISONS:
        near = "==" if sign == "=" else difflib.get_close_matches(sign, _COMPARISONS, 1, 0)[0]
        raise _wrong(text, f"{sign!r} is not a comparison; did you mean {near!r}?")
    unit = match["unit"]
    value = _value(text, name, match["value"], unit)
    return Expectation(text.strip(), name, sign, value, is_share=unit == "%")


def _value(text: str, name: str, value: str, unit: str) -> float:
    try:
        number = float(value.replace("_", ""))
    except ValueError:
        raise _wrong(text, f"{value + unit!r} is not a number") from None
    if _is_time(name):
        if unit not in _TIMES:
            units = "ms, s, us, ns or min"
            what = f"{unit!r} is not a unit of time" if unit else "a time needs its unit"
            raise _wrong(text, f"{what}, one of {units}: did you mean {value}ms?")
        return number * _TIMES[unit]
    is_known = not unit or (unit == "/s" and name == "rate") or (unit == "%" and name in _SHARES)
    if not is_known:
        raise _wrong(text, f"{name} takes a number such as 10000, and not the unit {unit!r}")
    return number


def _near(name: str) -> str:
    near = difflib.get_close_matches(name, _NAMES, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    some = "p50, p99.9 and other percentiles, mean, maximum, rate, errors, or a count such as lost"
    return f"use {some}"


def _wrong(text: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"--expect {text!r}: {why}", subject="--expect", value=text)
