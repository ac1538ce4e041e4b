"""Runs a program with the library preloaded, and watches its records while it runs.

What says what there is to find is imported when there is anything: most processes take no lock, or
take them in one order.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vespiary._counted import counted
from vespiary.errors import ConfigurationError
from vespiary.prove.locks import log
from vespiary.prove.locks.binaries import inspect
from vespiary.prove.locks.findings import Finding, ordered
from vespiary.prove.locks.gaps import Gap, find, lockless, program_of, sentences
from vespiary.prove.locks.kinds import REPEATS
from vespiary.prove.locks.live import Watch
from vespiary.prove.locks.record import Record, room
from vespiary.prove.locks.stalls import STALL_SECONDS, Stall, Stalls
from vespiary.prove.locks.together import Together, families, lives
from vespiary.prove.locks.tree import Tree
from vespiary.prove.program import Program

if TYPE_CHECKING:
    from vespiary.prove.locks.cores import Core
    from vespiary.prove.locks.statistics import Statistics

__all__ = ["Coverage", "Outcome", "environment", "merge", "run"]

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
        entangled: Locks with more orders among them than were looked through for circles.
        outlived: Processes that still ran when the watching ended.
        gaps: What was not watched or seen, with how many processes each is about.
        lockless: Watched programs that took no lock, with how many processes each.
    """

    processes: int = 0
    locks: int = 0
    operations: int = 0
    orders: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    entangled: int = 0
    outlived: list[str] = field(default_factory=list)
    gaps: Counter[Gap] = field(default_factory=Counter)
    lockless: Counter[str] = field(default_factory=Counter)

    @property
    def notes(self) -> list[str]:
        """What was not covered, in sentences."""
        notes = [
            f"{count} {name} found no room in the record"
            for name, count in self.lost.items()
            if name != REPEATS
        ]
        if self.entangled:
            notes.append(
                f"{counted(self.entangled, 'lock is', 'locks are')} taken in more orders than were"
                " looked through: there may be circles among them that are not reported"
            )
        notes += [
            f"{process} outlived the command; what it did later was not seen (--linger)"
            for process in self.outlived
        ]
        return notes + sentences(self.gaps)

    def __add__(self, other: Coverage) -> Coverage:
        return Coverage(
            self.processes + other.processes,
            self.locks + other.locks,
            self.operations + other.operations,
            self.orders + other.orders,
            self.lost + other.lost,
            self.entangled + other.entangled,
            self.outlived + other.outlived,
            self.gaps + other.gaps,
            self.lockless + other.lockless,
        )


@dataclass
class Outcome:
    """How a run ended.

    Attributes:
        status: The program's own exit code; negative for a signal, as `subprocess` has it.
        deadlocked: Whether it was ended because of a deadlock.
        findings: What was found, the worst first.
        coverage: What was looked at.
        asked_to_end: Whether a signal came that asks programs to end.
        statistics: Of each process, in the full mode.
        cores: Of the processes of a deadlock, where they were asked for.
    """

    status: int
    deadlocked: bool
    findings: list[Finding]
    coverage: Coverage
    asked_to_end: bool = False
    statistics: list[Statistics] = field(default_factory=list)
    cores: list[Core] = field(default_factory=list)


