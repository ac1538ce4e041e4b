"""The process between the tool and the program. A script by itself: `python -I -S keeper.py PLAN`.

What makes "end all of it" certain:

* Processes whose parent has ended are adopted by the nearest ancestor that is a subreaper
  (prctl(2), PR_SET_CHILD_SUBREAPER). The keeper is one. So everything that the program starts stays
  below the keeper, also what leaves the session or forks twice, and the keeper has no children left
  (ECHILD, waitpid(2)) exactly when all of it is gone.
* The tool holds the other end of a pipe. When the tool ends in any way, SIGKILL included, the pipe
  ends too, and the keeper ends the program and removes the control groups.
* The kernel wakes the keeper itself at the limit of a control group, and it ends everything without
  waiting for the tool. If it has the right, it runs before all ordinary processes (SCHED_FIFO,
  sched(7)). The processes that it has killed do too, because they need a processor to end. nice(2)
  is not enough for that: with autogroups it orders only the processes of one session.
* Before the kernel reports the limit, it tries to free pages. Where programs read files again that
  it has just freed, that may take a second. So the keeper also looks at the group itself, and ends
  everything when charges have failed for a while and next to nothing is left that could be freed.
* Should the keeper itself be killed, the kernel kills the program (PR_SET_PDEATHSIG), and the tool
  the rest.
* It is a process of its own, not a thread: it continues when the tool is stopped or busy, and the
  tool need not change itself (a subreaper that is a library would adopt its host's processes).

It imports only what it needs, since each run waits for it, and nothing of Vespiary's: it runs where
only Python is.

PLAN is JSON: `command`, `control` and `result` (descriptors), `given` (all descriptors), `mask`
(signals that the program has blocked), `enter` (files of control groups, into which a process
writes 0 to join), `kill` (files into which 1 is written to end a group), `remove` (folders of
groups), `delete` (folders that are deleted with all files in them, in the end), `alarm` and `full`
(null, or what `Alarm` and `Full` in kept.py have). From `control` come bytes: `k` ends the program,
the end of the pipe ends the keeper too. It writes JSON objects to `result`, one per line: `{"pid":
...}` or `{"errno": ...}`, `{"over": ...}` when the limit was reached, `{"status": ...}`, and
`{"gone": ...}` when nothing is left; both times are of the monotonic clock.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import time

_libc = ctypes.CDLL(None)
_SET_PARENT_DEATH_SIGNAL = 1
_SET_CHILD_SUBREAPER = 36
_PROCESS_MRELEASE = 448
"""The system call's number, which is the same on all architectures."""

_PRIORITY = -10
"""Where a real-time priority is not allowed, but this is."""

_LOOK_SECONDS = 0.02
_LOOK_SECONDS_NEAR = 0.01
_FULL_SECONDS = 0.02
"""The time for which the group must be full and charges must fail. Usually the kernel kills before
it is over."""

_FREE_BYTES = 1 << 20
"""What the kernel may keep uncharged, and what it may still find to free, in a full group."""

_UNFREEABLE = 0.9
"""The share of the limit that memory of the programs makes up in a full group."""

_REMOVE_SECONDS = 5.0
_RESENT_SECONDS = 0.001


def main() -> None:
    """Do what the plan says."""
    plan = json.loads(sys.argv[1])
    Keeper(plan).keep()


