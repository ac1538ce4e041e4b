"""Limits and deadlines that an operator sets while an endpoint serves.

They are checked like those of the configuration, and last until the next reload.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from vespiary._listening_shared import DEADLINES_OF_ADDRESS, LIMITS_OF_ADDRESS
from vespiary._suggestions import advice
from vespiary.errors import LimitsError
from vespiary.limits import Deadlines, Limits
from vespiary.wasp.worker_calls import Refused

if TYPE_CHECKING:
    from vespiary._site import Site

__all__ = ["BOUNDS", "is_of_address", "reset_bounds", "set_bound", "shown_bounds"]

_AT_START = (
    "inbox_messages_max",
    "inbox_bytes_max",
    "datagrams_pending_max",
    "threads_max",
    "thread_idle_seconds",
)
"""What an endpoint uses when it starts, and never again."""
_LIMITS = tuple(item.name for item in dataclasses.fields(Limits))
_DEADLINES = tuple(item.name for item in dataclasses.fields(Deadlines))
BOUNDS = tuple(name for name in _LIMITS + _DEADLINES if name not in _AT_START)
"""The names that can be set."""


def is_of_address(name: str) -> bool:
    """Whether a limit belongs to an address, and so to all endpoints that share it."""
    return name in LIMITS_OF_ADDRESS + DEADLINES_OF_ADDRESS


def set_bound(site: Site, name: str, text: str, *, has_own_framing: bool = False) -> None:
    """Set a limit or a deadline of an endpoint that serves.

    Args:
        site: The endpoint.
        name: A field of `Limits` or `Deadlines`.
        text: Its value, as in the configuration.
        has_own_framing: Whether a plug-in says how long messages are.

    Raises:
        Refused: the name or the value is not valid, or it cannot be set while the endpoint serves.
    """
    if name in _AT_START or (name == "message_bytes_max" and has_own_framing):
        raise Refused(
            f"{name} is used when the endpoint starts: change the configuration, and reload",
            subject=name,
        )
    if name not in BOUNDS:
        text = advice(name, BOUNDS)
        raise Refused(f"there is no limit or deadline {name!r}: {text}", subject=name)
    try:
        if name in _LIMITS:
            value = getattr(Limits.from_texts({name: text}), name)
            changed = dataclasses.replace(site.limits, **{name: value})
            _use(site, changed, site.deadlines)
        else:
            value = getattr(Deadlines.from_texts({name: text}), name)
            later = dataclasses.replace(site.deadlines, **{name: value})
            _use(site, site.limits, later)
    except LimitsError as error:
        raise Refused(str(error), subject=name, value=text) from None


def reset_bounds(site: Site) -> None:
    """Use the limits and the deadlines of the configuration again."""
    _use(site, site.options.get("limits") or Limits(), site.options.get("deadlines") or Deadlines())


def _use(site: Site, limits: Limits, deadlines: Deadlines) -> None:
    values = dataclasses.asdict(limits) | dataclasses.asdict(deadlines)
    options = site.native_options | values
    if site.native is not None:
        site.native.set_bounds(options)
    site.limits, site.deadlines, site.native_options = limits, deadlines, options


def shown_bounds(site: Site) -> dict[str, int | float | None]:
    """The limits and deadlines of an endpoint, as they are now."""
    return dataclasses.asdict(site.limits) | dataclasses.asdict(site.deadlines)
