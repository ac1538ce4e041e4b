"""Runs a program with the library preloaded, and watches its records while it runs."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vespiary.errors import ConfigurationError
from vespiary.prove.locks.findings import Finding, analyse, deadlock
from vespiary.prove.locks.live import Watch
from vespiary.prove.locks.record import Record, RecordError

__all__ = ["Coverage", "Outcome", "run"]

_LOOK_SECONDS = 0.1
_END_SECONDS = 5.0


@dataclass
class Coverage:
    """What was seen, and what could not be.

    Attributes:
        processes: Processes that took a lock.
        locks: Locks seen in all of them.
        operations: Locks taken.
        orders: Different orders recorded.
        lost: What found no room, by name.
        notes: What was not covered, in sentences.
    """

    processes: int = 0
    locks: int = 0
    operations: int = 0
    orders: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass
class Outcome:
    """How a run ended.

    Attributes:
        status: The program's own exit code; negative for a signal, as `subprocess` has it.
        deadlocked: Whether it was ended because of a deadlock.
        findings: What was found, the worst first.
        coverage: What was looked at.
    """

    status: int
    deadlocked: bool
    findings: list[Finding]
    coverage: Coverage


def library() -> Path:
    """The library that is preloaded.

    Errors:
        ConfigurationError: it is not there.
    """
    path = Path(__file__).resolve().parents[2] / "_lockwatch.so"
    if not path.exists():
        raise ConfigurationError(
            f"{path} is missing: it is part of the wheel; in a checkout `make build` builds it",
            subject="library",
        )
    return path


def run(
    command: Sequence[str],
    *,
    on_deadlock: Callable[[Finding], None] = lambda finding: None,
) -> Outcome:
    """Run a command to its end, or to its first deadlock.

    Args:
        command: The words.
        on_deadlock: Called with a deadlock as soon as it is seen; then the command is ended.

    Errors:
        ConfigurationError: the command cannot be started.
    """
    with tempfile.TemporaryDirectory(prefix="vespiary-locks-") as folder:
        environment = _environment(Path(folder))
        try:
            process = subprocess.Popen(list(command), env=environment, start_new_session=False)
        except OSError as error:
            raise ConfigurationError(
                f"cannot run {command[0]!r}: {error.strerror}", subject="command"
            ) from error
        watcher = _Watcher(Path(folder))
        stuck = _wait(process, watcher)
        if stuck is not None:
            on_deadlock(stuck)
            _end(process, watcher)
        return _gather(process.returncode, stuck, watcher)


def _environment(folder: Path) -> dict[str, str]:
    environment = dict(os.environ)
    preloaded = environment.get("LD_PRELOAD", "")
    environment["LD_PRELOAD"] = " ".join(filter(None, [str(library()), preloaded]))
    environment["VESPIARY_LOCKS"] = str(folder)
    return environment


def _lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


class _Watcher:
    """The records of a run, as they come."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.records: dict[Path, Record] = {}
        self._watches: dict[Path, Watch] = {}

    def refresh(self) -> None:
        for path in self._folder.glob("*.locks"):
            if path not in self.records:
                try:
                    record = Record(path)
                except (RecordError, OSError, ValueError):
                    continue  # It is being made.
                self.records[path] = record
                self._watches[path] = Watch(record)

    def look(self) -> Finding | None:
        self.refresh()
        for path, watch in self._watches.items():
            record = self.records[path]
            if _lives(record.pid):
                found = watch.look()
                if found is not None:
                    return deadlock(record, found)
        return None

    def living(self) -> list[int]:
        return [record.pid for record in self.records.values() if _lives(record.pid)]


def _wait(process: subprocess.Popen[bytes], watcher: _Watcher) -> Finding | None:
    """Wait for the end, looking for deadlocks meanwhile; signals go to the program too."""
    while True:
        try:
            process.wait(_LOOK_SECONDS)
            return None
        except subprocess.TimeoutExpired:
            pass
        except KeyboardInterrupt:
            # The terminal has sent it to the program as well; its end is waited for.
            continue
        found = watcher.look()
        if found is not None:
            return found


def _end(process: subprocess.Popen[bytes], watcher: _Watcher) -> None:
    """End a program that cannot go on, with all its processes that were watched."""
    for pid in {process.pid, *watcher.living()}:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    deadline = time.monotonic() + _END_SECONDS
    while process.poll() is None or watcher.living():
        if time.monotonic() > deadline:
            return
        time.sleep(0.01)


def _gather(status: int, stuck: Finding | None, watcher: _Watcher) -> Outcome:
    watcher.refresh()
    coverage = Coverage()
    findings: dict[str, Finding] = {}
    if stuck is not None:
        findings[stuck.signature] = stuck
    for record in watcher.records.values():
        coverage.processes += 1
        coverage.locks += record.lock_count
        coverage.operations += record.operations
        coverage.orders += sum(1 for _ in record.edges())
        for name, count in record.lost.items():
            coverage.lost[name] = coverage.lost.get(name, 0) + count
        for finding in analyse(record):
            findings.setdefault(finding.signature, finding)
    for name, count in coverage.lost.items():
        coverage.notes.append(f"{count} {name} found no room in the record")
    order = ["deadlock", "inversion", "misuse", "stall", "information"]
    ordered = sorted(findings.values(), key=lambda finding: order.index(finding.kind))
    return Outcome(status, stuck is not None, ordered, coverage)
