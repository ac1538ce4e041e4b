"""The options of an endpoint that a server serves, in one place for types and for checks."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from vespiary.errors import ConfigurationError

if TYPE_CHECKING:
    from vespiary.filters import FilterFactory
    from vespiary.framing import Framing
    from vespiary.limits import Deadlines, Limits, SlowConsumer
    from vespiary.websocket import WebSocket

__all__ = ["ServerOptions", "check_names"]


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


def check_names(given: Iterable[str], known: Mapping[str, Any] | Iterable[str], of: str) -> None:
    """Check the names of options.

    Raises:
        ConfigurationError: one is not known; the nearest known name is suggested.
    """
    known = list(known)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            advice = f"did you mean {near[0]}=?" if near else f"the options are {', '.join(known)}"
            raise ConfigurationError(f"{of} has no option {name}=: {advice}", subject=name)
