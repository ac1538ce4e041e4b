"""What the engine logs: handlers' exceptions, limits, failures of accept(2), connections.

Requests and connections that are refused are logged with the reason, and with what can be done.

Every line says first what happened, and then where: `on ENDPOINT, peer ADDRESS`. A limit that is
reached a thousand times per second is logged once in ten; its counter has them all.
"""

import errno as errnos
import inspect
import logging
import os
import time
from typing import TYPE_CHECKING

from vespiary._printable import escaped

if TYPE_CHECKING:
    from vespiary._core import Connection
    from vespiary.errors import CloseReason
    from vespiary.request import Request

logger = logging.getLogger("vespiary")

_QUIET_SECONDS = 10.0
_TEXT_MAX = 300
"""Characters of a text that a peer may have chosen."""
_told: dict[tuple[str, str], float] = {}


def _is_due(url: str, what: str) -> bool:
    now = time.monotonic()
    if now - _told.get((url, what), -_QUIET_SECONDS) < _QUIET_SECONDS:
        return False
    _told[url, what] = now
    return True


def _place(url: str, peer: str) -> str:
    return escaped(f"{url or 'an endpoint'}, peer {peer or 'without an address'}")


def handler_failed(url: str, peer: str, error: BaseException) -> None:
    """A handler raised; its connection is being closed.

    A sender of datagrams can pretend to be many peers, so there not each is logged.
    """
    is_bounded = url.startswith(("udp:", "unixgram:"))
    if is_bounded and not _is_due(url, "datagram"):
        return
    bound = f"; logged at most every {_QUIET_SECONDS:.0f} s" if is_bounded else ""
    place = _place(url, peer)
    logger.error("Handler failed, connection closed, on %s%s", place, bound, exc_info=error)


def datagram_failed(url: str, peer: tuple[str, int] | str | None, error: BaseException) -> None:
    """A handler raised for a datagram. A peer can send many of them, so not each is logged."""
    if _is_due(url, "datagram"):
        logger.error(
            "Handler failed for a datagram on %s; logged at most every %d s",
            _place(url, address_text(peer)),
            _QUIET_SECONDS,
            exc_info=error,
        )


def callback_failed(what: str, error: BaseException) -> None:
    """Something raised that belongs to no connection: a timer of the server, say."""
    logger.error("A %s of the server failed", what, exc_info=error)


def limit_reached(url: str, name: str, value: float) -> None:
    """A limit or deadline of an endpoint was reached; its value is in the unit of its name."""
    if _is_due(url, name):
        logger.warning(
            "Limit reached: %s (%s) on %s; logged at most every %d s",
            name,
            f"{value:.15g}",
            url,
            _QUIET_SECONDS,
        )


def accept_failed(url: str, errno: int, pause_milliseconds: int) -> None:
    """accept(2) failed; accepting pauses and continues."""
    name = errnos.errorcode.get(errno, str(errno))
    if not _is_due(url, name):
        return
    advice = ""
    if errno in (errnos.EMFILE, errnos.ENFILE):
        advice = "; raise the limit of open files (ulimit -n), or set connections_max below it"
    logger.error(
        "Accepting failed: %s (%s) on %s; it pauses for %d ms%s",
        os.strerror(errno),
        name,
        url,
        pause_milliseconds,
        advice,
    )


def send_failed(url: str, peer: str, error: BaseException) -> None:
    """What another thread sent was not taken, and no caller waits for the error."""
    text = escaped(str(error))
    logger.error("Message from another thread could not be sent: %s on %s", text, _place(url, peer))


def rule_broken(url: str, peer: str, text: str) -> None:
    """A peer broke a rule of the protocol, and its connection was failed (RFC 6455 7.1.7)."""
    if _is_due(url, text):
        logger.warning("Protocol error: %s on %s", escaped(text), _place(url, peer))


def denied(url: str, peer: str, status: int | None, text: str, advice: str, is_ours: bool) -> None:
    """A connection, or the request that would have opened it, was refused.

    One per status and endpoint is INFO within ten seconds; the others, and those that the peer
    ended, are DEBUG, so that no flood fills the log.
    """
    level = logging.INFO if is_ours and _is_due(url, f"denied {status}") else logging.DEBUG
    if not logger.isEnabledFor(level):
        return
    if not is_ours:
        what = "Connection ended before it was open"
    else:
        what = "Connection refused" if status is None else f"Request refused with {status}"
    story = escaped(text[:_TEXT_MAX]) + (f" ({advice})" if advice else "")
    logger.log(level, "%s: %s; on %s", what, story, _place(url, peer))


def response_failed(url: str, peer: str, text: str, hook: object) -> None:
    """What on_request returned cannot be sent; the client gets 500."""
    name = getattr(inspect.unwrap(hook), "__qualname__", "") if callable(hook) else ""
    by = f" by {name}" if name else ""
    logger.error("Response%s cannot be sent: %s; on %s", by, escaped(text), _place(url, peer))


def message_cut(url: str, peer: str) -> None:
    """A handler or a client has closed its connection within a message sent in parts."""
    logger.error(
        "Message not finished: the connection is closed with 1011, because the last part of "
        "a message (send_part(..., last=True)) was not sent; on %s",
        _place(url, peer),
    )


def address_text(address: tuple[str, int] | str | None) -> str:
    """A peer's address for one line of a log; empty for a Unix socket without a name."""
    if isinstance(address, tuple):
        host, port = address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if not address or address.startswith("unix:@"):
        return address or ""
    return f"unix:{address}"


def connection_opened(url: str, connection: "Connection") -> None:
    """A connection is ready for messages."""
    logger.debug("Connection opened on %s", _place(url, address_text(connection.peer)))


def connection_closed(url: str, connection: "Connection", reason: "CloseReason") -> None:
    """A connection has ended."""
    place = _place(url, address_text(connection.peer))
    logger.debug("Connection %s on %s", reason, place)


def request_came(url: str, request: "Request") -> None:
    """A request came."""
    place = _place(url, address_text(request.peer))
    logger.debug("Request %s %s on %s", request.method, escaped(request.target), place)
