"""The audit log: who changed what, when, and with which result."""

from __future__ import annotations

import json
import logging
import os
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vespiary.wasp.access import Who

__all__ = ["Audit"]

logger = logging.getLogger("vespiary.audit")

_KEPT = 500
"""Entries that a process keeps for the dashboard."""
_MODE = 0o600


class Audit:
    """Writes entries to the log, and to a file if there is one.

    Args:
        path: The file, to which a JSON object is appended per entry, one per line.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        # Changes are logged at any level of the log.
        logger.setLevel(logging.INFO)
        self.entries: deque[dict[str, Any]] = deque(maxlen=_KEPT)

    def write(self, who: Who, what: str, arguments: dict[str, Any], result: str) -> None:
        """Write an entry.

        Args:
            who: Who has asked for the change.
            what: The command.
            arguments: Its arguments.
            result: `ok`, with what was done, or what was wrong.
        """
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        entry = {
            "time": time,
            "who": who.name,
            "role": who.role,
            "what": what,
            "arguments": arguments,
            "result": result,
        }
        self.entries.append(entry)
        shown = " ".join(f"{key}={value}" for key, value in arguments.items())
        logger.info("%s (%s): %s %s: %s", who.name, who.role, what, shown, result)
        if self._path is None:
            return
        line = json.dumps(entry, ensure_ascii=False).encode() + b"\n"
        try:
            # One write to the end: lines of several workers are not mixed.
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, _MODE)
            try:
                os.write(file, line)
            finally:
                os.close(file)
        except OSError as error:
            logger.error("The audit log %s cannot be written: %s", self._path, error.strerror)
