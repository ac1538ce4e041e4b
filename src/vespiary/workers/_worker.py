"""A worker: the child's side of the supervisor's fork.

It runs the server as one process alone would, with sockets that are bound already. What it is asked
to do comes by its control socket, and not by signals: service managers send SIGTERM to every
process of a service, so a worker would take its supervisor's for the second one, which ends
everything at once. SIGTERM itself means the same as the first request, however often it comes.
SIGINT is ignored, because a terminal sends it to the supervisor too.

A worker whose supervisor is killed is killed by the kernel (PR_SET_PDEATHSIG), and does not drain:
it would keep the address, and a new supervisor could not listen there.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import multiprocessing
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Protocol

from vespiary._blocked_loop import Interrupted
from vespiary._core import share_connections, share_counters
from vespiary.errors import ConnectionClosed
from vespiary.loop import running_core
from vespiary.loop._loop import run_until_exit
from vespiary.workers._backplane import Addressed, LocalBackplane, Stated
from vespiary.workers._board import State, Word
from vespiary.workers._counters import NAMES_MAX
from vespiary.workers._parent import end_with
from vespiary.workers._processes import capital

if TYPE_CHECKING:
    from vespiary._core import Connection
    from vespiary.server import Server
    from vespiary.workers._backplane import Backplane, Carried, Inboxes
    from vespiary.workers._board import Board, Slot
    from vespiary.workers._options import Workers
    from vespiary.workers._stacks import Stacks

__all__ = ["FORCE", "HAND_OVER", "SERVING", "STOP", "Worker", "end_worker"]

logger = logging.getLogger("vespiary")

STOP = b"stop"
HAND_OVER = b"hand over"
FORCE = b"force"
SERVING = b"serving"

_BEAT_SECONDS_MAX = 1.0


@dataclass(slots=True, eq=False)
class Worker:
    """What a worker process has in addition to the server.

    Attributes:
        number: Its number, from 1.
        settings: What all workers have in common.
        board: The memory that all processes share.
        slot: Its own part of that.
        control: Its end of the control socket.
        inboxes: For its backplane.
        stacks: Where it writes its stacks.
        driver: The driver of its loop.
        spin_microseconds: See `vespiary.loop.Loop`.
        is_asked: Whether the supervisor, or a signal, has asked it to stop.
        label: Its name in the log; default: that of its number.
    """

    number: int
    settings: Workers
    board: Board
    slot: Slot
    control: socket.socket
    inboxes: Inboxes
    stacks: Stacks
    driver: str | None
    spin_microseconds: int
    is_asked: bool = False
    label: str = ""
    backplane: Backplane | None = None

    @property
    def name(self) -> str:
        """Its name in the log."""
        return self.label or f"worker-{self.number}"

    def run(self, server: Server) -> None:
        """Run the server in this process until it has stopped."""
        multiprocessing.current_process().name = self.name
        self.stacks.register()
        server._enter_worker(self)
        for site in server._sites:
            if site.tls is not None:
                site.tls.enter_worker()
        run_until_exit(
            self._serve(server),
            functools.partial(self._exits, server),
            driver=self.driver,
            spin_microseconds=self.spin_microseconds,
        )

    def _exits(self, server: Server, error: SystemExit) -> None:
        """A program that ends itself means the server; where it is a plug-in, only its process."""
        if not server._contains_exits or self.is_asked or isinstance(error, Interrupted):
            return
        self.is_asked = True
        text = "A plug-in has ended the program: %s stops, and another process takes its place"
        logger.error(text, self.name, exc_info=error)

    async def _serve(self, server: Server) -> None:
        loop = asyncio.get_running_loop()
        # All workers have the same driver: one line in the log is enough.
        level = logging.INFO if self.number == 1 else logging.DEBUG
        logger.log(level, "%s", running_core().choice)
        loop.add_signal_handler(signal.SIGTERM, self._ask, server)
        loop.add_reader(self.control, self._receive, server)
        self.slot[Word.PROCESS] = os.getpid()
        bytes_max = self.settings.backplane_bytes_max
        backplane = LocalBackplane(self.inboxes, self.board, self.slot.index, bytes_max)
        self._beat(loop, server)
        async with server:
            if server._life is None:
                # The server was asked to stop while it started.
                return
            self._share(server)
            self.backplane = backplane
            backplane.start(lambda carried: deliver(server, carried))
            server._share_state()
            # on_start may have blocked the loop.
            self.slot.beat()
            self.slot[Word.STATE] = State.SERVING
            self._send(SERVING)
            await server.wait_stopped()
        self.backplane = None
        backplane.stop()

    def _share(self, server: Server) -> None:
        """Count in the shared memory, and accept no more connections than other workers."""
        life = server._running("run")
        sites = [site.native for site in server._sites if site.native is not None]
        for index, native in enumerate(sites[: len(self.board.urls)]):
            first = self.slot.first_count(index)
            share_counters(life.core, native, self.board.memory, first, NAMES_MAX)
        slots = (self.slot.index, self.board.count, self.board.words_per_slot)
        words = (Word.STATE, Word.OPEN, Word.ACCEPTED)
        share_connections(sites, self.board.memory, slots, words, State.SERVING)

    def _beat(self, loop: asyncio.AbstractEventLoop, server: Server) -> None:
        self.slot.beat()
        for address in server._addresses:
            address.accept_what_waits()
        seconds = _BEAT_SECONDS_MAX
        if self.settings.hang_seconds is not None:
            seconds = min(self.settings.hang_seconds / 4, seconds)
        loop.call_later(seconds, self._beat, loop, server)

    def _receive(self, server: Server) -> None:
        try:
            message = self.control.recv(64)
        except BlockingIOError:
            return
        if message in (STOP, HAND_OVER):
            server._is_handed_over = message == HAND_OVER
            self._ask(server)
        elif message == FORCE:
            self._ask(server)
            server.stop_soon()

    def _ask(self, server: Server) -> None:
        if not self.is_asked:
            self.is_asked = True
            server.stop_soon()

    def stop_began(self, drain_seconds: float | None) -> None:
        """The server of this process stops: where nobody has asked for that, the others stop too.

        A program that stops its server means the server, and not one of its processes.

        Args:
            drain_seconds: How long connections have; None: `drain_seconds` of each endpoint.
        """
        if drain_seconds is not None:
            self.slot[Word.DRAINED_AT] = time.monotonic_ns() + int(drain_seconds * 1e9)
        self.slot[Word.STATE] = State.LEAVING
        if not self.is_asked:
            # The supervisor's answer is not a second request.
            self.is_asked = True
            self._send(STOP)

    def _send(self, message: bytes) -> None:
        # If the supervisor has ended, this process is about to end too.
        with contextlib.suppress(OSError):
            self.control.send(message)


def deliver(server: Server, carried: Carried) -> None:
    """Send what comes from another worker to the connections of this one."""
    try:
        life = server._running("publish")
        if isinstance(carried, Addressed):
            _deliver_to(life.directory.find(carried.connection_id), carried)
            return
        if isinstance(carried, Stated):
            life.state.receive(carried)
        else:
            life.state.deliver(carried)
    except Exception:
        logger.exception("A message from another worker was not delivered")


def _deliver_to(connection: Connection | None, addressed: Addressed) -> None:
    # One that has ended gets nothing.
    if connection is not None:
        with contextlib.suppress(ConnectionClosed):
            connection.send(addressed.message, compress=addressed.compress)


class Runner(Protocol):
    """What runs in a worker process, with its name in the log."""

    @property
    def name(self) -> str: ...

    def run(self, server: Server) -> None: ...


def end_worker(worker: Runner, server: Server, supervisor: int) -> NoReturn:
    """Be a worker, and end the process: a fork's child never returns to its parent's program."""
    status = 1
    try:
        _prepare_process(supervisor)
        worker.run(server)
        status = 0
    except SystemExit as error:
        status = _status(error)
    except BaseException:
        logger.exception("%s failed", capital(worker.name))
    finally:
        with contextlib.suppress(BaseException):
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _prepare_process(supervisor: int) -> None:
    """Set the signals of a worker; its parent has blocked them for the fork."""
    end_with(supervisor)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))


def _status(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    print(error.code, file=sys.stderr)
    return 1
