"""Filters: objects that stand between the socket and the framing, and see every byte.

A filter may change, swallow or add bytes in both directions: a cipher, a recorder, a throttle that
counts, a fault for a test. One is made for each connection, so its state is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vespiary._core import Connection, Hooks

__all__ = ["Filter", "FilterFactory", "add_filters"]


class Filter:
    """Passes every byte on; define one of the methods, or both.

    An exception resets the connection, is logged once and counted.
    """

    def received(self, connection: Connection, data: bytes) -> bytes | None:
        """What the next filter, or the framing, shall see of what arrived; None swallows it."""
        return data

    def sending(self, connection: Connection, data: bytes) -> bytes | None:
        """What the next filter, or the peer, shall get; called once for each batch that leaves."""
        return data


FilterFactory = Callable[[], Filter]
"""A function that makes the filter of a connection, such as the class itself."""


def add_filters(hooks: Hooks, factories: Sequence[FilterFactory]) -> bool:
    """Put filters in front of a handler; whether there are any.

    What arrives passes them in their order, what leaves in the reverse.
    """
    if not factories:
        return False

    def make_chain() -> list[Filter]:
        return [make() for make in factories]

    def received(connection: Connection, data: bytes) -> bytes | None:
        passed: bytes | None = data
        for one in connection._filters(make_chain):
            if not passed:
                return None
            passed = one.received(connection, passed)
        return passed

    def sending(connection: Connection, data: bytes) -> bytes | None:
        passed: bytes | None = data
        for one in reversed(connection._filters(make_chain)):
            if not passed:
                return None
            passed = one.sending(connection, passed)
        return passed

    hooks.filter_received = received
    hooks.filter_sent = sending
    return True
