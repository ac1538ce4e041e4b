"""The options of a client, in one place for types and for checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from vespiary import _option_checks
from vespiary._header_lines import HeaderFields, HeaderMaker
from vespiary.backoff import Backoff
from vespiary.framing import Framing
from vespiary.limits import Deadlines, Limits, SlowConsumer
from vespiary.tls import ClientTLS
from vespiary.websocket import WebSocket

if TYPE_CHECKING:
    from vespiary.filters import FilterFactory

__all__ = ["HANDSHAKES_PER_ADDRESS_MAX", "ClientOptions", "check_options"]

HANDSHAKES_PER_ADDRESS_MAX = 100
"""As many as fit in the usual queue of a listening server (asyncio's and websockets' is 100): what
is beyond it the kernel drops, and TCP tries again a second later."""


class ClientOptions(TypedDict, total=False):
    """The options of a client, of `vespiary.connect` and of `vespiary.sync.connect`.

    Attributes:
        framing: As for `Server.add`.
        limits: As for `Server.add`. Only those that concern a single connection apply.
        deadlines: The same. `handshake_seconds` limits one attempt: resolving the name, trying its
            addresses, the proxy, the handshake and redirects. Waiting for other handshakes with the
            same address does not count.
        slow_consumer: As for `Server.add`.
        websocket: The options of WebSocket; `origins` and `origin_required` have no effect here.
        subprotocols: WebSocket subprotocols to offer, the preferred one first; default: those of
            `websocket`. If the server chooses another one, the connection fails (RFC 6455 section
            4.1).
        headers: Header fields of the WebSocket handshake, in addition to those of `websocket`: a
            mapping, pairs, or a function, plain or async, that returns them. The function is called
            for each attempt, for example for a token that expires. If it raises an exception, the
            attempt has failed. `handshake_seconds` does not limit its time.
        tls: Trusted authorities, and this client's certificate, for `wss://` and `tls://`. Default:
            the authorities of this machine.
        filters: Filters between the socket and the framing: see `vespiary.Filter`.
        source: The local IP address to connect from.
        proxy: The URL of an HTTP proxy (`http://user:password@host:port`), which is asked for a
            tunnel with CONNECT. None connects directly. Default, True: `ws://` uses the environment
            variables `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, unless the server is
            on this machine.
        half_close: Without a handler: when the peer of a stream has finished sending, stay open for
            sending until `close()`. By default the connection is closed then. After `send_end()` at
            this end, receiving continues in both cases.
        redirects_max: How many redirects (301, 302, 303, 307, 308) of the WebSocket handshake are
            followed. 0, as in browsers: a redirect could lead to a server that you do not trust.
        reconnect: How to repeat failed attempts, and how to reconnect in `async for`. Default: a
            failure is raised at once, and `async for` uses `Backoff()`.
        handshakes_per_address_max: How many WebSocket handshakes with one address run at the same
            time in one loop. Others wait; this time does not count towards `handshake_seconds`.
            100: as many as fit in the listen queue of a server. 1: one after the other, as
            RFC 6455 section 4.1 requires. None: no limit.
    """

    framing: Framing | None
    limits: Limits | None
    deadlines: Deadlines | None
    slow_consumer: SlowConsumer
    websocket: WebSocket | None
    subprotocols: Iterable[str]
    headers: HeaderFields | HeaderMaker
    tls: ClientTLS | None
    filters: Sequence[FilterFactory]
    source: str | None
    proxy: str | Literal[True] | None
    half_close: bool
    redirects_max: int
    reconnect: Backoff | None
    handshakes_per_address_max: int | None


def check_options(options: Mapping[str, Any], *arguments: str) -> None:
    """Check names and types of a client's options; `Endpoint`, `Framing` and others check more.

    Args:
        options: What was given.
        arguments: Names that what is called takes besides, for suggestions.

    Raises:
        ConfigurationError: a name is not known (what to write is suggested), or a value is of the
            wrong type.
    """
    known = {**ClientOptions.__annotations__, **dict.fromkeys(arguments)}
    _option_checks.check_options(options, known, "a client")
