"""The options of servers and clients, checked as they are given: names, types and values."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import Any

from vespiary._other_names import other_options
from vespiary._suggestions import check_names
from vespiary.backoff import Backoff
from vespiary.errors import ConfigurationError
from vespiary.limits import Deadlines, Limits
from vespiary.websocket import WebSocket

__all__ = ["check_options", "wrong_option"]

_CLASSES: Mapping[str, type] = {
    "limits": Limits,
    "deadlines": Deadlines,
    "websocket": WebSocket,
    "reconnect": Backoff,
    "source": str,
    "host": str,
    "sock": socket.socket,
}
"""Options that are an object of a class, or None."""

_COUNTS = {"redirects_max": 0, "handshakes_per_address_max": 1, "backlog": 1, "fd": 0}
"""Options that are a whole number, and the least that they may be."""

_COUNT_MAX = (1 << 31) - 1
_OPTIONAL_COUNTS = ("handshakes_per_address_max", "fd")
_SWITCHES = ("half_close", "reuse_port")


def check_options(options: Mapping[str, Any], known: Mapping[str, object], owner: str) -> None:
    """Check the names of options, and what can be said of each value by itself.

    Args:
        options: What was given.
        known: The options that there are.
        owner: What takes them, for the error's text.

    Raises:
        ConfigurationError: a name is not known (what to write is suggested), or a value is of the
            wrong type or out of range.
    """
    check_names(options, known, owner, others=other_options(known))
    for name, value in options.items():
        wanted = _wanted(name, value)
        if wanted is not None:
            raise wrong_option(name, value, wanted)


def wrong_option(name: str, value: object, wanted: str) -> ConfigurationError:
    """The error for the value of an option."""
    return ConfigurationError(f"{name}= takes {wanted}; got {value!r}", subject=name, value=value)


def _wanted(name: str, value: object) -> str | None:
    """What an option takes, if the value is not that."""
    cls = _CLASSES.get(name)
    if cls is not None and value is not None and not isinstance(value, cls):
        article = "an" if cls.__name__[0] in "aeiou" else "a"
        return f"{article} {cls.__name__} or None"
    if name == "sock" and isinstance(value, socket.socket) and value.fileno() < 0:
        return "an open socket"
    if name in _SWITCHES and type(value) is not bool:
        return "True or False"
    if name in _COUNTS and not (value is None and name in _OPTIONAL_COUNTS):
        least = _COUNTS[name]
        if type(value) is not int or not least <= value <= _COUNT_MAX:
            return f"a whole number of at least {least}"
    if name == "subprotocols" and isinstance(value, str | bytes):
        return "a list of names, such as a list of one"
    if name == "filters" and not _is_filters(value):
        return "a list of Filter classes or functions that make a Filter"
    return None


def _is_filters(value: object) -> bool:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        return False
    return all(callable(one) for one in value)
