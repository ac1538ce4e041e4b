"""The process of a plug-in: an engine of its own, on the sockets of the server.

It accepts nothing until the server asks for that, and it carries out the operator's commands for
its connections.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING, Any

from vespiary._acceptors import Delegate
from vespiary._listening import ListeningAddress
from vespiary._replacing import add_sites
from vespiary._toml_files import FileError
from vespiary.server import Server
from vespiary.wasp.configuration import configuration_of, make_sites
from vespiary.wasp.hosts.disconnecting import disconnect
from vespiary.wasp.hosts.hosting import Where

if TYPE_CHECKING:
    from vespiary.wasp.hosts.channel import Channel
    from vespiary.wasp.hosts.keeper import Task
    from vespiary.workers._worker import Worker

__all__ = ["PluginProcess"]

logger = logging.getLogger("vespiary.wasp")


class _Waiting(Delegate):
    """Accepts nothing, until the address accepts by itself."""

    def acceptor(self, address: ListeningAddress) -> _Waiting:
        """This stands for any address."""
        del address
        return self

    def resume(self) -> None:
        """Wait."""

    def suspend(self) -> None:
        """Wait."""

    def close(self) -> None:
        """Nothing is open."""


class _Served(Server):
    """The server in the process: it heeds the channel."""

    _contains_exits = True

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel

    async def start(self) -> None:
        """Start, and do from now on what the channel asks for."""
        for address in self._addresses:
            address.delegate = _Waiting()
        asyncio.get_running_loop().add_reader(self._channel.fileno(), self._receive)
        await super().start()

    def _receive(self) -> None:
        for message in self._channel.received():
            if message is None:
                asyncio.get_running_loop().remove_reader(self._channel.fileno())
                return
            self._obey(message)

    def _obey(self, message: dict[str, Any]) -> None:
        arguments = message["arguments"]
        answer: dict[str, Any] = {"event": "answer", "number": message["number"]}
        try:
            answer["value"] = getattr(self, f"_on_{message['command']}")(**arguments)
        except Exception as error:
            logger.exception("The command %s failed", message["command"])
            answer["error"] = f"{type(error).__name__}: {error}"
        self._channel.send(answer)

    def _on_resume(self, index: int) -> None:
        address = self._addresses[index]
        if address.delegate is not None:
            address.accept_here()
        address.resume()

    def _on_suspend(self, index: int) -> None:
        self._addresses[index].suspend()

    def _on_disconnect(self, peer: str | None) -> int:
        return disconnect(self._sites, peer)


class PluginProcess:
    """Runs in the process that the keeper has forked.

    Args:
        worker: What connects it to its supervisor.
        task: What the keeper was started for.
        channel: To the server.
    """

    def __init__(self, worker: Worker, task: Task, channel: Channel) -> None:
        self._worker = worker
        self._task = task
        self._channel = channel
        self.name = worker.label = f"endpoints.{task.name}"

    def run(self, server: Server) -> None:
        """Load the plug-in and serve until the process is asked to stop.

        Raises:
            SystemExit: the plug-in cannot be loaded; the log says why.
            Exception: what its `on_start` has raised.
        """
        try:
            configuration = configuration_of(self._task.source)
            name = self._task.name
            prepared = self._task.prepared
            made = make_sites(configuration, [name], None, where=Where.PROCESS, prepared=prepared)
            sites = made[name]
        except FileError as error:
            for line in error.lines:
                print(line, file=sys.stderr)
            raise SystemExit(2) from None
        own = _Served(self._channel)
        add_sites(own, sites)
        for address, before in zip(own._addresses, server._addresses, strict=True):
            address.share(before)
        self._worker.run(own)
