"""What the engine logs: handlers' exceptions, limits, failures of accept(2).

A limit that is reached a thousand times per second is logged once in ten; its counter has them all.
"""

import errno as errnos
import logging
import os
import time

logger = logging.getLogger("vespiary")

_QUIET_SECONDS = 10.0
_told: dict[tuple[str, str], float] = {}


def _is_due(url: str, what: str) -> bool:
    now = time.monotonic()
    if now - _told.get((url, what), -_QUIET_SECONDS) < _QUIET_SECONDS:
        return False
    _told[url, what] = now
    return True


def handler_failed(url: str, peer: str, error: BaseException) -> None:
    """A handler raised; its connection is being closed."""
    logger.error(
        "The handler of %s failed; closing the connection to %s",
        url,
        peer or "a client without an address",
        exc_info=error,
    )


def callback_failed(what: str, error: BaseException) -> None:
    """Something raised that belongs to no connection: a timer of the server, say."""
    logger.error("A %s of the server failed", what, exc_info=error)


def limit_reached(url: str, name: str, value: int) -> None:
    """A limit or deadline of an endpoint was reached."""
    if _is_due(url, name):
        shown = f"{value / 1000:g}" if name.endswith("_seconds") else str(value)
        logger.warning("%s has reached %s (%s); see its statistics for how often", url, name, shown)


def accept_failed(url: str, errno: int, pause_milliseconds: int) -> None:
    """accept(2) failed; accepting pauses and goes on."""
    name = errnos.errorcode.get(errno, str(errno))
    if not _is_due(url, name):
        return
    advice = ""
    if errno in (errnos.EMFILE, errnos.ENFILE):
        advice = "; raise the limit of open files (ulimit -n), or set connections_max below it"
    logger.error(
        "%s could not accept a connection: %s (%s); accepting pauses for %d ms%s",
        url,
        os.strerror(errno),
        name,
        pause_milliseconds,
        advice,
    )


def escaped(text: str) -> str:
    """A peer's text for one line of a log: control characters are written as escapes."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def send_failed(url: str, peer: str, error: BaseException) -> None:
    """What another thread sent was not taken, and no caller waits for the error."""
    text = escaped(str(error))
    logger.error("A message of another thread on %s, to %s, was not taken: %s", url, peer, text)


def rule_broken(url: str, peer: str, text: str) -> None:
    """A peer broke a rule of the protocol, and its connection was failed (RFC 6455 7.1.7)."""
    if _is_due(url, text):
        logger.warning("%s failed the connection to %s: %s", url, peer, escaped(text))


def response_failed(url: str, peer: str, text: str) -> None:
    """What on_request returned cannot be sent; the client gets 500."""
    logger.error("The response of %s's on_request to %s cannot be sent: %s", url, peer, text)
