"""Which threads of a running, unprepared process wait for which.

What each thread waits for is read without stopping the process (`futexes`), so the facts are from
different moments. A cycle is reported only if each of its threads is in the same wait at a second
look, and has not run in between: the kernel counts how often a thread has yielded the processor.
Then all of them were waiting at the moment between the two looks.

A process that runs under the detector has a record. It contains the owners of Python's locks, and
the places where each lock was created and taken. Its file is one of those that the process has
mapped.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from vespiary.errors import ConfigurationError
from vespiary.prove.locks.analysis import deadlock
from vespiary.prove.locks.binaries import inspect
from vespiary.prove.locks.findings import NOTHING, Finding, LockStory, Step
from vespiary.prove.locks.futexes import Wait, wait_of
from vespiary.prove.locks.kinds import END
from vespiary.prove.locks.live import View, Watch
from vespiary.prove.locks.names import Names
from vespiary.prove.locks.outside import (
    loaded_code,
    native_stack,
    py_spy,
    python_stacks,
    variable,
)
from vespiary.prove.locks.places import Frame, Places
from vespiary.prove.locks.record import Record, RecordError
from vespiary.prove.locks.target import Target, Task, opened, process_of, task, tasks
from vespiary.prove.locks.together import Together

__all__ = ["Snapshot", "Waiting", "snapshot"]

_PROCESSES_MAX = 32
_AGAIN_SECONDS = 0.02
_INNER_WAIT = "lll_lock_wait_private"
"""Where threads wait for the locks of the C library itself: of streams, of the allocator."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A thread that waits.

    Attributes:
        tid: The thread (gettid(2)).
        name: Its name.
        process: The process that it belongs to.
        kind: What it waits for: a sort of lock, `condition`, `semaphore`, `end of a thread`,
            `futex`.
        address: Where that is.
        owners: The threads that hold it; empty where that is not recorded.
        gone: The owner's number, if it has ended.
        is_limited: Whether the wait ends by itself.
        switches: How often the thread had yielded the processor: while it stays the same, the wait
            is the same.
        stack: Where it waits, innermost first.
        python: The same in Python code.
        lock_name: What the lock is called, as a run calls it; empty where its address is all.
    """

    tid: int
    name: str
    process: int
    kind: str
    address: int
    owners: tuple[int, ...]
    gone: int | None
    is_limited: bool
    switches: int
    stack: tuple[Frame, ...] = ()
    python: tuple[Frame, ...] = ()
    lock_name: str = ""

    @property
    def lock(self) -> str:
        """What it waits for, in words."""
        return self.lock_name or f"{self.kind} at {self.address:#x}"

    @property
    def thread(self) -> str:
        """Its name and number."""
        return f"thread {self.name} ({self.tid})"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A process at one moment.

    Attributes:
        pid: The process.
        program: What it executes.
        threads: How many it has.
        waiting: Those of its threads that wait, and of other processes those that hold them up.
        circle: Those that wait for each other, in the order of waiting; empty if none do.
        findings: The deadlock, if there is one, with all that is known of it.
        notes: What cannot be seen in this process, in sentences.
        seconds: How long finding the circle took.
        is_recorded: Whether it runs under the detector.
    """

    pid: int
    program: str
    threads: int
    waiting: tuple[Waiting, ...]
    circle: tuple[Waiting, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    seconds: float
    is_recorded: bool


@dataclass
class _Look:
    """What one look at a process, and at those that it waits for, has found."""

    targets: dict[int, Target] = field(default_factory=dict)
    members: dict[int, dict[int, int]] = field(default_factory=dict)
    waits: dict[int, tuple[int, Wait]] = field(default_factory=dict)
    """By the thread: its process, and what it waits for."""


def snapshot(pid: int, *, is_watched: bool = True) -> Snapshot:
    """Look at a process.

    Args:
        pid: The process.
        is_watched: Use its record, where it has one.

    Raises:
        ConfigurationError: it cannot be looked at; the text says why and what to do.
    """
    began = time.perf_counter()
    with ExitStack() as stack:
        target = stack.enter_context(opened(pid))
        try:
            look = _look(target, stack)
        except PermissionError as error:
            raise ConfigurationError(
                f"the system calls of process {pid} cannot be read: run as root, or start the"
                f" container"
                " with --cap-add SYS_PTRACE",
                subject="pid",
                value=pid,
            ) from error
        circle = _verified(look, _circle(look.waits))
        seconds = time.perf_counter() - began
        waiting = _with_stacks(look)
        if any(not waiting[tid].owners for tid in circle):
            circle = []
        if any(each.gone is not None for each in waiting.values()):
            time.sleep(_AGAIN_SECONDS)
            waiting = {tid: _still_gone(look, each) for tid, each in waiting.items()}
        record = _record(target) if is_watched else None
        findings: list[Finding] = []
        if record is not None:
            waiting |= _recorded(record, waiting, pid)
            findings += _recorded_deadlock(record)
        elif target.is_python and waiting:
            waiting = _with_python(target, waiting)
        found = tuple(waiting[tid] for tid in circle)
        if not findings:
            findings += _findings(pid, found, waiting.values())
        return Snapshot(
            pid,
            target.program,
            len(look.members[pid]),
            tuple(waiting.values()),
            found,
            tuple(findings),
            tuple(_notes(target, record, waiting.values())),
            seconds,
            record is not None,
        )


def _look(target: Target, stack: ExitStack) -> _Look:
    """The waits of a process's threads, and of those in other processes that hold them up."""
    look = _Look()
    work = [target]
    while work:
        target = work.pop()
        threads = tasks(target.pid)
        members = {each.inner: each.tid for each in threads}
        look.targets[target.pid], look.members[target.pid] = target, members
        for each in threads:
            wait = wait_of(target, each, members)
            if wait is None:
                continue
            look.waits[each.tid] = (target.pid, wait)
            for owner in wait.owners:
                process = process_of(owner) if owner not in members.values() else None
                is_new = process is not None and process not in look.targets
                if process is not None and is_new and len(look.targets) < _PROCESSES_MAX:
                    try:
                        work.append(stack.enter_context(opened(process)))
                    except ConfigurationError:
                        continue  # Its own waits may not be looked at.
    return look


def _circle(waits: Mapping[int, tuple[int, Wait]]) -> list[int]:
    """Threads of which each waits, without a limit, for the next."""
    done: set[int] = set()
    for start in waits:
        path: list[int] = []
        work = [(start, 0)]
        while work:
            tid, depth = work.pop()
            del path[depth:]
            if tid in path:
                return path[path.index(tid) :]
            if tid in done or tid not in waits or waits[tid][1].is_limited:
                continue
            done.add(tid)
            path.append(tid)
            work += [(owner, depth + 1) for owner in waits[tid][1].owners]
    return []


def _verified(look: _Look, circle: list[int]) -> list[int]:
    """The circle if all of it waited at the same time."""
    for tid in circle:
        process, wait = look.waits[tid]
        try:
            now = task(process, tid)
        except OSError:
            return []
        again = wait_of(look.targets[process], now, look.members[process])
        if again is None or again.owners != wait.owners or now.switches != wait.task.switches:
            return []
    return circle


def _still_gone(look: _Look, waiting: Waiting) -> Waiting:
    """The wait, without an owner that has ended if a second look does not find the same."""
    if waiting.gone is None:
        return waiting
    try:
        now = task(waiting.process, waiting.tid)
    except OSError:
        return replace(waiting, gone=None)
    again = wait_of(look.targets[waiting.process], now, look.members[waiting.process])
    is_same = (
        again is not None
        and (again.address, again.gone) == (waiting.address, waiting.gone)
        and now.switches == waiting.switches
    )
    return waiting if is_same else replace(waiting, gone=None)


def _with_stacks(look: _Look) -> dict[int, Waiting]:
    modules = {pid: loaded_code(target) for pid, target in look.targets.items()}
    found = {}
    for tid, (process, wait) in look.waits.items():
        target = look.targets[process]
        stack = native_stack(target, modules[process], wait.task.call)
        found[tid] = _waiting(target, wait, stack)
    return found


def _waiting(target: Target, wait: Wait, stack: tuple[Frame, ...]) -> Waiting:
    kind = wait.kind
    if kind == "futex" and not target.is_musl:
        kind = _kind(stack)
    owners, gone = wait.owners, wait.gone
    if any(_INNER_WAIT in frame.function for frame in stack[:4]):
        # Its owner is nowhere, or is the address of the C library's own data of a thread.
        kind, owners, gone = "lock of the C library", (), None
    if not any("pthread_mutex" in frame.function for frame in stack[:4]):
        gone = None
    each: Task = wait.task
    called = variable(target, wait.address)
    return Waiting(
        each.tid,
        each.name,
        target.pid,
        kind,
        wait.address,
        owners,
        gone,
        wait.is_limited,
        each.switches,
        stack,
        lock_name=f"{kind} {called}" if called else "",
    )


def _kind(stack: Sequence[Frame]) -> str:
    """What a thread waits for whose futex says nothing, by the C library's functions."""
    for part, kind in (
        ("take_gil", "GIL"),
        ("PyThread_acquire_lock", "Python lock"),
        ("PyMutex_Lock", "PyMutex"),
        ("cond_", "condition"),
        ("rwlock", "read-write lock"),
        ("sem_", "semaphore"),
        ("barrier", "barrier"),
    ):
        if any(part in frame.function for frame in stack[:5]):
            return kind
    return "futex"


def _with_python(target: Target, waiting: Mapping[int, Waiting]) -> dict[int, Waiting]:
    program = py_spy()
    stacks = python_stacks(program, target.pid) if program else {}
    return {tid: replace(each, python=stacks.get(tid, ())) for tid, each in waiting.items()}


def _record(target: Target) -> Record | None:
    """The record of a process that runs under the detector: the newest that it has mapped."""
    for file in sorted(target.files, reverse=True):
        if file.endswith(".locks"):
            for path in (Path(file), Path(f"/proc/{target.pid}/root{file}")):
                try:
                    record = Record(path)
                except (RecordError, OSError, ValueError):
                    continue
                if record.pid == target.pid:
                    return record
                record.close()
    return None


def _recorded(record: Record, waiting: Mapping[int, Waiting], pid: int) -> dict[int, Waiting]:
    """The waits that the record knows, with owners and stacks."""
    view = View(Together([record]))
    places = Places(record)
    names = Names(view.together)
    found = {}
    for thread in record.threads():
        if thread.waiting is None or not thread.alive:
            continue
        lock = record.lock(thread.waiting)
        is_task = thread.carrier is not None
        before = None if is_task else waiting.get(thread.tid)
        frames = tuple(places.stack(thread.waiting_stack))
        # A thread carries many tasks: they have numbers of their own, below zero.
        found[-1 - thread.number if is_task else thread.tid] = Waiting(
            thread.tid,
            f"task {thread.name}" if is_task else thread.name,
            pid,
            END if lock.life else lock.kind,
            lock.address,
            tuple(holder.tid for holder in view.holders(thread.waiting)),
            None,
            False,
            before.switches if before else 0,
            frames or (before.stack if before else ()),
            lock_name=names.lock(thread.waiting),
        )
    return found


def _recorded_deadlock(record: Record) -> list[Finding]:
    watch = Watch([record])
    watch.look()
    time.sleep(_AGAIN_SECONDS)
    found = watch.look()
    return [deadlock(*found)] if found is not None else []


def _findings(pid: int, circle: Sequence[Waiting], waiting: Iterable[Waiting]) -> list[Finding]:
    """What an unprepared process's waits come to."""
    if circle:
        title = f"{len(circle)} threads wait for each other"
        advice = "choose one order for these locks and keep it everywhere"
        if len(circle) == 1:
            title = "a thread waits for a lock that it holds itself"
            advice = "release it first, or make it recursive"
        return [_finding(pid, title, advice, circle)]
    # One finding for each lock, however many threads wait for it.
    orphans: dict[tuple[int, int | None], list[Waiting]] = {}
    for each in waiting:
        if each.gone is not None:
            orphans.setdefault((each.address, each.gone), []).append(each)
    return [
        _finding(
            pid,
            "a thread waits for a lock whose owner has ended",
            "release it on every path on which a thread can end",
            those,
        )
        for those in orphans.values()
    ]


def _finding(pid: int, title: str, advice: str, circle: Sequence[Waiting]) -> Finding:
    names = dict.fromkeys((each.lock, each.kind) for each in circle)
    locks = [LockStory(name, kind, []) for name, kind in names]
    steps = [
        Step(
            each.thread,
            NOTHING if each.gone is not None else circle[position - 1].lock,
            [],
            each.lock,
            list(each.python or each.stack),
        )
        for position, each in enumerate(circle)
    ]
    return Finding("deadlock", title, advice, pid, locks, steps)


def _notes(target: Target, record: Record | None, waiting: Iterable[Waiting]) -> Iterable[str]:
    """What cannot be seen in this process."""
    if target.is_musl:
        yield "musl keeps the owner of its recursive, error-checking and robust mutexes only"
    binary = inspect(target.program)
    if binary.is_go:
        yield "Go's locks keep no owner; send it SIGQUIT to see where its goroutines wait"
    if binary.is_rust:
        yield "the mutexes of Rust's standard library keep no owner"
    if any(each.kind == "read-write lock" and not each.owners for each in waiting):
        yield "a read-write lock counts its readers, and does not say who they are"
    if target.is_python and record is None:
        yield (
            "Python's locks keep no owner; of a process that runs under `vespiary locks` they are"
            " known, and attach shows them"
        )
        if py_spy() is None:
            yield "the Python code that waits: py-spy would tell it (pip install py-spy)"
