"""The options of an endpoint that a server serves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from vespiary.filters import FilterFactory
    from vespiary.framing import Framing
    from vespiary.limits import Deadlines, Limits, SlowConsumer
    from vespiary.websocket import WebSocket

__all__ = ["ServerOptions"]


class ServerOptions(TypedDict, total=False):
    """The options of an endpoint, for `Server.add` and `vespiary.serve`.

    Attributes:
        framing: How a stream becomes messages; default: `raw`. WebSocket has its own.
        limits: Bounds of the endpoint.
        deadlines: Absolute deadlines of its connections.
        slow_consumer: What happens to messages for a peer that does not read; default: `wait`.
        websocket: The options of WebSocket: versions, origins, subprotocols, compression.
        filters: Filters between the socket and the framing: see `vespiary.Filter`.
        executor: `threads` runs the handler's plain methods on a pool of threads, in order per
            connection: for business logic that blocks.
        backlog: Connections that may wait in the kernel to be accepted; the kernel's own bound is
            net.core.somaxconn. Default: 4096.
        reuse_port: Share the port with other processes (SO_REUSEPORT, socket(7)).
    """

    framing: Framing | None
    limits: Limits | None
    deadlines: Deadlines | None
    slow_consumer: SlowConsumer
    websocket: WebSocket | None
    filters: Sequence[FilterFactory]
    executor: Literal["threads"] | None
    backlog: int
    reuse_port: bool