def library() -> Path:
    """The library that is preloaded.

    Raises:
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
    on_live: Callable[[Finding], None] = lambda finding: None,
    stall_seconds: float = STALL_SECONDS,
    linger_seconds: float = 2.0,
    perturb: int | None = None,
    full_bytes_max: int | None = None,
    core_folder: Path | None = None,
) -> Outcome:
    """Run a command to its end, or to its first deadlock.

    Args:
        command: The words.
        on_live: Called with a deadlock as soon as it is seen, after which the command is ended, and
            with each stall, after which it goes on.
        stall_seconds: How long a thread may wait for a lock whose holder does not run either before
            that is reported.
        linger_seconds: How long processes that outlive the command are watched.
        perturb: Yield now and then at lock operations, at moments that this seed decides.
        full_bytes_max: Keep every acquisition, in so many bytes at most; None for the fast mode.
        core_folder: Leave a core of each process of a deadlock, here where that can be chosen.

    Raises:
        ConfigurationError: the command cannot be started.
    """
    _refuse_musl(program_of(command[0]))
    with tempfile.TemporaryDirectory(prefix="vespiary-locks-", dir=room()) as folder:
        variables = environment(Path(folder), perturb)
        if full_bytes_max is not None:
            variables |= log.keep_all(Path(folder), full_bytes_max)
        program = Program(command, variables)
        cores: list[Core] = []
        try:
            watcher = _Watcher(Path(folder), stall_seconds, on_live, Tree(program.pid))
            stuck = _wait(program, watcher) or _linger(program, watcher, linger_seconds)
            if stuck is not None:
                on_live(stuck)
                watcher.tree.look(at_once=True)
                if core_folder is not None:
                    from vespiary.prove.locks.cores import leave

                    cores = [leave(pid, core_folder) for pid in watcher.stuck]
                _end(program, watcher)
        finally:
            program.close()
        outcome = _gather(program, stuck, watcher)
        outcome.cores = cores
        _tell_gaps(outcome.coverage, watcher, program.pid, command[0])
        return outcome


def _refuse_musl(program: str) -> None:
    if "musl" in inspect(program).interpreter:
        raise ConfigurationError(
            f"{program} is linked with musl, another C library than glibc, for which the library"
            " that watches is made: it could not start with it; `vespiary locks attach PID` looks"
            " at such a program while it runs",
            subject="command",
        )


def environment(folder: Path, perturb: int | None) -> dict[str, str]:
    """The environment of a program that is watched: the library, where it writes, its delays.

    As root's program may become another user, as servers do, the folder is opened to all then.
    """
    path = library()
    notes = folder / "notes"
    notes.touch(0o600)
    if os.geteuid() == 0:
        notes.chmod(0o622)
        # Anybody may make a file, and nobody may see, change or remove another's.
        folder.chmod(0o1733)
        may_execute = not os.statvfs(folder).f_flag & os.ST_NOEXEC
        if may_execute and not _is_open_to_all(path):
            path = Path(shutil.copy(path, folder))
    variables = dict(os.environ)
    preloaded = variables.get("LD_PRELOAD", "")
    variables["LD_PRELOAD"] = " ".join(filter(None, [str(path), preloaded]))
    variables["VESPIARY_LOCKS"] = str(folder)
    if perturb is not None:
        variables["VESPIARY_LOCKS_PERTURB"] = str(perturb)
    return variables


def _is_open_to_all(path: Path) -> bool:
    """Whether every user can come to a file and read it."""
    return bool(path.stat().st_mode & 0o004) and all(
        parent.stat().st_mode & 0o001 for parent in path.parents
    )


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "ended"


class _Watcher:
    """The records of a run, as they come."""

    def __init__(
        self,
        folder: Path,
        stall_seconds: float,
        on_live: Callable[[Finding], None],
        tree: Tree,
    ) -> None:
        self.folder = folder
        self.tree = tree
        self._on_live = on_live
        self._stalls = Stalls(stall_seconds)
        self._stalled: list[tuple[Stall, Finding]] = []
        self.stalls: list[Finding] = []
        """Those that are over, or whose processes have ended."""
        self.stuck: list[int] = []
        """The processes of a deadlock."""
        self.watch = Watch(folder=folder)
        self.findings: list[Finding] = []
        self.coverage = Coverage()
        self.figures: list[Statistics] = []
        self.took: set[int] = set()

    def look(self) -> Finding | None:
        self.tree.look()
        found = self.watch.look()
        if found is not None:
            from vespiary.prove.locks.analysis import deadlock

            together, circle = found
            pids = (together.record(thread.number).pid for thread in circle.threads)
            self.stuck = list(dict.fromkeys(pids))
            return deadlock(together, circle)
        for each in self._stalls.new(self.watch.views):
            from vespiary.prove.locks.analysis import stall

            finding = stall(each)
            self._stalled.append((each, finding))
            self._on_live(finding)
        self._retire()
        return None

    def take_rest(self, *, was_stuck: bool) -> None:
        """Look through all that is left when the program has ended."""
        self.watch.refresh()
        self._settle(self.watch.records)
        while self._retire():
            self.watch.refresh()
        for family in families(self.watch.records):
            self.take(family, was_stuck=was_stuck)
        unread = len(list(self.folder.glob("*.locks"))) - len(self.watch.records)
        if unread > 0:
            self.coverage.lost["records of processes"] += unread

    def _settle(self, records: Collection[Record]) -> None:
        """Take the stalls in records; one that has ended fails no build."""
        others = []
        for each, finding in self._stalled:
            if any(record in records for record in each.together.records):
                may_pass = finding.may_pass or not each.lasts
                self.stalls.append(replace(finding, may_pass=may_pass))
            else:
                others.append((each, finding))
        self._stalled = others

    def _retire(self) -> bool:
        gone = self.watch.retired()
        self._settle(gone)
        for record in gone:
            self.take(Together([record]))
            log.remove(record)
            record.discard()
        return bool(gone)

    def take(self, family: Together, *, was_stuck: bool = False) -> None:
        """Look through what processes did: what there is to find, and how much there was."""
        if any(record.size != (0, 0) for record in family.records):
            from vespiary.prove.locks.analysis import analyse

            entangled: list[frozenset[int]] = []
            self.findings += analyse(family, entangled.append, with_classes=True)
            self.coverage.entangled += sum(map(len, entangled))
        for record in family.records:
            orders = sum(1 for _ in record.edges())
            lost = Counter(record.lost)
            self.coverage += Coverage(1, record.lock_count, record.operations, orders, lost)
            if record.operations:
                self.took.add(record.pid)
            kept = log.beside(record)
            if kept is not None:
                from vespiary.prove.locks.statistics import statistics

                until = time.monotonic_ns() if was_stuck else 0
                of_process = statistics(record, kept, until)
                if of_process.acquisitions or of_process.lost:
                    self.figures.append(of_process)
                self.coverage.lost["acquisitions"] += kept.lost
                kept.close()

    def living(self) -> list[int]:
        pids = (record.pid for record in self.watch.records)
        return [pid for pid in pids if lives(pid)]

    def survivors(self) -> list[str]:
        """Processes of the run that live, whether they have a record yet or not."""
        mark = f"\0VESPIARY_LOCKS={self.folder}\0".encode()
        pids = set(self.living())
        for path in Path("/proc").iterdir():
            if path.name.isdigit():
                with contextlib.suppress(OSError), (path / "environ").open("rb", 0) as file:
                    if mark in b"\0" + file.read():
                        pids.add(int(path.name))
        return [f"process {pid} ({_name(pid)})" for pid in sorted(pids) if lives(pid)]


def _wait(program: Program, watcher: _Watcher) -> Finding | None:
    """Wait for the end, looking for deadlocks meanwhile."""
    while program.wait(_LOOK_SECONDS) is None:
        found = watcher.look()
        if found is not None:
            return found
    return None


def _linger(program: Program, watcher: _Watcher, seconds: float) -> Finding | None:
    """Watch the processes that outlive the command, for a while: daemons do their work there."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not program.asked_to_end and watcher.survivors():
        program.pause(_LOOK_SECONDS)
        found = watcher.look()
        if found is not None:
            return found
    return None


