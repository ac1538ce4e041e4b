"""Reload with workers: generations of processes, which share the sockets.

The main process loads no plug-in and serves nothing. It forks a *generation*: a supervisor with its
workers (see `vespiary.workers`), which reads the configuration, loads the plug-ins and binds the
sockets. The main process gets a copy of each socket (SCM_RIGHTS, unix(7)).

A reload forks the next generation, which uses these copies. When all of its workers serve, the one
before it is asked to stop, and its connections drain; until then both accept connections from the
same sockets, so none is refused. A generation that cannot start ends with an error in the log, and
nothing else changes. It imports everything again, so plug-ins are always those of the files.

Signals: a terminal and some service managers signal every process of a group. So a generation has a
process group of its own, ignores SIGTERM, and stops on SIGINT, which the main process sends, or on
SIGUSR1 if others have taken over its sockets. If the main process is killed, the kernel kills the
generations (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import NoReturn

from vespiary._replacing import hand_over
from vespiary._toml_files import FileError
from vespiary.errors import VespiaryError
from vespiary.wasp.configuration import Configuration
from vespiary.wasp.handover import (
    Held,
    Predecessor,
    Successor,
    UpgradeFailed,
    adopt,
    receive_sockets,
    send_address,
)
from vespiary.wasp.logs import configure_log
from vespiary.wasp.pid_file import kept_pid_file, take_pid_file
from vespiary.wasp.platform import Platform, read_checked
from vespiary.wasp.privileges import drop_privileges
from vespiary.wasp.systemd import notify, reloading, watchdog_seconds
from vespiary.workers._parent import end_with
from vespiary.workers._processes import keep_exit_statuses, open_pidfd, reap, send_signal

__all__ = ["Generations"]

logger = logging.getLogger("vespiary.wasp")

_SERVING = "serving"


@dataclass(slots=True, eq=False)
class _Generation:
    """A generation, as the main process sees it."""

    number: int
    pid: int
    pidfd: int
    control: socket.socket
    held: list[Held] = field(default_factory=list)

    def stop(self) -> None:
        """Ask it to stop; a second time at once."""
        send_signal(self.pidfd, signal.SIGINT)

    def hand_over(self) -> None:
        """Ask it to stop, because others accept connections from its sockets."""
        send_signal(self.pidfd, signal.SIGUSR1)


class Generations:
    """Runs a configuration with workers until a signal stops it.

    Args:
        configuration: The configuration at the start.
        sockets: The descriptors that a service manager has passed, by name.
        predecessor: The process whose place this one takes, with the sockets that it has bound.
    """

    def __init__(
        self,
        configuration: Configuration,
        sockets: Mapping[str, Sequence[int]],
        predecessor: Predecessor | None = None,
    ) -> None:
        self._configuration = configuration
        self._sockets = sockets
        self._selector = selectors.DefaultSelector()
        self._current: _Generation | None = None
        self._next: _Generation | None = None
        self._all: set[_Generation] = set()
        self._held: list[Held] = predecessor.held if predecessor is not None else []
        self._predecessor = predecessor
        self._successor: Successor | None = None
        self._count = 0
        self._stops = 0
        self._stops_sent = 0
        self._wants_reload = self._wants_upgrade = False
        self._status = 0

    def run(self) -> int:
        """Run, and return the exit code."""
        keep_exit_statuses()
        configure_log(self._configuration.table.log, has_workers=True)
        woken, wake = socket.socketpair()
        for one in (woken, wake):
            one.setblocking(False)
        self._selector.register(woken, selectors.EVENT_READ, lambda: _emptied(woken))
        pid_file = kept_pid_file(self._configuration, is_upgrade=self._predecessor is not None)
        with woken, wake, pid_file, self._signals(wake):
            try:
                self._fork()
                while self._all:
                    for key, _ in self._selector.select(self._beat()):
                        key.data()
                    self._heed()
            finally:
                self._end()
        return self._status

    def _beat(self) -> float | None:
        seconds = watchdog_seconds()
        if seconds is not None:
            notify("WATCHDOG=1")
        return seconds

    @contextlib.contextmanager
    def _signals(self, wake: socket.socket) -> Iterator[None]:
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        wakes_before = signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakes_before)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        if number == signal.SIGHUP:
            self._wants_reload = True
        elif number == signal.SIGUSR2:
            self._wants_upgrade = True
        else:
            self._stops += 1

    def _heed(self) -> None:
        """Do what signals have asked for."""
        while self._stops_sent < self._stops:
            self._stops_sent += 1
            logger.info("Stopping" if self._stops_sent == 1 else "Stopping at once")
            notify("STOPPING=1")
            if self._successor is not None:
                self._successor.cancel()
            for one in self._all:
                one.stop()
        if self._stops or self._next is not None or self._successor is not None:
            return
        if self._wants_reload:
            self._wants_reload = False
            self._reload()
        elif self._wants_upgrade:
            self._wants_upgrade = False
            self._upgrade()

    def _reload(self) -> None:
        path = self._configuration.path
        logger.info("Reloading %s", path)
        reloading()
        try:
            new = read_checked(path)
            if new.workers is None:
                text = f"{path}:1: workers: cannot be removed by a reload: restart the server"
                raise FileError(path, [text])
        except FileError as error:
            for line in error.lines:
                logger.error("%s", line)
            self._reload_failed()
            return
        try:
            self._fork()
        except OSError as error:
            logger.error("No process can be started for the new configuration: %s", error)
            self._reload_failed()

    def _upgrade(self) -> None:
        try:
            successor = Successor(self._held, self._sockets)
        except OSError as error:
            logger.error("The program was not upgraded: %s", error.strerror or error)
            return
        self._successor = successor
        for each in (successor.control, successor.pidfd):
            self._selector.register(each, selectors.EVENT_READ, self._look_at_successor)

    def _look_at_successor(self) -> None:
        successor = self._successor
        if successor is None:
            return
        try:
            if not successor.serves():
                return
        except UpgradeFailed as error:
            logger.error("%s", error)
        else:
            # What was bound belongs to the new process now.
            for held in self._held:
                held.file = None
            self._stops += 1
            self._stops_sent += 1
            for one in self._all:
                one.hand_over()
        for each in (successor.control, successor.pidfd):
            self._selector.unregister(each)
        successor.close()
        self._successor = None

    def _reload_failed(self) -> None:
        logger.error("The configuration was not reloaded: the old one stays in use")
        notify("READY=1")

    def _fork(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._count += 1
        sys.stdout.flush()
        sys.stderr.flush()
        main = os.getpid()
        try:
            pid = os.fork()
            if pid == 0:
                ours.close()
                self._be_generation(theirs, main)
            pidfd = open_pidfd(pid)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        made = _Generation(self._count, pid, pidfd, ours)
        self._all.add(made)
        self._next = made
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._receive(made))
        self._selector.register(made.pidfd, selectors.EVENT_READ, lambda: self._ended(made))

    def _receive(self, one: _Generation) -> None:
        data, descriptors = receive_sockets(one.control)
        if not data:
            self._selector.unregister(one.control)
            return
        message = json.loads(data)
        if message == _SERVING:
            self._serves(one)
            return
        one.held.append(Held.received(message, descriptors))

    def _serves(self, one: _Generation) -> None:
        before, self._current, self._next = self._current, one, None
        kept = {held.file for held in one.held}
        for held in self._held:
            held.close()
            if held.file not in kept:
                held.remove_file()
        self._held = one.held
        notify("READY=1")
        if self._predecessor is not None:
            take_pid_file(self._configuration)
            self._predecessor.serves()
            self._predecessor = None
        if before is not None:
            logger.info("Reloaded: generation %d serves, the one before it drains", one.number)
            before.hand_over()

    def _ended(self, one: _Generation) -> None:
        status = reap(one.pid)
        code = 1 if status is None else os.waitstatus_to_exitcode(status)
        self._all.discard(one)
        self._forget(one)
        if one is self._next:
            self._next = None
            for held in one.held:
                held.close()
            if self._current is None:
                self._status = code if code >= 0 else 1
            elif not self._stops:
                self._reload_failed()
        elif one is self._current:
            self._current = None
            self._status = code if code >= 0 else 1
            if not self._stops:
                logger.error("The workers have ended with exit code %d: the server stops", code)
                self._stops += 1

    def _forget(self, one: _Generation) -> None:
        self._selector.unregister(one.pidfd)
        with contextlib.suppress(KeyError):
            self._selector.unregister(one.control)
        os.close(one.pidfd)
        one.control.close()

    def _end(self) -> None:
        """Leave nothing behind."""
        for one in list(self._all):
            send_signal(one.pidfd, signal.SIGKILL)
            reap(one.pid)
            self._forget(one)
        self._all.clear()
        for held in self._held:
            held.close()
            if self._predecessor is None:
                held.remove_file()
        self._selector.close()

    def _be_generation(self, control: socket.socket, main: int) -> NoReturn:
        """Be a generation, and end the process."""
        status = 1
        try:
            self._prepare(main)
            self._serve(control)
            status = 0
        except FileError as error:
            status = 2
            for line in error.lines:
                print(line, file=sys.stderr)
        except OSError as error:
            print(f"Error: {error.strerror or error}", file=sys.stderr)
        except VespiaryError as error:
            print(f"Error: {error}", file=sys.stderr)
        except KeyboardInterrupt:
            # The generation was asked to stop before it served.
            status = 0
        except BaseException:
            print(traceback.format_exc().rstrip(), file=sys.stderr)
        finally:
            with contextlib.suppress(BaseException):
                logging.shutdown()
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _prepare(self, main: int) -> None:
        """Leave to the main process what belongs to it."""
        os.setpgid(0, 0)
        multiprocessing.current_process().name = f"generation-{self._count}"
        end_with(main)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._selector.close()
        for one in self._all:
            one.control.close()
            os.close(one.pidfd)
        if self._successor is not None:
            self._successor.close()
        # Only the main process may notify the service manager.
        os.environ.pop("NOTIFY_SOCKET", None)

    def _serve(self, control: socket.socket) -> None:
        platform = Platform(self._configuration.path, self._sockets, main=os.getppid())
        adopt(platform.addresses(), self._held)
        platform.bind()
        for address, keys in platform.addresses():
            send_address(control, keys, address.leave_file(), address.bound_sockets)
        drop_privileges(platform.configuration.table)
        signal.signal(signal.SIGUSR1, lambda *_: hand_over(platform.server))
        platform.serve_workers(lambda: control.send(json.dumps(_SERVING).encode()))


def _emptied(woken: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        woken.recv(4096)
