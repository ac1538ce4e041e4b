"""A place where one test at a time runs, with a shared file of its own in which marks are disabled.

Several benches work at once, each with its own file: what one disables, another does not notice.
The files lie in a folder that is removed with the run; whatever interrupts it, no later run sees
them, and nothing stays disabled.
"""

import os
import re
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vespiary.prove.trace.proving.cargo import RustTest
from vespiary.prove.trace.proving.panics import how_failed
from vespiary.prove.trace.proving.record import (
    COLLECTION,
    CRASH,
    SKIPPED,
    TIMEOUT,
    last_lines,
)
from vespiary.prove.trace.proving.session import NotCollected, Session, did_not_end, end
from vespiary.prove.trace.proving.watcher import end_all
from vespiary.prove.trace.settings import Settings
from vespiary.trace import CLAIM, DISABLED, MARK, VARIABLE, Slot, Table

__all__ = ["Bench", "Interrupted", "PythonTest", "Run", "Seen"]

_PLACE = re.compile(r":\d+(?::\d+)?$")
"""The line and the column at the end of a site."""


class Interrupted(Exception):
    """The bench is closed: the run was interrupted."""


@dataclass(frozen=True, slots=True)
class PythonTest:
    """A test of pytest that claims something.

    Attributes:
        file: Of its function, relative to the project; or the file that pytest has it from.
        line: Where the function begins, decorators included; 0 if it has none.
    """

    id: str
    claims: tuple[str, ...]
    file: str = ""
    line: int = 0

    @property
    def claimant(self) -> str:
        """The function that makes the claim, whatever its parameters."""
        file, separator, rest = self.id.partition("::")
        return file + separator + rest.partition("[")[0]


@dataclass(frozen=True, slots=True)
class Seen:
    """A mark as a process has told it: its identifiers, and its site in the process's own words."""

    ids: tuple[str, ...]
    site: str


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one test.

    Attributes:
        outcome: `passed`, `failed`, `skipped`, `xfailed` or `timeout`.
        how: How it failed, if it did, as `record` has it.
        denied: The marks whose condition was false at least once.
        words: The last lines of its error, if it failed.
    """

    outcome: str
    seconds: float
    claims: tuple[str, ...] = ()
    reached: tuple[Seen, ...] = ()
    acted: tuple[Seen, ...] = ()
    how: str = ""
    denied: tuple[Seen, ...] = ()
    words: str = ""

    @property
    def failed(self) -> bool:
        """Whether the test noticed something."""
        return self.outcome not in ("passed", *SKIPPED)


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
        self._disabled = 0
        self._scope: tuple[str, ...] = ()
        self._only: tuple[str, ...] = ()

    def session(self) -> Session:
        """The pytest process; a new one if the last has ended."""
        if self._closed:
            raise Interrupted
        if self._session is None or not self._session.alive:
            if self._session is not None:
                self._session.close()
            self._session = Session(
                self._settings.root, self._settings.pytest, self._environment, self._only
            )
        return self._session

    def limit(self, tests: Iterable[PythonTest]) -> None:
        """Collect no more than the files of these tests, from the next pytest process on."""
        self._scope = self._only = _files(tests)

    def renew(self, *tests: PythonTest) -> None:
        """End the pytest process: the next test runs in a new one.

        Args:
            tests: Those that are going to run there; only their files are collected.
        """
        if self._session is not None:
            self._session.close()
        self._session = None
        self._only = _files(tests) or self._scope

    def run(self, test: RustTest | PythonTest, seconds: float, *, afresh: bool = False) -> Run:
        """Run a test, and say what it has reached.

        Args:
            test: The test.
            seconds: Its time limit.
            afresh: Run it in a new process; what is reached while that collects tests counts too.
        """
        began = time.monotonic()
        if isinstance(test, RustTest):
            self._clear()
            outcome, how, words = self._run_alone(test, seconds)
            return self._told(outcome, how, time.monotonic() - began, None, words)
        if afresh:
            self.renew(test)
            self._clear()
        try:
            session = self.session()
        except NotCollected:
            if not self._disabled:
                raise
            # Without the mark a module of tests cannot even be imported.
            return self._told("failed", COLLECTION, 0.0, test.claims)
        began = time.monotonic()
        if not afresh:
            self._clear()
        outcome, how, words = session.run(test.id, seconds)
        if self._closed:
            raise Interrupted
        return self._told(outcome, how, time.monotonic() - began, test.claims, words)

    @contextmanager
    def disabled(self, marks: Iterable[Seen], how: int = DISABLED) -> Iterator[None]:
        """Disable marks for as long as the block runs.

        Args:
            marks: The marks.
            how: `REPLACED` or `ANOTHER` to let functions give another wrong result than None, and
                `FORCED` to let conditions be true.
        """
        slots = [self._table.claim(MARK, mark.ids, mark.site) for mark in marks]
        self._disabled += 1
        try:
            for slot in slots:
                slot.disable(how)
            yield
        finally:
            for slot in slots:
                slot.disable(False)
            self._disabled -= 1

    def close(self) -> None:
        """End every process of it; a test that runs just now fails with `Interrupted`."""
        self._closed = True
        if self._process is not None:
            end(self._process)
        if self._session is not None:
            self._session.kill()
        end_all(VARIABLE, self._environment[VARIABLE])

    def _run_alone(self, test: RustTest, seconds: float) -> tuple[str, str, str]:
        """Run a Rust test in a process of its own; as `Session.run`."""
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
                return "timeout", TIMEOUT, did_not_end(seconds)
            finally:
                end(process)
                self._process = None
        if self._closed:
            raise Interrupted
        if process.returncode or b"test result: ok. " not in told:
            words = last_lines(told.decode(errors="replace").partition("\nfailures:\n    ")[0])
            if b"test result: FAILED. " not in told:
                return "failed", CRASH, words
            marked = {_PLACE.sub("", slot.site) for slot in self._reached() if slot.kind == MARK}
            return "failed", how_failed(told, marked, test.binary.package), words
        return ("passed" if b"test result: ok. 1 passed" in told else "skipped"), "", ""

    def _clear(self) -> None:
        for slot in self._table.slots():
            slot.clear()

    def _reached(self) -> list[Slot]:
        return [slot for slot in self._table.slots() if slot.reached]

    def _told(
        self,
        outcome: str,
        how: str,
        seconds: float,
        claims: tuple[str, ...] | None,
        words: str = "",
    ) -> Run:
        slots = self._reached()
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
            how,
            tuple(_seen(slot) for slot in marks if slot.reached > slot.acted),
            words,
        )


def _files(tests: Iterable[PythonTest]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(test.id.partition("::")[0] for test in tests))


def _seen(slot: Slot) -> Seen:
    return Seen(slot.ids, slot.site)
