"""The driver that the environment asks for."""

import os

from vespiary.errors import ConfigurationError

__all__ = ["driver_of_environment"]

_VARIABLE = "VESPIARY_DRIVER"
_OLD_VARIABLE = "VESPIARY_PORT"
_DRIVERS = ("uring", "epoll")


def driver_of_environment() -> str | None:
    """Return the driver that `VESPIARY_DRIVER` names; None where it is not set or empty.

    Raises:
        ConfigurationError: the variable has another value, or is set by its former name.
    """
    old = os.environ.get(_OLD_VARIABLE)
    if old:
        raise ConfigurationError(
            f"{_OLD_VARIABLE} is now called {_VARIABLE}, as it chooses the driver: rename the"
            f" variable, which is {old!r}, or unset it",
            subject=_OLD_VARIABLE,
            value=old,
        )
    driver = os.environ.get(_VARIABLE) or None
    if driver is None or driver in _DRIVERS:
        return driver
    why = ": the simulation serves no real clients" if driver == "sim" else ""
    raise ConfigurationError(
        f"{_VARIABLE} must be uring or epoll, or not set (then the best one that works is "
        "used); got"
        f" {driver!r}{why}",
        subject=_VARIABLE,
        value=driver,
    )
