"""The process of a plug-in: an engine of its own, on the sockets of the server.

It accepts nothing until the server asks for that, and it carries out the operator's commands for
its connections.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from vespiary._acceptors import Delegate
from vespiary._listening import ListeningAddress
from vespiary._replacing import add_sites
from vespiary._toml_files import FileError
from vespiary.close_code import CloseCode
from vespiary.wasp.cluster.nats import NatsCluster
from vespiary.wasp.configuration import configuration_of, make_sites
from vespiary.wasp.connections import ConnectionQuery, connection_facts, connection_page
from vespiary.wasp.hosts.disconnecting import TEXT, disconnect
from vespiary.wasp.hosts.hosting import Where
from vespiary.wasp.platform_server import PlatformServer

if TYPE_CHECKING:
    from vespiary._core import Connection
    from vespiary._site import Site
    from vespiary.server import Server
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


class _Served(PlatformServer):
    """The server in the process: it heeds the channel.

    In a cluster it is a node of its own, so that its topics are those of all other servers.

    Args:
        channel: To the server that has started the process.
        name: The endpoint.
        cluster: What carries messages to other machines, and to that server.
    """

    def __init__(self, channel: Channel, name: str, cluster: NatsCluster | None) -> None:
        super().__init__(cluster)
        self._channel = channel
        self._name = name
        self._tasks: set[asyncio.Task[None]] = set()

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
        if not asyncio.iscoroutine(answer.get("value")):
            self._channel.send(answer)
            return
        task = asyncio.ensure_future(self._answer_later(answer.pop("value"), answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer_later(self, result: Coroutine[Any, Any, Any], answer: dict[str, Any]) -> None:
        try:
            answer["value"] = await result
        except Exception as error:
            logger.exception("A command failed")
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

    def _on_connections(self, query: dict[str, Any]) -> Coroutine[Any, Any, dict[str, Any]]:
        named = [(self._name, site) for site in self._sites]
        return connection_page(self, named, ConnectionQuery(**query))

    def _on_inspect(self, connection: str) -> dict[str, Any] | None:
        found = self._found(connection)
        return None if found is None else connection_facts(self, self._name, *found)

    def _on_disconnect_one(self, connection: str) -> bool:
        found = self._found(connection)
        if found is not None:
            found[1].close(CloseCode.GOING_AWAY, TEXT)
        return found is not None

    def _found(self, connection: str) -> tuple[Site, Connection] | None:
        """The connection with an id, of which the operator's part is `RUN.NUMBER`."""
        directory = self._running("inspect").directory
        found = directory.find(f"{self._slot_index}.{connection}")
        if found is None or found.close_reason is not None:
            return None
        for site in self._sites:
            if site.native is not None and found in site.native.connections_of_handler():
                return site, found
        return None


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
        settings = configuration.cluster
        cluster = None if settings is None else NatsCluster(settings)
        own = _Served(self._channel, name, cluster)
        add_sites(own, sites)
        for address, before in zip(own._addresses, server._addresses, strict=True):
            address.share(before)
        self._worker.run(own)
