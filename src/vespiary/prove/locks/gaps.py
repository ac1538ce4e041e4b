"""What a run did not cover, found from its notes, its processes and the files that they had loaded.

Three things are not seen: processes into which the library is not loaded; code in watched processes
that builds its locks without pthreads; and locks inside an interpreter. Each is reported only if it
occurred in this run.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from vespiary.prove.locks.binaries import inspect
from vespiary.prove.locks.notes import Execution, Note, loaded, notes, unanswered
from vespiary.prove.locks.preload import LIBRARY
from vespiary.prove.locks.tree import Tree

__all__ = ["Gap", "find", "lockless", "of_interpreters", "program_of", "sentences"]

_OLDEST, _NEWEST = (3, 11), (3, 14)
"""The versions of CPython whose locks are watched."""

_OWN_LOCKS = {
    "libglib-2.0.so": "GLib's GMutex and GRWLock",
    "libQt5Core.so": "Qt's QMutex and QReadWriteLock",
    "libQt6Core.so": "Qt's QMutex and QReadWriteLock",
    "libgomp.so": "OpenMP's locks (GNU)",
    "libomp.so": "OpenMP's locks (LLVM)",
    "libiomp5.so": "OpenMP's locks (Intel)",
    "libtbb.so": "the mutexes of oneTBB",
    "libabsl_synchronization.so": "Abseil's Mutex",
    "libjvm.so": "Java's monitors",
    "libcoreclr.so": ".NET's monitors",
    "libgo.so": "Go's locks",
}
"""Libraries that make their locks of atomics and futexes, by the beginning of the file's name."""

_CPP_LIBRARIES = ("libstdc++", "libc++")
"""They have for everybody what only some programs use."""

_WATCHED_FUTEXES = (LIBRARY, "libstdc++.so", "libc++.so", "libc++abi.so", "libc.so.6", "ld-linux")
"""Files that wait on futexes for what is watched: futures, static variables, and the C library."""

_FUTEX = "Futex "
"""What a note begins with of a file that waits on futexes."""

_PARTLY_SEEN = {
    "Stream": "the locks of streams while fprintf and similar functions hold them",
    "Cookie": "the locks of streams while functions of the program's run in them (fopencookie)",
    "Filter": "child processes forked after system calls were restricted (seccomp)",
    "Private": "orders between processes of locks in shared memory without PTHREAD_PROCESS_SHARED",
}
"""By the note of its use."""

_NOT_SEEN_IN_PYTHON = {
    "Signal": "Python locks that another thread released, which count as notifications",
    "TaskSemaphore": "asyncio's semaphores that began with another value than 1, or were signals",
    "Semaphore": "threading's semaphores that began with another value than 1, or were signals",
    "NativeInTask": "orders from asyncio's locks to native locks",
    "SimpleQueue": "waits in queue.SimpleQueue, which was used",
    "interpreters": "of several interpreters, locks that end are noticed in the first alone,"
    " and GILs of their own are not watched",
}
"""By the note of its use: parts of an interpreter."""

_SCHEDULERS = {
    "trio": "the locks of trio's tasks",
    "anyio": "the locks of anyio's tasks",
    "gevent": "gevent's greenlets, which are taken for the thread that they run on",
    "eventlet": "eventlet's greenlets, which are taken for the thread that they run on",
}
"""Python modules that schedule by themselves, when they were imported."""


class Gap(NamedTuple):
    """Something that was not covered.

    Attributes:
        kind: `process`: a process that was not watched; `code`: code in a watched one whose locks
            are not seen; `python`: the same of an interpreter.
        why: Why, or which locks.
        what: A program or a file.
    """

    kind: Literal["process", "code", "python"]
    why: str
    what: str


def program_of(command: str) -> str:
    """The file that a command names."""
    return os.path.realpath(shutil.which(command) or command)


def find(folder: Path, root: int, program: str, tree: Tree | None = None) -> Counter[Gap]:
    """What a run did not cover, each with how many processes it is about.

    Args:
        folder: Where its notes are.
        root: The first process, and the program it executed.
        program: The same.
        tree: What was seen of its processes while they lived.
    """
    found = notes(folder)
    answers = loaded(found)
    gaps: Counter[Gap] = Counter()
    for execution in _unwatched(found, root, program, tree):
        gaps[Gap("process", _why(execution), execution.program)] += 1
    for files in _files(found, answers, tree).values():
        for file in files:
            gaps.update(Gap("code", locks, file) for locks in _own_locks(file))
    gaps.update(of_interpreters(found))
    gaps.update(_used(found, answers))
    return gaps


def _unwatched(
    found: Sequence[Note], root: int, program: str, tree: Tree | None
) -> Iterable[Execution]:
    """One execution a process; what was executed counts before what was seen to run."""
    by_process = {}
    if tree is not None:
        by_process = {each.pid: each for each in tree.unwatched(loaded(found))}
    by_process.update((each.pid, each) for each in unanswered(found, root, program))
    return by_process.values()


def _why(execution: Execution) -> str:
    """Why the library did not come into a process."""
    binary = inspect(execution.program)
    machine = os.uname().machine
    if execution.is_confined:
        return "it was forked after chroot(2), where the detector cannot write a record"
    if binary.machine and (binary.machine != machine or binary.bits != 64):
        why = f"built for {binary.machine}, {binary.bits} bits; what is preloaded is {machine}'s"
    elif binary.machine and not binary.interpreter:
        why = "statically linked; `vespiary locks attach PID` can look at it while it runs"
        if binary.is_go:
            why = "written in Go, which makes its own locks"
    elif "musl" in binary.interpreter:
        why = "linked with musl; what is preloaded is for glibc"
    elif execution.is_stripped:
        why = "started with its own environment, without LD_PRELOAD or VESPIARY_LOCKS"
    elif binary.is_privileged:
        why = "it gets other rights when it is executed (setuid): nothing is preloaded then"
    elif not Path(execution.program).exists():
        why = "the library was not loaded, and the program does not exist any more"
    else:
        why = "the library was not loaded: its environment was changed, or it ended at once"
    return why


