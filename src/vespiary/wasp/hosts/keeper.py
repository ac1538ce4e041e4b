"""The keeper of a plug-in's process: the program that the host `process` starts.

::

    the server            binds the sockets, has the counters in shared memory, asks and reports
      the keeper          this program: a supervisor, which runs no code of the plug-in
        the plug-in       loads the plug-in and serves with an engine of its own

The server cannot fork the process itself, since it has threads and a loop. So it starts this
program, which supervises one process as the workers' supervisor does its workers: hangs, starts
that fail or take too long, waits between starts, the end of what does not end by itself. In
addition it limits the memory of the process with all that it starts, passes on what it writes, and
kills what it has started when it ends.

If the server ends, the kernel kills the keeper; if the keeper ends, the kernel kills the process.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import selectors
import signal
import socket
import sys
from dataclasses import dataclass
from typing import NoReturn

from vespiary._counted import counted
from vespiary._listening_sockets import BoundSocket
from vespiary._replacing import add_sites
from vespiary.errors import WorkerFailed
from vespiary.prove.memory.reading import Limiter
from vespiary.server import Server
from vespiary.wasp.configuration import configuration_of, make_sites
from vespiary.wasp.hosts.channel import Channel
from vespiary.wasp.hosts.confined import Output, adopt_orphans, end_descendants, limited
from vespiary.wasp.hosts.hosting import Where
from vespiary.wasp.hosts.plugin_process import PluginProcess
from vespiary.wasp.logs import configure_log
from vespiary.wasp.reading import Source
from vespiary.wasp.settings import process_of
from vespiary.workers import Workers
from vespiary.workers._board import Board
from vespiary.workers._parent import end_with
from vespiary.workers._processes import Place, Process
from vespiary.workers._supervisor import Supervisor
from vespiary.workers._worker import Worker, end_worker

__all__ = ["Task", "main"]

logger = logging.getLogger("vespiary.wasp")


@dataclass(frozen=True, slots=True)
class Task:
    """What a keeper is started for.

    Attributes:
        source: The configuration, as it was read.
        name: The endpoint.
        driver: The driver of the server's loop.
        parent: The process of the server.
        channel: The descriptor of the channel to the server.
        board: The descriptor of the memory with the counters.
        sockets: For each address, the descriptors of its sockets.
        prepared: What the host has made of the plug-in, if it is not loaded from its file.
    """

    source: Source
    name: str
    driver: str | None
    parent: int
    channel: int
    board: int
    sockets: list[list[int]]
    prepared: object = None


@dataclass(slots=True, eq=False)
class _Confined:
    """What belongs to one process of the plug-in."""

    output: Output
    limiter: Limiter | None
    is_over: bool = False


class _Keeper(Supervisor):
    """Supervises the process of one endpoint's plug-in."""

    def __init__(self, server: Server, settings: Workers, task: Task, channel: Channel) -> None:
        board = Board(settings.count, server.urls, task.board)
        board.clear_up()
        super().__init__(server, settings, task.driver, 0, None, board)
        self._task = task
        self._channel = channel
        self._confined: dict[Process, _Confined] = {}

    def _title(self, number: int) -> str:
        del number
        return f"the plug-in process of endpoints.{self._task.name}"

    def _starts(self, process: Process) -> None:
        """Confine a process that is about to be forked."""
        limit = self._settings.memory_bytes_max
        limiter = None if limit is None else limited(limit)
        self._confined[process] = _Confined(Output(), limiter)

    def _forked(self, process: Process) -> None:
        confined = self._confined[process]
        confined.output.leave()
        if confined.limiter is not None:
            confined.limiter.begun(process.pid, os.getpid())
        self._selector.register(
            confined.output, selectors.EVENT_READ, lambda: self._pass_on(confined.output)
        )

    def _pass_on(self, output: Output) -> None:
        if not output.pass_on():
            self._selector.unregister(output)

    def _become(self, process: Process, worker: Worker, supervisor: int) -> NoReturn:
        confined = self._confined[process]
        confined.output.redirect()
        for file in confined.limiter.place.enter if confined.limiter is not None else ():
            file.write_text("0")
        end_worker(PluginProcess(worker, self._task, self._channel), self._server, supervisor)

    def _log_urls(self) -> None:
        """Nothing: the server logs them."""

    def _serves(self, process: Process) -> None:
        super()._serves(process)
        self._channel.send({"event": "serving", "process": process.pid})

    def _stopped_by(self, process: Process) -> None:
        """Nothing: it is about to end, and starts again."""

    def _report(self, process: Process) -> str:
        confined = self._confined[process]
        parts = []
        limiter = confined.limiter
        if confined.is_over or (limiter is not None and limiter.is_over()):
            limit = self._settings.memory_bytes_max
            parts.append(f"It had reached memory_bytes_max, {limit} bytes")
        lines = confined.output.last_lines()
        if lines:
            parts += ["The last lines that it has written:", *(f"  {line}" for line in lines)]
        stacks = super()._report(process)
        return "\n".join([*parts, stacks] if stacks else parts)

    def _gone(self, process: Process, how: str) -> None:
        """A process has ended, and was reported."""
        confined = self._confined.pop(process)
        lines = confined.output.last_lines()
        self._channel.send({"event": "ended", "how": how, "lines": lines})
        if confined.output in self._selector.get_map():
            self._selector.unregister(confined.output)
        if not self._processes:
            killed = end_descendants()
            if killed:
                logger.warning("Killed %s that %s has left", counted(killed, "process"), process)
        if confined.limiter is not None:
            for group in confined.limiter.place.remove:
                if group.exists():
                    group.rmdir()
            confined.limiter.close()
        confined.output.close()

    def _fail(self, place: Place, why: str) -> None:
        if not self._is_stopping:
            self._failure = WorkerFailed(place.number, why)
            place.start_at = None
            self.stop_soon()

    def _check_memory(self, process: Process) -> None:
        confined = self._confined[process]
        limiter = confined.limiter
        if limiter is None or limiter.method != "sampling" or not limiter.is_over():
            return
        confined.is_over = True
        process.signal(signal.SIGKILL)

    def _seconds_to_next(self) -> float:
        limiters = [one.limiter for one in self._confined.values() if one.limiter is not None]
        pauses = [one.pause() for one in limiters if one.method == "sampling"]
        return min([super()._seconds_to_next(), *pauses])


