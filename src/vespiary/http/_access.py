"""The access log: one line per answered request, on the logger `vespiary.access`."""

from __future__ import annotations

import logging

from vespiary._logging import address_text
from vespiary._printable import escaped

__all__ = ["log_access"]

logger = logging.getLogger("vespiary.access")

Address = tuple[str, int] | str | None


def log_access(peer: Address, method: str, target: str, minor_version: int, status: int) -> None:
    """Log a request and the status of its response; 0 where the client got none."""
    logger.info(
        '%s - "%s %s HTTP/1.%d" %s',
        address_text(peer) or "-",
        method,
        escaped(target),
        minor_version,
        status or "-",
    )
