"""The latest records of the log, kept for the dashboard."""

from __future__ import annotations

import logging
from collections import deque
from typing import Any

__all__ = ["LogRecords", "set_level"]

_KEPT = 1000
"""Records that a process keeps: about 300 KB."""
_TEXT_MAX = 10_000

LEVELS = ("debug", "info", "warning", "error")


class LogRecords(logging.Handler):
    """Keeps the latest records as they are logged."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        try:
            text = record.getMessage()
            if record.exc_info:
                text += "\n" + self._formatter.formatException(record.exc_info)
        except Exception:
            self.handleError(record)
            return
        self._kept.append(
            {
                "time": record.created,
                "level": record.levelname.lower(),
                "logger": record.name,
                "process": record.process,
                "text": text[:_TEXT_MAX],
            }
        )

    def install(self) -> None:
        """Keep what is logged from now on, even after the log was configured again."""
        root = logging.getLogger()
        if self not in root.handlers:
            root.addHandler(self)

    def latest(self, count: int, level: str = "debug") -> list[dict[str, Any]]:
        """The latest records of at least this level, the oldest first."""
        least = LEVELS.index(level)
        found = [one for one in self._kept if _rank(one["level"]) >= least]
        return found[-count:] if count else []


def _rank(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else len(LEVELS)


def set_level(name: str, level: str | None) -> None:
    """Set the level of a logger.

    Args:
        name: The logger; empty for the root.
        level: The level; None for that of the logger above it.
    """
    logging.getLogger(name or None).setLevel(logging.NOTSET if level is None else level.upper())
