"""A place where one test at a time runs, with a shared file of its own in which marks are disabled.

Several benches work at once, each with its own file: what one disables, another does not notice.
The files lie in a folder that is removed with the run; whatever interrupts it, no later run sees
them, and nothing stays disabled.
"""

import os
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vespiary.prove.trace.proving.cargo import RustTest
from vespiary.prove.trace.proving.session import Session, end
from vespiary.prove.trace.settings import Settings
from vespiary.trace import CLAIM, MARK, VARIABLE, Slot, Table

__all__ = ["Bench", "Interrupted", "PythonTest", "Run", "Seen"]


class Interrupted(Exception):
    """The bench is closed: the run was interrupted."""


@dataclass(frozen=True, slots=True)
class PythonTest:
    """A test of pytest that claims something."""

    id: str
    claims: tuple[str, ...]

    @property
    def claimant(self) -> str:
        """The function that makes the claim, whatever its parameters."""
        return self.id.partition("[")[0]


@dataclass(frozen=True, slots=True)
class Seen:
    """A mark as a process has told it: its identifiers, and its site in the process's own words."""

    ids: tuple[str, ...]
    site: str


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one test."""

    outcome: str
    seconds: float
    claims: tuple[str, ...] = ()
    reached: tuple[Seen, ...] = ()
    acted: tuple[Seen, ...] = ()


class Bench:
    """Runs tests of either kind; a pytest process is started when one is needed."""

    def __init__(self, settings: Settings, path: Path) -> None:
        self._settings = settings
        self._table = Table(path)
        folders = [str(settings.root / folder) for folder in settings.path]
        inherited = [part for part in [os.environ.get("PYTHONPATH")] if part]
        self._environment = {**os.environ, VARIABLE: str(path)}
        if folders or inherited:
            self._environment["PYTHONPATH"] = os.pathsep.join(folders + inherited)
        self._session: Session | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def session(self) -> Session:
        """The pytest process; a new one if the last has ended."""
        if self._closed:
            raise Interrupted
        if self._session is None or not self._session.alive:
            self.renew()
            self._session = Session(self._settings.root, self._settings.pytest, self._environment)
        return self._session

    def renew(self) -> None:
        """End the pytest process: the next test runs in a new one."""
        if self._session is not None:
            self._session.close()
        self._session = None

    def run(self, test: RustTest | PythonTest, seconds: float) -> Run:
        """Run a test for so many seconds at most, and say what it has reached."""
        if isinstance(test, PythonTest):
            session = self.session()
            self._clear()
            outcome, passed = session.run(test.id, seconds)
            if self._closed:
                raise Interrupted
            return self._told(outcome, passed, test.claims)
        self._clear()
        began = time.monotonic()
        outcome = self._run_alone(test, seconds)
        return self._told(outcome, time.monotonic() - began, None)

    @contextmanager
    def disabled(self, marks: Iterable[Seen]) -> Iterator[None]:
        """Disable marks for as long as the block runs."""
        slots = [self._table.claim(MARK, mark.ids, mark.site) for mark in marks]
        try:
            for slot in slots:
                slot.disable()
            yield
        finally:
            for slot in slots:
                slot.disable(False)

    def close(self) -> None:
        """End every process of it; a test that runs just now fails with `Interrupted`."""
        self._closed = True
        if self._process is not None:
            end(self._process)
        if self._session is not None:
            self._session.kill()

    def _run_alone(self, test: RustTest, seconds: float) -> str:
        """Run a Rust test in a process of its own; its outcome."""
        if self._closed:
            raise Interrupted
        with subprocess.Popen(
            test.command(),
            cwd=test.binary.package,
            env={**self._environment, **test.environment()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            self._process = process
            try:
                told, _ = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                return "timeout"
            finally:
                end(process)
                self._process = None
        if self._closed:
            raise Interrupted
        if process.returncode or b"test result: ok. " not in told:
            return "failed"
        return "passed" if b"test result: ok. 1 passed" in told else "skipped"

    def _clear(self) -> None:
        for slot in self._table.slots():
            slot.clear()

    def _told(self, outcome: str, seconds: float, claims: tuple[str, ...] | None) -> Run:
        slots = [slot for slot in self._table.slots() if slot.reached]
        marks = [slot for slot in slots if slot.kind == MARK]
        if claims is None:
            told = [name for slot in slots if slot.kind == CLAIM for name in slot.ids]
            claims = tuple(dict.fromkeys(told))
        return Run(
            outcome,
            seconds,
            claims,
            tuple(_seen(slot) for slot in marks),
            tuple(_seen(slot) for slot in marks if slot.acted),
        )


def _seen(slot: Slot) -> Seen:
    return Seen(slot.ids, slot.site)
