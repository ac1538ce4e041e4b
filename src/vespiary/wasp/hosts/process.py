"""The host `process`: a plug-in in a process of its own, as the server sees it.

The server binds the sockets of the endpoint, and keeps them. The plug-in's process has copies of
them (SCM_RIGHTS is not needed: it inherits them) and serves with an engine of its own. So every
kind of plug-in and of endpoint works there as it does in the server, at the same speed, and limits,
deadlines and TLS are enforced by the same code. Messages that travelled from an engine here to the
process would need a second implementation of every method of a connection.

What the operator sees and does goes through the server: the counters are in shared memory, so they
stay right when the process is killed; suspend, resume and disconnect are sent over a channel; drain
and reload stop the process as a server stops. While it is away, connections wait in the kernel, up
to the backlog.

The server does not start and supervise the process itself: see `keeper`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import pickle
import signal
import subprocess
import sys
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vespiary._acceptors import Delegate
from vespiary._core import Datagram
from vespiary._listening import ListeningAddress
from vespiary.endpoint import Endpoint
from vespiary.errors import ConfigurationError
from vespiary.handler import AnyHandler, Handler
from vespiary.statistics import EndpointStatistics
from vespiary.wasp.hosts import inline
from vespiary.wasp.hosts.channel import Channel
from vespiary.wasp.hosts.hosting import Hosting, Where
from vespiary.wasp.settings import process_of
from vespiary.workers._board import Board
from vespiary.workers._processes import open_pidfd, send_signal

if TYPE_CHECKING:
    from vespiary._core import Connection
    from vespiary.request import Request, Response
    from vespiary.server import Server

__all__ = ["ProcessHost", "Streams", "make", "make_in_process"]

logger = logging.getLogger("vespiary.wasp")

_ANSWER_SECONDS = 10.0
"""How long the process may take to carry out a command."""
_FIRST_WAIT_SECONDS = 1.0


class PluginFailed(ConfigurationError):
    """The process of a plug-in could not start; the text says why."""


def make(hosting: Hosting) -> AnyHandler | None:
    """Make what stands for the plug-in in the server, and the plug-in elsewhere."""
    if hosting.where in (Where.CHECK, Where.PROCESS):
        return inline.make(hosting)
    return make_in_process(hosting)


def make_in_process(hosting: Hosting) -> ProcessHost:
    """Make what stands for a plug-in that runs in a process of its own."""
    endpoints = [Endpoint.parse(url) for url in hosting.planned.urls]
    has_connections = hosting.planned.table.connections is True
    if any(endpoint.is_datagram for endpoint in endpoints) and not has_connections:
        return _Datagrams(hosting)
    if any(endpoint.is_http for endpoint in endpoints):
        return _Requests(hosting)
    return Streams(hosting)


class _Acceptor:
    """Lets the process accept the connections of an address."""

    def __init__(self, host: ProcessHost, index: int) -> None:
        self._host = host
        self._index = index
        self.is_accepting = False

    def resume(self) -> None:
        """Accept from now on."""
        self.is_accepting = True
        self.send()

    def suspend(self) -> None:
        """Accept nothing until `resume`."""
        self.is_accepting = False
        self.send()

    def send(self) -> None:
        """Send the process what it is to do."""
        self._host.send("resume" if self.is_accepting else "suspend", {"index": self._index})

    def close(self) -> None:
        """Stop the process, which drains."""
        self._host.stop_soon()


class ProcessHost(Handler, Delegate):
    """Starts a plug-in's process with the server, and stands for it.

    Args:
        hosting: The endpoint.
    """

    def __init__(self, hosting: Hosting) -> None:
        self._hosting = hosting
        self._name = hosting.planned.name
        self._urls = hosting.planned.urls
        workers = hosting.configuration.workers
        count = workers.count if workers is not None else 1
        # Each worker of the server has a process of its own; all can read the counters of all.
        self._boards = [_SharedBoard(self._urls) for _ in range(count)]
        self._number = 0
        self._addresses: list[ListeningAddress] = []
        self._acceptors: list[_Acceptor] = []
        self._keeper: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._pidfd = -1
        self._served: asyncio.Future[None] | None = None
        self._ended = asyncio.Event()
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._asked_count = 0
        self._is_stopping = False
        self._is_serving = False
        self._wait_seconds = 0.0
        self._restart: asyncio.TimerHandle | None = None
        self._last_end: str | None = None
        self._prepared: object = None

    def acceptor(self, address: ListeningAddress) -> _Acceptor:
        """Make what lets the process accept the connections of an address."""
        made = _Acceptor(self, len(self._addresses))
        self._addresses.append(address)
        self._acceptors.append(made)
        return made

    async def on_start(self, server: Server) -> None:
        """Start the process, and wait until it serves.

        Raises:
            PluginFailed: it does not.
        """
        self._number = (server.worker or 1) - 1
        self._served = asyncio.get_running_loop().create_future()
        self._start()
        try:
            await self._served
        except BaseException:
            self._is_stopping = True
            if self._keeper is not None:
                self._signal(signal.SIGKILL)
                self._keeper_ended()
            raise

    async def on_stop(self, server: Server) -> None:
        """Wait until the process has drained and ended."""
        self.stop_soon()
        try:
            await self._ended.wait()
        except asyncio.CancelledError:
            self._signal(signal.SIGKILL)
            raise

    def stop_soon(self) -> None:
        """Let the process stop gracefully."""
        if self._is_stopping:
            return
        self._is_stopping = True
        if self._restart is not None:
            self._restart.cancel()
        if self._keeper is None:
            self._ended.set()
        else:
            self._signal(signal.SIGTERM)

    def reload_certificates(self) -> None:
        """Let the process read its certificates again."""
        self._signal(signal.SIGHUP)

    def _signal(self, number: int) -> None:
        if self._keeper is not None:
            send_signal(self._pidfd, number)

    def _start(self) -> None:
        from vespiary.wasp.hosts.keeper import Task

        hosting, board = self._hosting, self._boards[self._number]
        channel, theirs = Channel.pair()
        sockets = [[one.fileno() for one in each.bound_sockets] for each in self._addresses]
        task = Task(
            source=hosting.source,
            name=self._name,
            driver=hosting.configuration.table.driver,
            parent=os.getpid(),
            channel=theirs.fileno(),
            board=board.descriptor,
            sockets=sockets,
            prepared=self._prepared,
        )
        with theirs, open(os.memfd_create("vespiary-task"), "wb") as file:  # noqa: PTH123
            pickle.dump(task, file)
            file.flush()
            passed = [file.fileno(), theirs.fileno(), board.descriptor, *itertools.chain(*sockets)]
            self._keeper = subprocess.Popen(
                [sys.executable, "-P", "-m", "vespiary.wasp.hosts.keeper", str(file.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=passed,
                process_group=0,
            )
        self._pidfd = open_pidfd(self._keeper.pid)
        self._channel = channel
        loop = asyncio.get_running_loop()
        loop.add_reader(channel.fileno(), self._receive)
        loop.add_reader(self._pidfd, self._keeper_ended)

    def _receive(self) -> None:
        assert self._channel is not None
        for message in self._channel.received():
            if message is None:
                asyncio.get_running_loop().remove_reader(self._channel.fileno())
                return
            getattr(self, f"_on_{message.pop('event')}")(**message)

    def _on_serving(self, process: int) -> None:
        logger.debug("The plug-in of endpoints.%s serves, in process %d", self._name, process)
        self._is_serving = True
        for acceptor in self._acceptors:
            if acceptor.is_accepting:
                acceptor.send()
        if self._served is not None and not self._served.done():
            self._served.set_result(None)

    def _on_ended(self, how: str, lines: list[str]) -> None:
        self._is_serving = False
        self._last_end = how
        self._forget_asked(how)
        if self._served is not None and not self._served.done() and not self._is_stopping:
            story = "".join(f"\n  {line}" for line in lines)
            text = f"the process of the plug-in {how} before it served; it has written:{story}"
            self._served.set_exception(PluginFailed(text, subject="plugin"))

    def _on_answer(self, number: int, value: object = None, error: str | None = None) -> None:
        future = self._asked.pop(number, None)
        if future is None or future.done():
            return
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(PluginFailed(error, subject="plugin"))

    def _forget_asked(self, why: str) -> None:
        for future in self._asked.values():
            if not future.done():
                text = f"the process of endpoints.{self._name} {why}"
                future.set_exception(PluginFailed(text, subject="plugin"))
        self._asked.clear()

    def _keeper_ended(self) -> None:
        """Wait for the end of the keeper, which is near, and start another one if it was early."""
        assert self._keeper is not None
        assert self._channel is not None
        loop = asyncio.get_running_loop()
        self._receive()
        status = self._keeper.wait()
        loop.remove_reader(self._pidfd)
        loop.remove_reader(self._channel.fileno())
        os.close(self._pidfd)
        self._channel.close()
        self._keeper = self._channel = None
        self._is_serving = False
        self._forget_asked("has ended")
        served = self._served
        assert served is not None
        if not self._is_stopping and served.done() and served.exception() is None:
            self._start_later(status)
            return
        if not self._is_stopping and not served.done():
            text = f"the keeper of the plug-in's process ended with exit code {status}"
            served.set_exception(PluginFailed(text, subject="plugin"))
        self._ended.set()

    def _start_later(self, status: int) -> None:
        longest = process_of(
            self._hosting.source, self._hosting.planned.table, self._hosting.planned.path
        ).restart_seconds_max
        self._wait_seconds = min(longest, max(_FIRST_WAIT_SECONDS, 2 * self._wait_seconds))
        logger.error(
            "The keeper of the process of endpoints.%s ended with exit code %d, and starts again in"
            " %g s",
            self._name,
            status,
            self._wait_seconds,
        )
        loop = asyncio.get_running_loop()
        self._restart = loop.call_later(self._wait_seconds, self._start)

    def send(self, command: str, arguments: Mapping[str, Any]) -> int:
        """Send the process a command, if there is one, and return the number of the command."""
        self._asked_count += 1
        if self._channel is not None:
            number = self._asked_count
            self._channel.send({"command": command, "number": number, "arguments": arguments})
        return self._asked_count

    async def ask(self, command: str, seconds: float = _ANSWER_SECONDS, **arguments: Any) -> Any:
        """Let the process carry out a command, and return the result within `seconds`.

        Raises:
            PluginFailed: the process is away, does not answer, or cannot do it.
        """
        if not self._is_serving:
            text = f"the process of endpoints.{self._name} does not run now"
            raise PluginFailed(text, subject=self._name)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        number = self.send(command, arguments)
        self._asked[number] = future
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            text = f"the process of endpoints.{self._name} has not answered for {seconds:g} s"
            raise PluginFailed(text, subject=self._name) from None
        finally:
            self._asked.pop(number, None)

    def statistics(self) -> list[EndpointStatistics]:
        """What the process has counted, with those before it: for each URL."""
        found = [board.board.statistics()[0].endpoints for board in self._boards]
        return [sum(of_one, start=EndpointStatistics()) for of_one in zip(*found, strict=True)]

    def facts(self) -> dict[str, Any]:
        """What is known of the process: for `vespiary status`."""
        workers = [board.board.statistics()[0] for board in self._boards]
        here = workers[self._number].process
        return {
            "process": here,
            "is_serving": self._is_serving,
            "processes_started": sum(one.processes_started for one in workers),
            "last_end": self._last_end,
            "memory_bytes": _memory(here) if here else 0,
        }

    @property
    def state(self) -> str | None:
        """Why it does not serve now; None if it does."""
        return None if self._is_serving else "restarting"


def _memory(process: int) -> int:
    from vespiary.wasp.hosts.confined import used_bytes

    return used_bytes(process)


class Streams(ProcessHost):
    """The same for endpoints of messages."""

    def on_message(self, connection: Connection, message: bytes | str) -> None:
        """The plug-in has it: nothing is accepted here."""


class _Requests(ProcessHost):
    """The same for endpoints of HTTP."""

    def on_request(self, request: Request) -> Response:
        """Nothing comes here."""
        return request.respond(503)


class _Datagrams(ProcessHost):
    """The same for datagrams."""

    def on_datagram(self, datagram: Datagram) -> None:
        """Nothing comes here."""


class _SharedBoard:
    """Counters in a file in memory, which the keeper gets."""

    def __init__(self, urls: tuple[str, ...]) -> None:
        self.descriptor = os.memfd_create("vespiary-counters")
        weakref.finalize(self, os.close, self.descriptor)
        self.board = Board(1, urls, self.descriptor)
