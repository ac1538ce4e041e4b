"""The supervisor of a server's worker processes.

**Fork.** The supervisor binds the sockets, and then forks each worker, before there is any engine,
loop or thread. So a handler may be any object that the program has made, with what it has loaded,
and no import or configuration can differ between the workers; memory that nobody changes is shared.
To start each worker as a new program (spawn) would need a handler that can be imported by name, and
a main module that does nothing when it is imported. The price: what a fork does not carry over is
an error before the first one (`check_fork`), and the supervisor itself stays what can be forked
again at any time, one thread without a loop, which waits in `select`.

**Ends.** Every way in which a process can end leaves nothing behind:

* A worker ends: its descriptor (pidfd_open(2)) becomes readable, its status is collected, and
  another takes its place: at once, or after a wait where it has ended soon after its start.
* A worker does not start in time (`start_seconds`): its stacks are logged, and it is killed.
* A worker cannot start: at the start of the server that ends everything, with an error. Later it is
  tried again, with waits, up to `start_failures_max`; then the server stops with an error.
* A worker hangs: its event loop is blocked for `hang_seconds`. Its stacks are logged, and it is
  killed.
* A worker has closed its descriptors, by mistake: it is killed.
* A worker has more memory than it may: it drains, and another takes its place meanwhile.
* The supervisor gets SIGTERM or SIGINT: all workers drain. A second signal ends them at once, and
  what has not ended some seconds later is killed.
* A worker stops, for whatever reason, and does not end: it is killed when it hangs, or when
  `drain_seconds` and then `stop_seconds` have passed. This holds in every state, even while it
  still starts. Its stacks are logged.
* The supervisor is killed: the kernel kills the workers.

SIGHUP, which reads certificates again, is passed on to the workers, at the latest when they serve.
The supervisor reads them too, for the workers that it forks later; and it rotates the secret of
session tickets, which all workers share.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from vespiary.errors import ConfigurationError, WorkerFailed
from vespiary.workers._backplane import Inboxes
from vespiary.workers._board import Board, State, Word
from vespiary.workers._processes import (
    Place,
    Process,
    capital,
    check_fork,
    fork,
    keep_exit_statuses,
    new_process,
    told_status,
    why_to_kill,
)
from vespiary.workers._worker import FORCE, HAND_OVER, SERVING, STOP, Worker, end_worker

if TYPE_CHECKING:
    from vespiary.server import Server
    from vespiary.tls import ServerTLS
    from vespiary.workers._board import Slot
    from vespiary.workers._options import Workers

__all__ = ["Supervisor"]

logger = logging.getLogger("vespiary")

_LOOK_SECONDS = 0.5
"""How often workers are checked: a hang or too much memory is noticed this much later."""
_FORCE_SECONDS = 5.0
"""How long a worker has to end at once."""
_YOUNG_SECONDS = 60.0
"""A worker that ends within this time after its start is replaced after a wait."""
_FIRST_WAIT_SECONDS = 1.0


class Supervisor:
    """Starts the workers of a server, and replaces those that end, until the server stops."""

    def __init__(
        self,
        server: Server,
        settings: Workers,
        driver: str | None,
        spin_microseconds: int,
        on_serving: Callable[[Sequence[str]], object] | None,
        board: Board | None = None,
    ) -> None:
        self._server = server
        self._settings = settings
        self._driver, self._spin_microseconds = driver, spin_microseconds
        self._on_serving = on_serving
        self._places = [Place(number) for number in range(1, settings.count + 1)]
        self._processes: set[Process] = set()
        self.board = board or Board(settings.count, server.urls)
        self._inboxes = Inboxes(self.board.count)
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._received: deque[signal.Signals] = deque()
        self._stop_signals = 0
        self._requests = 0
        self._heeded = 0
        self._has_served = False
        self._failure: WorkerFailed | None = None

    def run(self, *, signals: bool) -> None:
        """Run until the server is stopped.

        Raises:
            WorkerFailed: a worker could not start.
            RuntimeError: this process cannot be forked.
        """
        keep_exit_statuses()
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, self._drain_wakes)
        try:
            with self._signals() if signals else contextlib.nullcontext():
                while not self._is_over:
                    self._start_due()
                    self._wait()
                    self._look()
        finally:
            self._end_processes()
        if self._failure is not None:
            raise self._failure

    def stop_soon(self) -> None:
        """Stop all workers; a second call ends them at once. A signal handler may call this."""
        self._requests += 1
        self._wake_up()

    def _wake_up(self) -> None:
        with contextlib.suppress(OSError):
            self._wake.send(b"\0")

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        before = {}
        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, self._on_signal)
        if self._certificates and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
            before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._on_signal)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Note a signal, and do nothing more.

        A handler may interrupt the writing of a log line, and the file refuses another one then.
        """
        del frame
        self._received.append(signal.Signals(number))
        if number == signal.SIGHUP:
            self._wake_up()
        else:
            self.stop_soon()

    def _heed_signals(self) -> None:
        """Log the signals that have come, and let workers read their certificates on SIGHUP."""
        while self._received:
            number = self._received.popleft()
            if number == signal.SIGHUP:
                self._pass_on_hangup()
                continue
            again = " again" if self._stop_signals else ""
            logger.info("Received %s%s", number.name, again)
            self._stop_signals += 1

    def _pass_on_hangup(self) -> None:
        for tls in self._certificates:
            # The workers log what is wrong.
            with contextlib.suppress(ConfigurationError, OSError):
                tls.reload()
        for process in self._processes:
            if process.is_serving:
                process.signal(signal.SIGHUP)
            else:
                process.has_missed_hangup = True

    @property
    def _certificates(self) -> list[ServerTLS]:
        return [site.tls for site in self._server._sites if site.tls is not None]

    @property
    def _is_stopping(self) -> bool:
        return self._requests > 0

    @property
    def _is_over(self) -> bool:
        return self._is_stopping and not self._processes

    def _wait(self) -> None:
        for key, _ in self._selector.select(self._seconds_to_next()):
            key.data()

    def _seconds_to_next(self) -> float:
        starts = [] if self._is_stopping else [place.start_at for place in self._places]
        kills = [process.kill_at for process in self._processes if not process.is_killed]
        dues = [*starts, *kills]
        now = time.monotonic()
        rest = [due - now for due in dues if due is not None]
        return max(0.0, min([_LOOK_SECONDS, *rest]))

    def _drain_wakes(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)

    def _start_due(self) -> None:
        now = time.monotonic()
        for place in self._places:
            if self._is_stopping:
                return
            if place.start_at is not None and place.start_at <= now:
                self._start(place)

    def _start(self, place: Place) -> None:
        try:
            check_fork()
        except RuntimeError as error:
            self._fail(place, str(error))
            return
        slot = self.board.take(place.number)
        if slot is None:
            # All slots belong to processes that drain. Try again: sooner or later one ends.
            place.start_at = time.monotonic() + _FIRST_WAIT_SECONDS
            return
        try:
            process, theirs = new_process(place.number, self._title(place.number), slot)
        except OSError as error:
            self._not_forked(place, slot, error)
            return
        supervisor = os.getpid()
        self._starts(process)
        try:
            is_child = fork(process)
        except OSError as error:
            theirs.close()
            process.close()
            self._not_forked(place, slot, error)
            return
        if is_child:
            self._leave_to_child(process)
            worker = Worker(
                number=place.number,
                settings=self._settings,
                board=self.board,
                slot=slot,
                control=theirs,
                inboxes=self._inboxes,
                stacks=process.stacks,
                driver=self._driver,
                spin_microseconds=self._spin_microseconds,
            )
            self._become(process, worker, supervisor)
        theirs.close()
        self._forked(process)
        place.process, place.start_at = process, None
        self._processes.add(process)
        read, ended = selectors.EVENT_READ, lambda: self._ended(process)
        self._selector.register(process.control, read, lambda: self._receive(process))
        self._selector.register(process.pidfd, read, ended)

    def _not_forked(self, place: Place, slot: Slot, error: OSError) -> None:
        """The system gives no process, or no descriptors for one: later it may."""
        self.board.give_back_unused(slot)
        title = capital(self._title(place.number))
        if not self._has_served:
            self._fail(place, f"its process cannot be started: {error}")
            return
        logger.error("%s cannot be started: %s", title, error)
        self._start_later(place, 0.0)

    def _starts(self, process: Process) -> None:
        """Prepare for a process that is about to be forked."""

    def _forked(self, process: Process) -> None:
        """Do what is due after the fork."""

    def _become(self, process: Process, worker: Worker, supervisor: int) -> NoReturn:
        """Be a worker, in the process that was forked."""
        del process
        end_worker(worker, self._server, supervisor)

    def _leave_to_child(self, own: Process) -> None:
        """Close in a child what belongs to the supervisor."""
        if signal.getsignal(signal.SIGHUP) == self._on_signal:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
        self._selector.close()
        self._wake.close()
        self._woken.close()
        for process in self._processes:
            process.close()
        own.control.close()

    def _receive(self, process: Process) -> None:
        try:
            message = process.control.recv(64)
        except OSError:
            message = b""
        if not message:
            self._selector.unregister(process.control)
            process.lost_at = time.monotonic()
        elif message == SERVING:
            self._serves(process)
        elif message == STOP and not self._is_stopping:
            self._stopped_by(process)

    def _stopped_by(self, process: Process) -> None:
        logger.info("The program stops the server, in %s", process)
        self.stop_soon()

    def _serves(self, process: Process) -> None:
        process.is_serving = True
        if self._is_stopping:
            # The signal came first, so the server never serves.
            return
        if process.has_missed_hangup:
            process.signal(signal.SIGHUP)
        place = self._places[process.number - 1]
        place.failures = 0
        if self._has_served:
            logger.info("%s is back, as process %d", capital(process.title), process.pid)
        elif all(one.process is not None and one.process.is_serving for one in self._places):
            self._has_served = True
            self._log_urls()
            if self._on_serving is not None and not self._is_stopping:
                self._on_serving(self._server.urls)

    def _log_urls(self) -> None:
        for url in self._server.urls:
            logger.info("Serving %s", url)

    def _title(self, number: int) -> str:
        """What logs call the processes of a place."""
        return f"worker {number}"

    def _report(self, process: Process) -> str:
        """What is known about the end of a process: for the log."""
        return process.stacks.read()

    def _gone(self, process: Process, how: str) -> None:
        """A process has ended, and was reported."""

    def _ended(self, process: Process) -> None:
        status = process.reap()
        self._selector.unregister(process.pidfd)
        with contextlib.suppress(KeyError):
            self._selector.unregister(process.control)
        self._processes.discard(process)
        place = self._places[process.number - 1]
        has_place = place.process is process
        if has_place:
            place.process = None
        if process.is_leaving:
            level = logging.INFO if status == 0 else logging.WARNING
            logger.log(level, "%s %s", process.sentence, told_status(status))
        else:
            report = self._report(process)
            text = f"\n{report}" if report else ""
            logger.error("%s %s%s", process.sentence, told_status(status), text)
        self.board.give_back(process.slot)
        process.close()
        self._gone(process, told_status(status))
        if has_place and not self._is_stopping:
            if process.is_serving:
                self._start_later(place, time.monotonic() - process.started)
            else:
                self._could_not_start(place, told_status(status))

    def _start_later(self, place: Place, lived_seconds: float) -> None:
        """Start a worker that replaces one that has served for `lived_seconds`."""
        if lived_seconds >= _YOUNG_SECONDS:
            place.wait_seconds = 0.0
            place.start_at = 0.0
            return
        longer = max(_FIRST_WAIT_SECONDS, 2 * place.wait_seconds)
        place.wait_seconds = min(longer, self._settings.restart_seconds_max)
        place.start_at = time.monotonic() + place.wait_seconds
        title = capital(self._title(place.number))
        logger.warning("%s starts again in %g s", title, place.wait_seconds)

    def _could_not_start(self, place: Place, how: str) -> None:
        place.failures += 1
        most = self._settings.start_failures_max if self._has_served else 1
        if place.failures >= most:
            times = f", for the time number {place.failures}" if place.failures > 1 else ""
            self._fail(place, f"its process {how} before it served{times}; the log says why")
        else:
            self._start_later(place, 0.0)

    def _fail(self, place: Place, why: str) -> None:
        if self._is_stopping:
            return
        self._failure = WorkerFailed(place.number, why)
        place.start_at = None
        logger.error("%s: the server stops", self._failure)
        self.stop_soon()

    def _look(self) -> None:
        """Do what is due: requests to stop, workers that hang, grow or do not end."""
        self._heed_signals()
        now = time.monotonic()
        for tls in self._certificates:
            tls.rotate_tickets()
        if self._requests > self._heeded:
            self._ask_all(now)
        for process in list(self._processes):
            if process.is_killed:
                continue
            if process.slot[Word.STATE] == State.LEAVING:
                # Also by a signal to it alone, of which the supervisor does not know.
                self._limit_stop(process, now)
            why = why_to_kill(process, self._settings, now, is_forced=self._requests > 1)
            if why is not None:
                self._kill(process, why)
            elif not process.is_leaving:
                self._check_memory(process)

    def _ask_all(self, now: float) -> None:
        is_first = self._heeded == 0
        self._heeded = self._requests
        if is_first:
            logger.info("Stopping %d workers", len(self._processes))
        for process in self._processes:
            process.is_leaving = True
            process.ask(HAND_OVER if self._server._is_handed_over else STOP)
            self._limit_stop(process, now)
            if self._requests > 1:
                process.ask(FORCE)
                at = now + _FORCE_SECONDS
                process.kill_at = at if process.kill_at is None else min(at, process.kill_at)

    def _limit_stop(self, process: Process, now: float) -> None:
        """Note that a process stops, and when it must have ended."""
        if process.leaves_since is not None:
            return
        process.leaves_since = now
        drains = [site.deadlines.drain_seconds for site in self._server._sites]
        known = [one for one in drains if one is not None]
        most = self._settings.stop_seconds
        if most is not None and len(known) == len(drains):
            process.kill_at = now + max(known, default=0.0) + most

    def _kill(self, process: Process, why: str) -> None:
        stacks = process.stacks.ask(process.pid) or "its stacks are not known: it takes no signal"
        logger.error("Killing %s: %s. Its threads:\n%s", process, why, stacks)
        process.kill()

    def _check_memory(self, process: Process) -> None:
        most = self._settings.memory_bytes_max
        if most is None or not process.is_serving:
            return
        resident = process.resident_bytes()
        if resident <= most:
            return
        logger.error(
            "Replacing %s: it has %d bytes of memory, and memory_bytes_max is %d. Its threads:\n%s",
            process,
            resident,
            most,
            process.stacks.ask(process.pid),
        )
        process.is_leaving = True
        process.ask(STOP)
        self._limit_stop(process, time.monotonic())
        place = self._places[process.number - 1]
        place.process = None
        self._start_later(place, time.monotonic() - process.started)

    def _end_processes(self) -> None:
        """Leave no process behind, whatever has happened."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.reap()
            self.board.give_back(process.slot)
            process.close()
        self._processes.clear()

    def close(self) -> None:
        """Close everything that the supervisor has made."""
        self._selector.close()
        self._inboxes.close()
        self._wake.close()
        self._woken.close()
        self.board.close()