def _files(
    found: Iterable[Note], answers: dict[int, list[Note]], tree: Tree | None
) -> dict[int, set[str]]:
    """What watched processes consist of: the program, and what was loaded."""
    files: dict[int, set[str]] = defaultdict(set)
    for pid, of_process in answers.items():
        files[pid].update(note.text for note in of_process)
    for note in found:
        if note.kind == "M":
            files[note.pid].update(note.text.split("\n"))
    if tree is not None:
        for pid, seen in tree.modules.items():
            files[pid] |= {file for file in seen if ".so" in Path(file).name}
    return files


def _own_locks(file: str) -> Iterator[str]:
    """Locks in a loaded file that are not pthreads'."""
    name = Path(file).name
    if name == LIBRARY:
        return
    for library, locks in _OWN_LOCKS.items():
        if name.startswith(library):
            yield locks
    binary = inspect(file)
    if binary.is_go:
        yield "Go's locks"
    if binary.is_rust:
        yield "the mutexes of Rust's standard library"
    if binary.waits_on_atomics and not name.startswith(_CPP_LIBRARIES):
        yield "latches, barriers, semaphores and waits on atomics of C++20"
    if binary.has_boost_locks:
        yield "Boost's shared_mutex, of which only the mutex within is watched"
    if "PyMutex_Lock" in binary.imports and not name.startswith("libpython"):
        yield "PyMutex"


def _used(found: Iterable[Note], answers: dict[int, list[Note]]) -> Iterator[Gap]:
    """What a process has used of which not everything is seen, by its own notes."""
    for note in found:
        if note.kind != "U":
            continue
        if note.text in _PARTLY_SEEN:
            yield Gap("code", _PARTLY_SEEN[note.text], _program(note.pid, answers))
        elif note.text == "loader":
            yield Gap("code", "the dynamic loader's lock, which was not found", "the C library")
        elif note.text.startswith(_FUTEX):
            file = note.text.removeprefix(_FUTEX)
            is_known = Path(file).name.startswith(_WATCHED_FUTEXES) or any(_own_locks(file))
            if not is_known:
                yield Gap("code", "its own locks, which are made of atomics and futexes", file)


def of_interpreters(found: Iterable[Note]) -> Iterator[Gap]:
    """What is not seen of interpreters: each process has one."""
    names: dict[int, str] = {}
    for note in found:
        if note.kind == "P":
            number = re.match(r"(\d+)\.(\d+)\S*", note.text)
            version = (int(number[1]), int(number[2])) if number else (0, 0)
            names[note.pid] = name = f"CPython {number[0] if number else note.text}"
            if "i" in note.flags or not _OLDEST <= version <= _NEWEST:
                oldest, newest = ("{}.{}".format(*each) for each in (_OLDEST, _NEWEST))
                yield Gap("python", f"watched are the locks of CPython {oldest} to {newest}", name)
            yield Gap("python", "the locks inside buffered files", name)
            if version >= (3, 13):
                yield Gap("python", "the interpreter's own PyMutexes", name)
            if "free-threading" in note.text:
                yield Gap("python", "a GIL that it enables while it runs", name)
                if version >= (3, 14):
                    yield Gap("python", "since 3.14 it has not been tested without a GIL", name)
        elif note.kind == "U":
            why = _SCHEDULERS.get(note.text) or _NOT_SEEN_IN_PYTHON.get(note.text, "")
            if why:
                yield Gap("python", why, names.get(note.pid, "CPython"))


def lockless(folder: Path, took: Collection[int]) -> Counter[str]:
    """Watched programs that took no lock, with how many processes.

    A process that executed another program is counted as that one.

    Args:
        folder: Where the run's notes are.
        took: The processes that did.
    """
    answers = loaded(notes(folder))
    return Counter(Path(_program(pid, answers)).name for pid in answers if pid not in took)


def _program(pid: int, answers: dict[int, list[Note]]) -> str:
    of_process = answers.get(pid)
    return of_process[-1].text if of_process else f"process {pid}"


_HEADS = {
    "process": "{what}: not watched: {why}",
    "code": "{why} (in {what})",
    "python": "{why} ({what})",
}
_NAMED_MAX = 5


def sentences(gaps: Counter[Gap]) -> list[str]:
    """A sentence a reason, with the programs or files that it is about."""
    by_reason: dict[tuple[str, str], list[tuple[str, int]]] = defaultdict(list)
    for gap, count in sorted(gaps.items()):
        by_reason[gap.kind, gap.why].append((gap.what, count))
    return [
        _HEADS[kind].format(what=_named(subjects, kind), why=why)
        for (kind, why), subjects in sorted(by_reason.items(), key=lambda each: _rank(each[0][0]))
    ]


def _rank(kind: str) -> int:
    return list(_HEADS).index(kind)


def _named(subjects: Sequence[tuple[str, int]], kind: str) -> str:
    """The programs, with how many processes each where there are several; files by name alone."""
    names = Counter[str]()
    for what, count in subjects:
        names[what if kind == "process" else Path(what).name] += count
    texts = [
        f"{name} ({count} processes)" if count > 1 and kind == "process" else name
        for name, count in names.items()
    ]
    if len(texts) > _NAMED_MAX:
        return f"{', '.join(texts[:_NAMED_MAX])} and {len(texts) - _NAMED_MAX} more"
    return ", ".join(texts)
