"""The pytest plugin: `pytest --locks` fails the test that completes a cycle of lock orders.

pytest starts itself again with the library preloaded, before any test is collected. After each
test, the new orders are checked. If there is a finding, the test after which it appeared fails.
Findings in processes that the tests started are reported at the end, and fail the run. A deadlock
ends the run at once, because no test could continue, and the report lists every thread in it.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vespiary._counted import counted
from vespiary.prove.folders import Held
from vespiary.prove.locks import exits
from vespiary.prove.locks.analysis import analyse, deadlock
from vespiary.prove.locks.findings import Finding
from vespiary.prove.locks.gaps import find, sentences
from vespiary.prove.locks.live import Watch
from vespiary.prove.locks.preload import environment, room
from vespiary.prove.locks.record import Record, records
from vespiary.prove.locks.rendering import finding_text
from vespiary.prove.locks.together import Together, families

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

_FOLDER = "VESPIARY_LOCKS"
_HOLDS = "VESPIARY_LOCKS_HOLDS"
_RESTARTED = "VESPIARY_LOCKS_PYTEST"
_LOOK_SECONDS = 0.2

_IS_RESTARTED = os.environ.get(_RESTARTED) == str(os.getpid())
"""Whether this is the pytest that was started again, and no other process with its environment."""

if _IS_RESTARTED:
    os.set_inheritable(int(os.environ[_HOLDS]), False)

_STDERR = os.dup(2) if _IS_RESTARTED else 2
"""Standard error, before pytest captures it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--locks`."""
    parser.getgroup("locks", "lock orders and deadlocks").addoption(
        "--locks",
        action="store_true",
        help="fail the test in which a lock order completes an inversion (vespiary locks)",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    """Start again with the library preloaded; once."""
    del args
    if not early_config.known_args_namespace.locks or _RESTARTED in os.environ:
        return
    capture = early_config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.stop_global_capturing()
    held = Held("vespiary-locks-", room())
    os.set_inheritable(held.fileno(), True)
    words = [str(word) for word in early_config.invocation_params.args]
    os.execve(
        sys.executable,
        [sys.executable, "-m", "pytest", *words],
        {
            **environment(held.path, None),
            _RESTARTED: str(os.getpid()),
            _HOLDS: str(held.fileno()),
        },
    )


def pytest_configure(config: pytest.Config) -> None:
    """Watch from here on, in the process that was started again."""
    if config.getoption("--locks") and _IS_RESTARTED:
        config.pluginmanager.register(_Locks(Path(os.environ[_FOLDER])), "vespiary-locks-session")


class _Locks:
    """The session's record, and what was found so far."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._record: Record | None = None
        self._seen = (0, 0)
        self._known: set[str] = set()
        self._elsewhere: list[Finding] = []
        self._gaps: list[str] = []
        self._stop = threading.Event()
        self._live = Watch(folder=folder)
        self._watcher = threading.Thread(target=self._watch, name="vespiary-locks", daemon=True)
        self._watcher.start()

    def _own(self) -> Record | None:
        if self._record is None:
            own = (record for record in records(self._folder) if record.pid == os.getpid())
            self._record = next(own, None)
        return self._record

    def _new(self, together: Together) -> list[Finding]:
        """What records say that was not told before."""
        new = [
            finding
            for finding in analyse(together)
            if finding.is_told and finding.signature not in self._known
        ]
        self._known.update(finding.signature for finding in new)
        return new

    def _watch(self) -> None:
        """Look for deadlocks. A Python lock that is waited for has no hold on this thread."""
        while not self._stop.wait(_LOOK_SECONDS):
            found = self._live.look()
            if found is not None:
                text = finding_text(deadlock(*found))
                os.write(_STDERR, f"\n{text}\n".encode())
                for record in found[0].records:
                    if record.pid != os.getpid() and record.lives:
                        os.kill(record.pid, signal.SIGKILL)
                os._exit(exits.DEADLOCK)
            for record in self._live.retired():
                self._elsewhere += self._new(Together([record]))
                record.discard()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self) -> Generator[None, None, None]:
        """After a test's fixtures are gone: what is there now that was not there before?"""
        yield
        record = self._own()
        if record is None or record.size == self._seen:
            return
        self._seen = record.size
        new = self._new(Together([record]))
        if new:
            pytest.fail("\n".join(finding_text(finding) for finding in new), pytrace=False)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """What other processes did."""
        self._stop.set()
        self._watcher.join()
        self._live.refresh()
        for family in families(self._live.records):
            self._elsewhere += self._new(family)
        if self._elsewhere and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        self._gaps = sentences(find(self._folder, os.getpid(), sys.executable))
        shutil.rmtree(self._folder, ignore_errors=True)

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """Say what was covered, and what other processes did."""
        record = self._own()
        if record is not None:
            terminalreporter.write_line(
                f"vespiary locks: {counted(record.lock_count, 'lock')}, {record.operations:,} taken"
            )
        for gap in self._gaps:
            terminalreporter.write_line(f"  not covered: {gap}")
        if self._elsewhere:
            terminalreporter.section("lock orders of other processes")
            for finding in self._elsewhere:
                terminalreporter.write_line(finding_text(finding))
