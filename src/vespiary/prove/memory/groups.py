"""Control groups as limits: the kernel counts every page, and never allows more than the limit.

In both versions, the kernel's own OOM killer acts at the limit, and then all other processes are
ended at once. Version 2 does that itself (`memory.oom.group`). Version 1 kills only one process.
There the kernel wakes the keeper (an eventfd on `memory.oom_control`), which ends the others,
through `cgroup.kill` of the unified hierarchy if that is mounted too. In version 2 the keeper is
woken as well (`memory.events`), so that killed processes end soon. Without version 1's killer, the
processes could be examined before they are killed. But then system calls fail with ENOMEM and
EFAULT, and the program ends for another reason.

In version 2, only groups without children may contain processes. So the new group is created next
to our own or further up, where the memory controller is available for children and we may write. If
there is no such place, systemd moves the program into a scope, which is such a group
(systemd-run(1)).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import subprocess
import time
from pathlib import Path

from vespiary.prove.folders import SUFFIX, dead, hold
from vespiary.prove.memory.hierarchies import Hierarchy, memory_version_1, version_2
from vespiary.prove.memory.kept import Alarm, Full, Place
from vespiary.prove.memory.processes import Memory, exact_all
from vespiary.prove.memory.reading import LOOK_SECONDS, NotPossible, Reading

__all__ = ["Scope", "Version1", "Version2"]

_PREFIX = "vespiary-memory-"
_numbers = itertools.count(1)
_SCOPE_SECONDS = 10.0
_DEAD_SECONDS = 2.0
_CHARGED_AT_ONCE = 1 << 20
"""Charging in batches, the kernel may stop below the limit by less than this."""

_MARK = "memory.max_usage_in_bytes"
_KILLED_AT_LIMIT = {"oom": 1, "oom_kill": 1}
"""In `memory.events`: a kill for another group's limit counts as `oom_kill`, but not as `oom`."""


def _new_name() -> str:
    return f"{_PREFIX}{os.getpid()}-{next(_numbers)}"


def _make(parent: Path) -> tuple[Path, int]:
    """Make a group, and hold it; end and remove those of dead runs next to it."""
    for folder in dead(parent, _PREFIX):
        _end_dead(folder)

    def make() -> Path:
        folder = parent / f"{_new_name()}{SUFFIX}"
        folder.mkdir()
        return folder

    try:
        return hold(make)
    except OSError as error:
        raise NotPossible(
            f"no control group can be created in {parent} ({error.strerror})"
        ) from error


def _end_dead(group: Path) -> None:
    """End what runs in a group whose run and keeper were killed, and remove it."""
    deadline = time.monotonic() + _DEAD_SECONDS
    while group.exists() and time.monotonic() < deadline:
        for path, _, _ in os.walk(group, topdown=False):
            for pid in _pids(Path(path) / "cgroup.procs"):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                Path(path).rmdir()
        if group.exists():
            time.sleep(0.005)


def _fields(path: Path) -> dict[str, int]:
    """A file of lines with a name and a number; empty when it is gone."""
    try:
        return {
            name: int(number)
            for name, number in (line.split() for line in path.read_text().splitlines())
        }
    except OSError:
        return {}


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def _pids(path: Path) -> set[int]:
    """The processes of a group; those of another namespace have the number 0, and are omitted."""
    try:
        return set(map(int, path.read_text().split())) - {0}
    except OSError:
        return set()


def _pressure(path: Path) -> dict[str, float]:
    """Shares of the last 10 seconds that processes waited for memory (PSI), in percent."""
    with contextlib.suppress(OSError, ValueError):
        lines = [line.split() for line in path.read_text().splitlines()]
        return {words[0]: float(words[1].partition("=")[2]) for words in lines}
    return {}


