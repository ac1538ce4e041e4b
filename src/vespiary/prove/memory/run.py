"""Run a program under a limit of memory, and record what it uses."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vespiary.errors import ConfigurationError
from vespiary.prove.folders import Held
from vespiary.prove.memory.kept import Kept, Place
from vespiary.prove.memory.leftovers import end_leftovers
from vespiary.prove.memory.limiters import choose
from vespiary.prove.memory.reading import Limiter, NotPossible
from vespiary.prove.memory.record import KernelSample, ProcessRecord, Record
from vespiary.prove.memory.work import VARIABLE, WorkReports
from vespiary.prove.signals import BlockedSignals

__all__ = ["Exceeded", "Measured", "run"]

_PROCESSES_SECONDS = 0.25
_PROCESSES_SHARE = 0.1
_PROCESSES_COST_MAX = 0.05
_NEAR = 0.8
"""From this share of the limit on, processes are checked more often."""

_BIGGEST = 5
_NICE = -10
_GONE_SECONDS = 10.0


@dataclass
class Exceeded:
    """The limit was exceeded, and the program ended.

    Attributes:
        seconds: When, since the start.
        ending_seconds: How long it took until the last process was gone.
        biggest: The processes that used most when they were checked last before.
        looked_seconds: When that was.
    """

    seconds: float
    ending_seconds: float
    biggest: list[ProcessRecord]
    looked_seconds: float


@dataclass
class Measured:
    """How a run ended.

    Attributes:
        command: What was run.
        status: The program's own exit code; negative for a signal, as `subprocess` has it; -9 also
            where the process that kept the program together was killed.
        limit: Bytes; None for none.
        method: Who held the limit.
        refusals: Why no better one, by name.
        record: Memory over time.
        exceeded: Whether and how the limit was exceeded.
        left_behind: Processes that outlived the command, and were ended.
        is_keeper_lost: Whether the process that kept the program together was killed, and all
            processes were ended for that reason.
        asked_by: The signal that asked this process, and so the program, to end; None for none.
        began: When it was started, on the monotonic clock.
        seconds: From the start until the command ended.
        is_work_reported: Whether the program reported units of work.
        work_malformed: Reports that are not numbers.
        details: What else the kernel says.
    """

    command: Sequence[str]
    status: int
    limit: int | None
    method: str
    refusals: dict[str, str]
    record: Record
    exceeded: Exceeded | None = None
    left_behind: list[ProcessRecord] = field(default_factory=list)
    is_keeper_lost: bool = False
    asked_by: int | None = None
    began: float = 0.0
    seconds: float = 0.0
    is_work_reported: bool = False
    work_malformed: int = 0
    details: dict[str, object] = field(default_factory=dict)


def run(
    command: Sequence[str],
    limit: int | None = None,
    *,
    method: str | None = None,
    linger_seconds: float = 2.0,
    work_path: Path | None = None,
    variables: Mapping[str, str] | None = None,
    output: int | None = None,
    on_look: Callable[[Record, Limiter], None] = lambda record, limiter: None,
) -> Measured:
    """Run a command to its end, or until it exceeds the limit.

    Args:
        command: The words.
        limit: The most bytes that the command and all that it starts may use together; by default
            the memory is only recorded.
        method: How the limit is enforced: `cgroup-v2`, `cgroup-v1`, `systemd` or `sampling`; by
            default the first of these that is possible.
        linger_seconds: How long processes that outlive the command may run on; then they are ended.
        work_path: Where the pipe for reports of work is created, for processes that the command
            does not start; a temporary folder by default.
        variables: Its environment; this process's by default.
        output: The descriptor of its standard output and error; this process's by default.
        on_look: Called after each look at the processes, several times per second.

    In the main thread, signals that ask programs to end continue to the command meanwhile; a second
    one ends everything at once.

    Raises:
        ConfigurationError: the command cannot be started, or the method is not possible.
    """
    with Held("vespiary-memory-") as held:
        if os.geteuid() == 0:
            held.path.chmod(0o711)  # The program may become another user, and report its work.
        work = WorkReports(work_path or held.path / "work")
        environment = {**(os.environ if variables is None else variables)}
        environment[VARIABLE] = str(work.path)
        chosen = choose(limit, method)
        is_main = threading.current_thread() is threading.main_thread()
        signals = BlockedSignals() if is_main else None
        try:
            place = dataclasses.replace(chosen.limiter.place, delete=[held.path])
            watch = _Watch(
                command, limit, chosen.limiter, place, work, signals, environment, output
            )
            try:
                watch.until_over(linger_seconds, on_look)
            finally:
                watch.close()
        finally:
            chosen.limiter.close()
            work.close()
            if signals is not None:
                signals.restore()
    measured = watch.measured
    measured.refusals = chosen.refusals
    return measured


class _Priority:
    """Lets this thread look in time also where the processors are busy, as far as it may.

    It costs others little: a look is short. Where only looks find that the limit is exceeded, this
    thread runs before all ordinary ones; what it starts is ordinary (sched(7)).
    """

    def __init__(self, *, is_urgent: bool) -> None:
        self._thread = threading.get_native_id()
        self._nice = os.getpriority(os.PRIO_PROCESS, self._thread)
        self._before = os.sched_getscheduler(0), os.sched_getparam(0)
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, self._thread, min(self._nice, _NICE))
        if is_urgent:
            first = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
            with contextlib.suppress(PermissionError):
                os.sched_setscheduler(0, first, os.sched_param(1))

    def restore(self) -> None:
        """Let it run as before."""
        policy, parameters = self._before
        try:
            os.sched_setscheduler(0, policy, parameters)
        except PermissionError:  # A process that may not raise the limit may not restore it either.
            os.sched_setscheduler(0, policy | os.SCHED_RESET_ON_FORK, parameters)
        os.setpriority(os.PRIO_PROCESS, self._thread, self._nice)


class _Watch:
    """One run."""

    def __init__(
        self,
        command: Sequence[str],
        limit: int | None,
        limiter: Limiter,
        place: Place,
        work: WorkReports,
        signals: BlockedSignals | None,
        variables: Mapping[str, str],
        output: int | None,
    ) -> None:
        self._limiter = limiter
        self._work = work
        self._signals = signals
        self._record = Record()
        self._limit = limit
        self._next_processes = 0.0
        self._ended: float | None = None
        self._kept = Kept(
            command,
            variables,
            place,
            signals.before if signals is not None else None,
            output,
        )
        self._began = time.monotonic()
        is_urgent = limit is not None and limiter.method == "sampling"
        self._priority = _Priority(is_urgent=is_urgent)
        self.measured = Measured(command, 0, limit, limiter.method, {}, self._record)
        self.measured.began = self._began
        try:
            limiter.begun(self._kept.pid, self._kept.keeper)
        except NotPossible as error:
            self._kept.close()
            raise ConfigurationError(f"{limiter.method}: {error}", subject="method") from error
        self._poll = select.poll()
        self._poll.register(self._kept, select.POLLIN)
        self._poll.register(work, select.POLLIN)
        watched = limiter.watched()
        if watched is not None:
            self._poll.register(*watched)

    def _now(self) -> float:
        return time.monotonic() - self._began

    def until_over(self, linger_seconds: float, on_look: Callable[[Record, Limiter], None]) -> None:
        """Watch until nothing is left."""
        while not self._is_over(linger_seconds, on_look):
            pass

    def _is_over(self, linger_seconds: float, on_look: Callable[[Record, Limiter], None]) -> bool:
        """Wait for what happens next, and see to it; whether that was the end."""
        for descriptor, _ in self._poll.poll(self._limiter.pause() * 1000):
            if descriptor == self._kept.fileno():
                self._kept.hear()
            elif descriptor == self._work.fileno():
                self._work.read()
        if self._kept.status is not None and self._ended is None:
            self._ended = self._now()
        if self._kept.over is not None or self._limiter.is_over():
            self._exceed()
        elif self._pass_on_signals():
            self._end_all()
        elif self._kept.is_gone:
            # The kernel's mark and reports of work have what happened in the last moments.
            self._work.read()
            self._record.add(self._now(), self._limiter.look(), self._work.units)
        elif self._ended is not None and self._now() - self._ended >= linger_seconds:
            self._leave_nothing()
        else:
            self._look(on_look)
            return False
        return True

    def _pass_on_signals(self) -> bool:
        """Pass on what came; whether to end everything at once."""
        if self._signals is None:
            return False
        number = self._signals.wait(0)
        if number is not None and self._kept.status is None:
            os.kill(self._kept.pid, number)
        return self._signals.ending > 1

    def _look(self, on_look: Callable[[Record, Limiter], None]) -> None:
        now = self._now()
        reading = self._limiter.look()
        self._record.add(now, reading, self._work.units)
        if now < self._next_processes:
            return
        began = time.perf_counter()
        self._record.add_processes(now, self._limiter.processes())
        self._record.add_kernel(KernelSample(now, *self._limiter.statistics()))
        cost = time.perf_counter() - began
        is_near = self._limit is not None and reading.memory.used > _NEAR * self._limit
        # A short run is checked more often, so that something is known of it.
        between = 0.0 if is_near else min(_PROCESSES_SECONDS, _PROCESSES_SHARE * now)
        self._next_processes = now + max(between, cost / _PROCESSES_COST_MAX)
        on_look(self._record, self._limiter)

    def _exceed(self) -> None:
        """End a program that used more than it may."""
        at = self._now()
        known = self._limiter.known()
        if known:
            self._record.add_processes(at, known)
        reading = self._limiter.look()
        self._end_all()
        if self._kept.over is not None:  # The keeper was sooner.
            at = self._kept.over - self._began
        gone = (self._kept.gone or time.monotonic()) - self._began
        at = min(at, gone)  # Where the kernel ends everything, we may come to look after that.
        most = reading.memory.used if reading.mark is None else max(reading.mark, self._limit or 0)
        self._record.add(at, reading, self._work.units)
        self._record.reach(most, at)
        self.measured.exceeded = Exceeded(
            at, gone - at, self._record.biggest(_BIGGEST), self._record.seconds
        )

    def _leave_nothing(self) -> None:
        found = self._limiter.processes()
        self._record.add_processes(self._now(), found)
        self.measured.left_behind = self._record.biggest(len(found))
        self._end_all()

    def _end_all(self) -> None:
        """Kill everything, and wait until it is gone."""
        self._kept.end()
        deadline = time.monotonic() + _GONE_SECONDS
        while not self._kept.is_gone and time.monotonic() < deadline:
            for descriptor, _ in self._poll.poll(20):
                if descriptor == self._kept.fileno():
                    self._kept.hear()

    def close(self) -> None:
        """End the rest, and put down how it ended."""
        self._priority.restore()
        self.measured.details = self._limiter.details()
        if self._kept.is_keeper_lost:
            self.measured.is_keeper_lost = True
            end_leftovers(self._limiter, f"{VARIABLE}={self._work.path}")
        self._kept.close()
        status = self._kept.status
        # Without the keeper nobody knows what else the program did, so no run is a success then.
        self.measured.status = -9 if status is None or self._kept.is_keeper_lost else status
        self.measured.seconds = self._ended or self._now()
        self.measured.is_work_reported = self._work.is_reported
        self.measured.work_malformed = self._work.malformed
        if self._signals is not None:
            self.measured.asked_by = self._signals.asked_by