def _end(program: Program, watcher: _Watcher) -> None:
    """End a program that cannot go on, with all its processes that were watched."""
    program.kill()
    for pid in watcher.living():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _END_SECONDS
    while program.wait(0.01) is None or watcher.living():
        if time.monotonic() > deadline:
            return


def _gather(program: Program, stuck: Finding | None, watcher: _Watcher) -> Outcome:
    watcher.take_rest(was_stuck=stuck is not None)
    coverage = watcher.coverage
    coverage.outlived = [] if stuck else watcher.survivors()
    findings = [*filter(None, [stuck]), *watcher.stalls, *watcher.findings]
    status = program.status if program.status is not None else -signal.SIGKILL
    return Outcome(
        status,
        stuck is not None,
        ordered(findings),
        coverage,
        program.asked_to_end,
        watcher.figures,
    )


def _tell_gaps(coverage: Coverage, watcher: _Watcher, root: int, command: str) -> None:
    coverage.gaps = find(watcher.folder, root, program_of(command), watcher.tree)
    coverage.lockless = lockless(watcher.folder, watcher.took)


def merge(outcomes: Sequence[Outcome]) -> Outcome:
    """Several runs as one: each finding once, what was covered added up, the worst exit code."""
    status = next((outcome.status for outcome in outcomes if outcome.status), 0)
    deadlocked = any(outcome.deadlocked for outcome in outcomes)
    findings = ordered(finding for outcome in outcomes for finding in outcome.findings)
    coverage = sum((outcome.coverage for outcome in outcomes), Coverage())
    asked_to_end = any(outcome.asked_to_end for outcome in outcomes)
    figures = [each for outcome in outcomes for each in outcome.statistics]
    cores = [each for outcome in outcomes for each in outcome.cores]
    return Outcome(status, deadlocked, findings, coverage, asked_to_end, figures, cores)