class _Group:
    """What the groups of both versions have in common; a subclass sets `_folder`."""

    _folder: Path

    def begun(self, pid: int, keeper: int) -> None:
        """Nothing to do: the program has joined by itself."""

    def pause(self) -> float:
        """How long to wait until the next look."""
        return LOOK_SECONDS

    def watched(self) -> tuple[int, int] | None:
        """Nothing: the keeper is woken."""
        return None

    def processes(self) -> dict[int, Memory]:
        """The memory of each process of the group, and of those that the program made in it."""
        folders = (Path(path) for path, _, _ in os.walk(self._folder))
        return exact_all(set().union(*(_pids(folder / "cgroup.procs") for folder in folders)))

    def known(self) -> dict[int, Memory]:
        """Nothing: the kernel has killed already."""
        return {}


class Version2(_Group):
    """A group of the unified hierarchy."""

    method = "cgroup-v2"

    def __init__(self, limit: int | None, hierarchy: Hierarchy | None = None) -> None:
        """Make the group.

        Raises:
            NotPossible: it cannot be made here.
        """
        hierarchy = hierarchy or version_2()
        if hierarchy is None:
            raise NotPossible("cgroup v2 is not mounted")
        self._limit = limit
        self._folder, self._holds = _make(self._parent(hierarchy))
        events = self._folder / "memory.events"
        try:
            self._set(limit)
            self._open()
            self._alarm = os.open(events, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            self._folder.rmdir()
            os.close(self._holds)
            raise NotPossible(f"the group's limit cannot be set ({error.strerror})") from error
        self.place = Place(
            enter=[self._folder / "cgroup.procs"],
            kill=[self._folder / "cgroup.kill"],
            remove=[self._folder],
            alarm=Alarm(self._alarm, select.POLLPRI, events, _KILLED_AT_LIMIT),
            full=None if limit is None else self._full(limit),
        )

    def _full(self, limit: int) -> Full:
        return Full(
            limit,
            self._folder / "memory.current",
            self._folder / "memory.stat",
            ("anon", "shmem"),
            {"file": 1, "shmem": -1, "slab_reclaimable": 1},
            self._folder / "memory.events",
            "max",
        )

    @staticmethod
    def _parent(hierarchy: Hierarchy) -> Path:
        """The nearest group whose children have the memory controller and that we may write to."""
        why = f"no memory controller in {hierarchy.top}"
        for folder in (hierarchy.own, *hierarchy.own.parents):
            if not folder.is_relative_to(hierarchy.top):
                break
            try:
                passed_on = (folder / "cgroup.subtree_control").read_text().split()
            except OSError:
                continue
            if "memory" not in passed_on:
                continue
            if os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK):
                return folder
            why = f"{folder} belongs to another user"
        raise NotPossible(why)

    def _set(self, limit: int | None) -> None:
        (self._folder / "memory.oom.group").write_text("1")
        if limit is not None:
            (self._folder / "memory.max").write_text(str(limit))
            with contextlib.suppress(FileNotFoundError):  # A kernel without swap.
                (self._folder / "memory.swap.max").write_text("0")

    def _open(self) -> None:
        self._events = os.open(self._folder / "memory.events", os.O_RDONLY | os.O_CLOEXEC)
        self._has_peak = (self._folder / "memory.peak").exists()

    def is_over(self) -> bool:
        """Whether the kernel has killed at the limit."""
        counts = self._counts(self._events)
        return all(counts.get(name, 0) >= least for name, least in _KILLED_AT_LIMIT.items())

    @staticmethod
    def _counts(events: int) -> dict[str, int]:
        try:
            text = os.pread(events, 4096, 0).decode()
        except OSError:
            return {}
        return {name: int(count) for name, count in map(str.split, text.splitlines())}

    def look(self) -> Reading:
        """The memory of the group."""
        fields = _fields(self._folder / "memory.stat")
        shared = fields.get("shmem", 0)
        parts = ("slab", "kernel_stack", "pagetables", "percpu", "vmalloc")
        kernel = fields.get("kernel", sum(fields.get(name, 0) for name in parts))
        swapped = _number(self._folder / "memory.swap.current")
        memory = Memory(
            fields.get("anon", 0) + swapped, shared, max(0, fields.get("file", 0) - shared)
        )
        mark = _number(self._folder / "memory.peak") if self._has_peak else None
        return Reading(memory, kernel + fields.get("sock", 0), mark)

    def statistics(self) -> tuple[dict[str, int], dict[str, float]]:
        """The kernel's own: `memory.stat` and the pressure."""
        pressure = _pressure(self._folder / "memory.pressure")
        return _fields(self._folder / "memory.stat"), pressure

    def details(self) -> dict[str, object]:
        """How many processes the kernel has killed, and its statistics at the end."""
        stat, pressure = self.statistics()
        kills = self._counts(self._events).get("oom_kill", 0)
        return {"kills": kills, "memory_stat": stat, "pressure_percent": pressure}

    def close(self) -> None:
        """Release the group, which the keeper removes."""
        os.close(self._events)
        os.close(self._alarm)
        with contextlib.suppress(OSError):
            self._folder.rmdir()
        os.close(self._holds)


