"""Reports over time in a file: one per line, as JSON; a run is appended to what is there."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self

from vespiary.errors import ConfigurationError
from vespiary.prove.timewait.report import SCHEMA, Report

__all__ = ["Recorder", "read_recording"]

_ROWS_MAX = 50
"""Of each list: what is recorded each second for hours is what matters of it."""


class Recorder:
    """Appends reports to a file.

    Raises:
        ConfigurationError: It cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file: IO[str]
        try:
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(
                f"{path} cannot be written: {error.strerror}", subject="--record", value=str(path)
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def __call__(self, report: Report) -> None:
        """Write a report; a reader sees it at once."""
        short = report.copy()
        short.pop("sockets", None)
        for name in ("owners", "local_ports", "remotes", "budgets", "forecasts"):
            short[name] = report[name][:_ROWS_MAX]
        self._file.write(json.dumps(short, separators=(",", ":")) + "\n")
        self._file.flush()


def read_recording(path: Path) -> Iterator[Report]:
    """Read reports in the order in which they were written.

    A last line without its end belongs to a run that is in progress or was killed, and is omitted.

    Raises:
        ConfigurationError: The file cannot be read, or is not such a recording.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                if line.endswith("\n"):
                    yield _report(path, number, line)
    except OSError as error:
        raise _mistake(path, f"it cannot be read: {error.strerror}") from None


def _report(path: Path, number: int, line: str) -> Report:
    try:
        report: Report = json.loads(line)
        schema = report["schema"]
    except (ValueError, TypeError, KeyError):
        raise _mistake(path, f"line {number} is not a report that --record wrote") from None
    if schema != SCHEMA:
        raise _mistake(path, f"line {number} has the schema {schema}, and {SCHEMA} can be read")
    return report


def _mistake(path: Path, text: str) -> ConfigurationError:
    return ConfigurationError(f"{path}: {text}", subject="--replay", value=str(path))
