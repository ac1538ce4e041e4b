"""Who accepts the connections of an address: its listeners, or another process in their place.

A handler that is a `Delegate` serves in another process. The sockets of its addresses are bound
here, so that they outlive the other process, but connections are accepted there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from vespiary._listening import ListeningAddress

__all__ = ["Acceptor", "Delegate", "delegate_of"]


class Acceptor(Protocol):
    """Accepts connections; at first it does not."""

    def resume(self) -> None:
        """Accept from now on."""

    def suspend(self) -> None:
        """Accept nothing until `resume`."""

    def close(self) -> None:
        """Accept nothing more at all; may be called again."""


class Delegate:
    """What a handler is that serves in another process."""

    def acceptor(self, address: ListeningAddress) -> Acceptor:
        """Make the acceptor of an address whose sockets are bound."""
        raise NotImplementedError


def delegate_of(handler: object) -> Delegate | None:
    """The same handler if it serves in another process, else None."""
    return handler if isinstance(handler, Delegate) else None
