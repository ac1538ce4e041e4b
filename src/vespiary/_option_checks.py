"""The options of servers and clients, checked as they are given: names, types and values."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vespiary._callbacks import is_async
from vespiary._other_names import other_options
from vespiary._suggestions import check_names
from vespiary.backoff import Backoff
from vespiary.errors import ConfigurationError
from vespiary.limits import Deadlines, Limits
from vespiary.websocket import WebSocket, subprotocols_fault

__all__ = ["check_options", "check_values", "checked_subprotocols", "wrong_option"]

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

_COUNTS = {
    "redirects_max": 0,
    "handshakes_per_address_max": 1,
    "backlog": 1,
    "fd": 0,
    "receive_buffer_bytes": 1,
    "spin_microseconds": 0,
    "retained_messages_max": 1,
    "retained_bytes_max": 1,
    "members_max": 1,
}
"""Options that are a whole number, and the least that they may be."""

_COUNT_MAX = (1 << 31) - 1
_OPTIONAL_COUNTS = (
    "handshakes_per_address_max",
    "fd",
    "receive_buffer_bytes",
    "retained_messages_max",
    "retained_bytes_max",
    "members_max",
)
_NAMES = "a list of names, such as a list of one"
_SWITCHES = (
    "half_close",
    "reuse_port",
    "signals",
    "parts",
    "broadcast",
    "connections",
    "packet_info",
)
_DRIVERS = ("uring", "epoll", "sim")


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
    check_values(**options)


def check_values(**values: object) -> None:
    """Check what can be said of the value of each option by itself.

    Raises:
        ConfigurationError: a value is of the wrong type or out of range.
    """
    for name, value in values.items():
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
    if name == "subprotocols" and (
        isinstance(value, str | bytes) or not isinstance(value, Iterable)
    ):
        return _NAMES
    if name == "source" and isinstance(value, str) and not _is_address(value):
        return "an IP address of this machine, such as '192.0.2.1', or None"
    if name == "driver" and value is not None and not _is_driver(value):
        return "'uring', 'epoll', None, or in tests 'sim'"
    if name == "on_serving" and value is not None and (not callable(value) or is_async(value)):
        return "a plain function that takes the URLs, or None"
    if name == "filters" and not _is_filters(value):
        return "a list of Filter classes or plain functions that make a Filter"
    return None


def checked_subprotocols(given: Iterable[str]) -> tuple[str, ...]:
    """Return the subprotocols that a client offers.

    Raises:
        ConfigurationError: they are not texts, not tokens, or not each named once.
    """
    names = tuple(given)
    if not all(isinstance(name, str) for name in names):
        raise wrong_option("subprotocols", names, _NAMES)
    fault = subprotocols_fault(names)
    if fault is not None:
        raise ConfigurationError(
            f"subprotocols= cannot be {names!r}: {fault}", subject="subprotocols", value=names
        )
    return names


def _is_address(text: str) -> bool:
    """Whether it is an IP address, with the number of a scope at most (RFC 4007 section 11)."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    scope = getattr(found, "scope_id", None)
    return scope is None or (scope.isascii() and scope.isdigit())


def _is_driver(value: object) -> bool:
    return isinstance(value, str) and value in _DRIVERS


def _is_filters(value: object) -> bool:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        return False
    return all(callable(one) and not is_async(one) for one in value)
