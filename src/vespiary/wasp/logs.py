"""The log of a platform: text, or a JSON object per line, on standard error."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from vespiary.wasp.schema import LogTable

__all__ = ["configure_log"]

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_TEXT_OF_WORKERS = "%(asctime)s %(levelname)s %(processName)s %(name)s: %(message)s"


class _JSON(logging.Formatter):
    """Formats a record as a JSON object in one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        time = datetime.fromtimestamp(record.created, UTC)
        fields: dict[str, object] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        if record.processName and record.processName.startswith("worker-"):
            fields["worker"] = record.processName
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False, default=str)


def configure_log(table: LogTable, *, has_workers: bool) -> None:
    """Log as the configuration asks for; a later call replaces what an earlier one has set."""
    handler = logging.StreamHandler(sys.stderr)
    if table.format == "json":
        handler.setFormatter(_JSON())
    else:
        handler.setFormatter(logging.Formatter(_TEXT_OF_WORKERS if has_workers else _TEXT))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(table.level.upper())
