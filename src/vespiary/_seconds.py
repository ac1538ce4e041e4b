"""The check of every number of seconds that a caller gives: a timeout, a deadline, a drain."""

from typing import overload

from vespiary.errors import ConfigurationError

__all__ = ["SECONDS_MAX", "check_seconds", "is_seconds", "wanted_seconds"]

SECONDS_MAX = 10 * 366 * 86_400.0


@overload
def check_seconds(name: str, value: None) -> None: ...
@overload
def check_seconds(name: str, value: float) -> float: ...
def check_seconds(name: str, value: float | None) -> float | None:
    """Return the seconds of an argument that may be None, as a float.

    Raises:
        ConfigurationError: it is not a number of seconds that a clock can count.
    """
    if value is None:
        return None
    if not is_seconds(value):
        raise ConfigurationError(
            f"{name} must be {wanted_seconds('None')}; got {value!r}",
            subject=name,
            value=value,
        )
    return float(value)


def is_seconds(value: object, *, zero: bool = True) -> bool:
    """Whether a value is a number of seconds; neither infinity nor NaN is one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return (value >= 0 if zero else value > 0) and value <= SECONDS_MAX


def wanted_seconds(otherwise: str = "", *, zero: bool = True) -> str:
    """What is asked for, as an error says it; `otherwise` says what None means, if it may be."""
    least = "0 or more" if zero else "above 0"
    text = f"a number of seconds, {least} and at most ten years"
    return f"{text}, or {otherwise}" if otherwise else text