class Keeper:
    """One program and all that comes from it."""

    def __init__(self, plan: dict) -> None:  # type: ignore[type-arg]
        self._plan = plan
        self._control: int = plan["control"]
        self._result: int = plan["result"]
        self._pid = 0
        self._is_gone = False
        for descriptor in plan["given"]:
            os.set_inheritable(descriptor, False)  # Not the program's affair.
        self._poll = select.poll()
        self._poll.register(self._control, select.POLLIN)
        self._alarm: int | None = None
        if plan["alarm"] is not None:
            self._alarm, events, self._at_limit, self._least = plan["alarm"]
            self._poll.register(self._alarm, events)
        self._full = plan["full"]
        self._since: tuple[float, int] | None = None
        self._look_seconds = _LOOK_SECONDS

    def keep(self) -> None:
        """Start the program, and stay until the tool has ended."""
        _libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        try:
            self._pid = self._start()
        except OSError as error:
            self._say(errno=error.errno)
            self._is_gone = True
        else:
            self._say(pid=self._pid)
            _hurry(0)  # The program has its own priority by now.
        self._poll.register(woken, select.POLLIN)
        while True:
            seconds = None if self._full is None or self._is_gone else self._look_seconds
            ready = {number for number, _ in self._poll.poll(seconds and 1000 * seconds)}
            is_over = self._alarm in ready and self._is_at_limit()
            if is_over or (seconds is not None and self._is_full()):
                self._full = None
                self._say(over=time.monotonic())
                self._end()
            if woken in ready:
                os.read(woken, 4096)
                self._reap()
            if self._control in ready:
                is_over = not os.read(self._control, 64)
                self._end()
                if is_over:
                    break
        self._remove()

    def _is_at_limit(self) -> bool:
        """Whether the group's own limit was reached, not that of a group around it.

        Once it was, there is nothing more to wait for.
        """
        assert self._alarm is not None
        with contextlib.suppress(OSError):  # An eventfd has no position.
            os.lseek(self._alarm, 0, os.SEEK_SET)
        with contextlib.suppress(OSError):
            os.read(self._alarm, 4096)  # Or it would wake us again at once.
        try:
            numbers = _numbers(self._at_limit)
        except OSError:
            return False
        is_at_limit = all(numbers.get(name, 0) >= least for name, least in self._least.items())
        if is_at_limit:
            self._poll.unregister(self._alarm)
        return is_at_limit

    def _is_full(self) -> bool:
        """Whether charges have failed for a while, and nothing is left that could be freed."""
        limit, usage, stat, unfreeable, freeable, failures, name = self._full
        try:
            used = _numbers(usage)[""]
            self._look_seconds = _LOOK_SECONDS if 2 * used < limit else _LOOK_SECONDS_NEAR
            if used < limit - _FREE_BYTES:
                self._since = None
                return False
            numbers = _numbers(stat)
            failed = _numbers(failures)[name]
        except (OSError, KeyError):
            return False
        free = sum(sign * numbers.get(each, 0) for each, sign in freeable.items())
        fixed = sum(numbers.get(each, 0) for each in unfreeable)
        if free > _FREE_BYTES or fixed < _UNFREEABLE * limit:
            self._since = None
            return False
        now = time.monotonic()
        if self._since is None:
            self._since = now, failed
        since, before = self._since
        return now - since >= _FULL_SECONDS and failed > before

    def _start(self) -> int:
        """Start the program inside the control groups; OSError says why it cannot be."""
        failed, fail = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            self._become(fail)
        os.close(fail)
        problem = os.read(failed, 64)
        os.close(failed)
        if problem:
            os.waitpid(pid, 0)
            raise OSError(int(problem), os.strerror(int(problem)))
        return pid

    def _become(self, fail: int) -> None:
        """Turn into the program; never returns."""
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            for path in self._plan["enter"]:
                with open(path, "w") as file:  # noqa: PTH123 - pathlib would take time to import.
                    file.write("0")
            _libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._plan["mask"])
            os.execvp(self._plan["command"][0], self._plan["command"])
        except OSError as error:
            os.write(fail, str(error.errno).encode())
        finally:
            os._exit(127)

    def _reap(self) -> None:
        """Take the status of everything that has ended."""
        while not self._is_gone:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._is_gone = True
                self._say(gone=time.monotonic())
                return
            if pid == 0:
                return
            if pid == self._pid:
                self._say(status=os.waitstatus_to_exitcode(status))

    def _end(self) -> None:
        """Kill everything, and again, until nothing is left: killed parents may have forked."""
        for path in self._plan["kill"]:
            with contextlib.suppress(OSError), open(path, "w") as file:  # noqa: PTH123
                file.write("1")
        self._reap()
        freed: set[int] = set()
        while not self._is_gone:
            pids = _below(os.getpid())
            for pid in pids:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            for pid in pids:
                with contextlib.suppress(OSError):
                    _hasten(pid)
            for pid in pids:
                if pid not in freed:
                    freed.add(pid)
                    _free(pid)
            self._reap()
            if not self._is_gone:
                time.sleep(_RESENT_SECONDS)
                self._reap()

    def _remove(self) -> None:
        """Remove the control groups; the kernel needs a moment after the last process."""
        deadline = time.monotonic() + _REMOVE_SECONDS
        groups = [group for folder in self._plan["remove"] for group in _groups_below(folder)]
        for folder in groups:
            while time.monotonic() < deadline:
                try:
                    os.rmdir(folder)  # noqa: PTH106
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.005)
        for folder in self._plan["delete"]:
            _delete(folder)

    def _say(self, **facts: object) -> None:
        with contextlib.suppress(OSError):  # The tool may have ended.
            os.write(self._result, json.dumps(facts).encode() + b"\n")


def _numbers(path: str) -> dict[str, int]:
    """A file of numbers, each with a name before it; the name of a number alone is empty."""
    with open(path) as file:  # noqa: PTH123
        lines = [line.rpartition(" ") for line in file.read().splitlines()]
    return {name: int(number) for name, _, number in lines}


def _hurry(task: int) -> None:
    """Let a thread run before those of all ordinary processes; 0 is this one.

    It needs rights; without them the thread stays as it is. What it forks is ordinary again.
    """
    try:
        os.sched_setscheduler(task, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except OSError:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, task, _PRIORITY)


def _hasten(pid: int) -> None:
    """Let a killed process end soon, for which it needs a processor."""
    for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
        _hurry(int(task))


def _free(pid: int) -> None:
    """Help a killed process to free its memory (process_mrelease(2), Linux 5.15)."""
    with contextlib.suppress(OSError):
        process = os.pidfd_open(pid)
        _libc.syscall(_PROCESS_MRELEASE, process, 0)
        os.close(process)


def _groups_below(folder: str) -> list[str]:
    """A group with those below it, which a keeper that was killed has left; the lowest first."""
    return [path for path, _, _ in os.walk(folder, topdown=False)]


def _delete(folder: str) -> None:
    """Delete a folder with all that is in it; what cannot be deleted stays."""
    for path, folders, files in os.walk(folder, topdown=False):
        for name in (*files, *folders):
            full = os.path.join(path, name)  # noqa: PTH118
            is_folder = name in folders and not os.path.islink(full)  # noqa: PTH114
            with contextlib.suppress(OSError):
                (os.rmdir if is_folder else os.unlink)(full)
    with contextlib.suppress(OSError):
        os.rmdir(folder)  # noqa: PTH106


def _below(root: int) -> list[int]:
    """All processes below one."""
    found: list[int] = []
    work = [root]
    while work:
        pid = work.pop()
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
                with open(f"/proc/{pid}/task/{task}/children") as file:  # noqa: PTH123
                    children = [int(word) for word in file.read().split()]
                found += children
                work += children
    return found


if __name__ == "__main__":
    main()
