"""Alarms: `time_wait > 20000`, `cliff < 60s`, `used > 50%`."""

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Self

from vespiary._suggestions import advice
from vespiary.errors import ConfigurationError
from vespiary.prove.timewait.report import Alarm as Reached
from vespiary.prove.timewait.report import Report
from vespiary.prove.timewait.states import NUMBERS

__all__ = ["Condition", "reached"]

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_SECONDS: Final = ("cliff", "exhaustion", "buckets")
_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
_PATTERN = re.compile(r"([a-z_0-9]+)\s*([<>]=?)\s*([\d_,.]+)\s*(%|ms|s|min|h)?", re.ASCII)


@dataclass(frozen=True)
class Condition:
    """A condition on a report.

    Attributes:
        text: As it was given.
        name: A state; `used`, the share of the fullest budget; `overflow`, connections that
            skipped TIME_WAIT; or `cliff`, `exhaustion`, `buckets`: the seconds until the first one.
        compare: The operator, as it is written.
        value: The number; a share is between 0 and 1.
    """

    text: str
    name: str
    compare: str
    value: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a condition.

        Raises:
            ConfigurationError: It is not of that form, or its name is not known.
        """
        match = _PATTERN.fullmatch(text.strip().lower())
        if match is None:
            raise _mistake(
                text, "write one such as 'time_wait > 20000', 'cliff < 60s', 'used > 50%'"
            )
        name, compare, number, unit = match.groups(default="")
        names = (*NUMBERS, "used", "overflow", *_SECONDS)
        if name not in names:
            raise _mistake(text, advice(name, names))
        try:
            value = float(number.replace(",", "").replace("_", ""))
        except ValueError:
            raise _mistake(text, f"{number!r} is not a number") from None
        if (unit == "%") != (name == "used"):
            raise _mistake(text, "a percentage can be given only for 'used'")
        if unit not in ("", "%") and name not in _SECONDS:
            raise _mistake(text, f"a time can be given only for {', '.join(_SECONDS)}")
        return cls(
            text.strip(), name, compare, value / 100 if unit == "%" else value * _UNITS[unit]
        )

    def reached(self, report: Report) -> Reached | None:
        """The alarm, if the report meets the condition."""
        value = self._value(report)
        if value is None or not _OPERATORS[self.compare](value, self.value):
            return None
        if self.name == "used":
            shown = f"{value:.1%}"
        else:
            shown = f"{value:,.1f} s" if self.name in _SECONDS else f"{value:,.0f}"
        return {"alarm": self.text, "value": value, "text": f"{self.name} is {shown}"}

    def _value(self, report: Report) -> float | None:
        if self.name == "used":
            shares = (it["used"] / it["ports"] for it in report["budgets"] if it["ports"])
            return max(shares, default=0.0)
        if self.name == "overflow":
            return float(report["overflow"])
        if self.name in _SECONDS:
            found = (it["seconds"] for it in report["forecasts"] if it["kind"] == self.name)
            return min(found, default=None)
        return float(report["states"][self.name])


def reached(conditions: Iterable[Condition], report: Report) -> list[Reached]:
    """The alarms of the conditions that a report meets."""
    found = (condition.reached(report) for condition in conditions)
    return [alarm for alarm in found if alarm is not None]


def _mistake(text: str, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"the alarm {text!r} cannot be understood: {what}", subject="--alarm", value=text
    )