class Scope(Version2):
    """A group that systemd makes for us: a scope of the user's manager."""

    method = "systemd"

    def __init__(self, limit: int | None) -> None:
        """Ask systemd whether it would.

        Raises:
            NotPossible: it would not.
        """
        hierarchy = version_2()
        if hierarchy is None:
            raise NotPossible("cgroup v2 is not mounted")
        self._top = hierarchy.top
        self._limit = limit
        self._unit = f"{_new_name()}.scope"
        whose = [] if os.geteuid() == 0 else ["--user"]
        words = ["systemd-run", *whose, "--scope", "--quiet", "--collect"]
        if limit is not None:
            words += ["-p", f"MemoryMax={limit}", "-p", "MemorySwapMax=0"]
        try:
            done = subprocess.run(
                [*words, "-p", "MemoryAccounting=yes", "--", "cat", "/proc/self/cgroup"],
                capture_output=True,
                text=True,
                timeout=_SCOPE_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotPossible(f"systemd-run cannot be used ({error})") from error
        if done.returncode != 0:
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise NotPossible(f"systemd-run: {said[-1]}")
        self.place = Place(prefix=[*words, f"--unit={self._unit}", "--"])

    def begun(self, pid: int, keeper: int) -> None:
        """Find the scope that the program is in."""
        deadline = time.monotonic() + _SCOPE_SECONDS
        while time.monotonic() < deadline:
            try:
                lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
            except OSError:
                break
            path = next((line[3:] for line in lines if line.startswith("0::")), "")
            if path.endswith(self._unit):
                self._folder = self._top / path.lstrip("/")
                break
            time.sleep(0.002)
        else:
            raise NotPossible("systemd did not create a scope")
        if not hasattr(self, "_folder"):
            raise NotPossible("the program ended before systemd had moved it into its scope")
        with contextlib.suppress(OSError):
            (self._folder / "memory.oom.group").write_text("1")
        self._open()
        above = self._folder.parent / "memory.events"
        self._above = os.open(above, os.O_RDONLY | os.O_CLOEXEC)
        self._kills_above = self._counts(self._above).get("oom_kill", 0)

    def watched(self) -> tuple[int, int] | None:
        """The descriptor of the kernel's events, and what to poll it for."""
        return self._events, select.POLLPRI

    def is_over(self) -> bool:
        """Whether the kernel has killed at the limit.

        systemd removes a scope at once when its last process has been killed. Then the group above
        knows, which counts the kills below it too.
        """
        kills_above = self._counts(self._above).get("oom_kill", 0)
        if self._counts(self._events):
            if super().is_over():
                return True
            self._kills_above = kills_above
            return False
        return kills_above > self._kills_above

    def close(self) -> None:
        """Release the scope, which systemd removes."""
        if hasattr(self, "_above"):
            os.close(self._above)
            os.close(self._events)


class Version1(_Group):
    """A group of version 1's memory controller, with one of version 2 where that is mounted."""

    method = "cgroup-v1"

    def __init__(
        self,
        limit: int | None,
        hierarchy: Hierarchy | None = None,
        unified: Hierarchy | None = None,
    ) -> None:
        """Make the group.

        Raises:
            NotPossible: it cannot be made here.
        """
        hierarchy = hierarchy or memory_version_1()
        if hierarchy is None:
            raise NotPossible("cgroup v1 has no memory controller")
        unified = unified or version_2()
        self._limit = limit
        self._folder, holds = _make(hierarchy.own)
        self._holds = [holds]
        self._beside: Path | None = None
        if unified is not None:
            with contextlib.suppress(NotPossible):
                self._beside, holds = _make(unified.own)
                self._holds.append(holds)
        folders = [folder for folder in (self._folder, self._beside) if folder is not None]
        try:
            if limit is not None:
                (self._folder / "memory.limit_in_bytes").write_text(str(limit))
                with contextlib.suppress(FileNotFoundError):  # A kernel without swap accounting.
                    (self._folder / "memory.memsw.limit_in_bytes").write_text(str(limit))
            self._notified = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._control = os.open(self._folder / "memory.oom_control", os.O_RDONLY)
            (self._folder / "cgroup.event_control").write_text(f"{self._notified} {self._control}")
            alarm, full = None, None
            if limit is not None:
                full = self._full(limit)
                mark = {"": limit - _CHARGED_AT_ONCE}
                alarm = Alarm(self._notified, select.POLLIN, self._folder / _MARK, mark)
        except OSError as error:
            for folder in folders:
                folder.rmdir()
            for descriptor in self._holds:
                os.close(descriptor)
            raise NotPossible(f"the group's limit cannot be set ({error.strerror})") from error
        self.place = Place(
            enter=[folder / "cgroup.procs" for folder in folders],
            kill=[folder / "cgroup.kill" for folder in folders[1:]],
            remove=folders,
            alarm=alarm,
            full=full,
        )

    def _full(self, limit: int) -> Full:
        """With swap accounting, what is refused is refused by that limit."""
        swap = self._folder / "memory.memsw.failcnt"
        return Full(
            limit,
            self._folder / "memory.usage_in_bytes",
            self._folder / "memory.stat",
            ("total_rss", "total_shmem"),
            {"total_cache": 1, "total_shmem": -1},
            swap if swap.exists() else self._folder / "memory.failcnt",
        )

    def is_over(self) -> bool:
        """Whether the kernel has killed at this group's own limit, not at that of one around it."""
        killed = _fields(self._folder / "memory.oom_control").get("oom_kill", 0)
        mark = _number(self._folder / _MARK)
        return killed > 0 and self._limit is not None and mark + _CHARGED_AT_ONCE >= self._limit

    def look(self) -> Reading:
        """The memory of the group."""
        fields = _fields(self._folder / "memory.stat")
        shared = fields.get("total_shmem", 0)
        memory = Memory(
            fields.get("total_rss", 0) + fields.get("total_swap", 0),
            shared,
            max(0, fields.get("total_cache", 0) - shared),
        )
        kernel = _number(self._folder / "memory.kmem.usage_in_bytes")
        return Reading(memory, kernel, _number(self._folder / _MARK))

    def statistics(self) -> tuple[dict[str, int], dict[str, float]]:
        """The kernel's own: `memory.stat`, and the pressure where it is available."""
        pressure = {} if self._beside is None else _pressure(self._beside / "memory.pressure")
        fields = _fields(self._folder / "memory.stat")
        return {name: value for name, value in fields.items() if "total_" in name}, pressure

    def details(self) -> dict[str, object]:
        """How many processes the kernel has killed, and its statistics at the end."""
        stat, pressure = self.statistics()
        kills = _fields(self._folder / "memory.oom_control").get("oom_kill", 0)
        return {"kills": kills, "memory_stat": stat, "pressure_percent": pressure}

    def close(self) -> None:
        """Release the group, which the keeper removes."""
        os.close(self._notified)
        os.close(self._control)
        for folder in self.place.remove:
            with contextlib.suppress(OSError):
                folder.rmdir()
        for descriptor in self._holds:
            os.close(descriptor)
