"""The results of earlier runs, in SQLite: which cells are flaky, and how long they took."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Self

from vespiary.errors import ConfigurationError
from vespiary.prove.acceptance.outcome import ERROR, PASSED
from vespiary.prove.acceptance.run import Run

__all__ = ["Earlier", "EarlierRun", "History"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    number INTEGER PRIMARY KEY, suite TEXT, began REAL, seconds REAL, seed INTEGER
);
CREATE TABLE IF NOT EXISTS cells (
    run INTEGER REFERENCES runs(number), id TEXT, outcome TEXT, seconds REAL, peak_bytes INTEGER,
    kinds TEXT
);
CREATE INDEX IF NOT EXISTS cells_by_id ON cells(id, run);
"""
_RUNS = 20
_CHANGES_OF_FLAKY = 2


class Earlier(NamedTuple):
    """A cell in an earlier run."""

    outcome: str
    seconds: float
    peak_bytes: int
    kinds: str


class EarlierRun(NamedTuple):
    """A run of the suite."""

    seconds: float
    cells: int
    not_passed: int


class History:
    """A file of results, or nothing where no file is named."""

    def __init__(self, path: Path | None) -> None:
        """Open it, and make it if it is not there.

        Raises:
            ConfigurationError: it cannot be used.
        """
        self._suite = ""
        self._path = path
        self._failed: sqlite3.Error | None = None
        self._database: sqlite3.Connection | None = None
        if path is None:
            return
        try:
            self._database = sqlite3.connect(path)
            self._database.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise ConfigurationError(
                f"{path} cannot be used as history: {error}", subject="--history", value=str(path)
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._database is not None:
            self._database.close()

    def add(self, run: Run) -> None:
        """Keep the results of a run; `check` says whether that was possible."""
        self._suite = run.suite
        if self._database is None:
            return
        try:
            self._insert(self._database, run)
        except sqlite3.Error as error:
            self._failed = error

    def _insert(self, database: sqlite3.Connection, run: Run) -> None:
        with database:
            number = database.execute(
                "INSERT INTO runs (suite, began, seconds, seed) VALUES (?, ?, ?, ?)",
                (run.suite, run.began, run.seconds, run.seed),
            ).lastrowid
            database.executemany(
                "INSERT INTO cells VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (
                        number,
                        result.id,
                        result.outcome,
                        result.seconds,
                        result.peak_bytes,
                        " ".join(sorted({finding.kind for finding in result.findings})),
                    )
                    for result in run.results
                ],
            )

    def check(self) -> None:
        """Report what went wrong after the run, which had to be reported first.

        Raises:
            ConfigurationError: the results could not be kept, or earlier ones not be read.
        """
        if self._failed is not None:
            raise ConfigurationError(
                f"{self._path}: the results could not be added to the history: {self._failed}",
                subject="--history",
                value=str(self._path),
            )

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of a query, the newest last; none where the file cannot be read."""
        if self._database is None or self._failed is not None:
            return []
        try:
            return self._database.execute(query, values).fetchall()[::-1]
        except sqlite3.Error as error:
            self._failed = error
            return []

    def of(self, cell: str) -> Sequence[Earlier]:
        """The last results of a cell, the newest last; this run's are among them."""
        rows = self._rows(
            "SELECT outcome, cells.seconds, peak_bytes, kinds FROM cells JOIN runs ON run = number"
            " WHERE id = ? AND suite = ? ORDER BY run DESC LIMIT ?",
            cell,
            self._suite,
            _RUNS,
        )
        return [Earlier(*row) for row in rows]

    def runs(self) -> Sequence[EarlierRun]:
        """The last runs of the suite, the newest last; this one is among them."""
        rows = self._rows(
            "SELECT runs.seconds, count(*), sum(outcome != ?) FROM runs JOIN cells ON run = number"
            " WHERE suite = ? GROUP BY number ORDER BY number DESC LIMIT ?",
            PASSED,
            self._suite,
            _RUNS,
        )
        return [EarlierRun(*row) for row in rows]

    def is_flaky(self, cell: str) -> bool:
        """Whether a cell's outcome changed more than once in its last runs.

        One change may be a mistake that was made, or one that was corrected.
        """
        outcomes = [each.outcome for each in self.of(cell) if each.outcome != ERROR]
        changes = sum(before != after for before, after in pairwise(outcomes))
        return changes >= _CHANGES_OF_FLAKY