def main() -> None:
    """Keep the process that the descriptor in the first argument describes."""
    with open(int(sys.argv[1]), "rb") as file:  # noqa: PTH123 - it is a number.
        file.seek(0)
        task: Task = pickle.load(file)
    end_with(task.parent)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # A plug-in in the server may have ignored it, which is inherited.
        signal.signal(number, signal.SIG_DFL)
    adopt_orphans()
    multiprocessing.current_process().name = f"endpoints.{task.name}"
    configuration = configuration_of(task.source)
    configure_log(configuration.table.log, has_workers=True)
    planned = configuration.endpoints[task.name]
    server = Server()
    # These stand for what the process serves: the plug-in is loaded there.
    add_sites(server, make_sites(configuration, [task.name], None, where=Where.KEEPER)[task.name])
    adopt(server, task.sockets)
    settings = process_of(configuration.source, planned.table, planned.path)
    keeper = _Keeper(server, settings, task, Channel(socket.socket(fileno=task.channel)))
    try:
        keeper.run(signals=True)
    except WorkerFailed:
        sys.exit(1)
    finally:
        keeper.close()


def adopt(server: Server, sockets: list[list[int]]) -> None:
    """Let the addresses of a server use sockets that were passed."""
    for address, numbers in zip(server._addresses, sockets, strict=True):
        address.adopt([BoundSocket(socket.socket(fileno=number)) for number in numbers], None)


if __name__ == "__main__":
    main()
