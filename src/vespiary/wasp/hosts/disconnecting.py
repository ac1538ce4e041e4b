"""Close connections as an operator asks for it."""

from __future__ import annotations

from collections.abc import Iterable

from vespiary._site import Site
from vespiary.close_code import CloseCode
from vespiary.wasp.connections import peer_filter

__all__ = ["TEXT", "disconnect"]

TEXT = "closed by the operator"


def disconnect(sites: Iterable[Site], peer: str | None) -> int:
    """Close connections of this process, on WebSocket with 1001.

    Args:
        sites: The endpoints.
        peer: The address of the peer, with or without its port, or a network; None: all
            connections.

    Returns:
        How many are being closed.

    Raises:
        Refused: the network is not valid.
    """
    is_meant, count = peer_filter(peer), 0
    for site in sites:
        for connection in site.native.connections_of_handler() if site.native else ():
            if is_meant(connection):
                connection.close(CloseCode.GOING_AWAY, TEXT)
                count += 1
    return count
