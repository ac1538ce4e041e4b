"""What an operator asks of the endpoints of this process: suspend, resume, drain and so on.

With workers, `control` has each process do it.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from vespiary._core import __version__
from vespiary._directory import run_in, slot_in
from vespiary._listening import ListeningAddress
from vespiary._replacing import replace_sites
from vespiary._shutdown import Shutdown
from vespiary._site import Site
from vespiary._suggestions import advice
from vespiary.close_code import CloseCode
from vespiary.errors import ConfigurationError
from vespiary.statistics import EndpointStatistics
from vespiary.wasp.bounds import is_of_address, reset_bounds, set_bound, shown_bounds
from vespiary.wasp.changes import Changed
from vespiary.wasp.configuration import ADMIN
from vespiary.wasp.connections import (
    Ask,
    ConnectionQuery,
    connection_facts,
    connection_page,
    joined_page,
)
from vespiary.wasp.hosts.disconnecting import TEXT, disconnect
from vespiary.wasp.hosts.elsewhere import ask_for_one, page_of
from vespiary.wasp.hosts.process import ProcessHost
from vespiary.wasp.log_records import LEVELS, set_level
from vespiary.wasp.taps import TapOptions, tapped
from vespiary.wasp.worker_calls import Refused

if TYPE_CHECKING:
    from vespiary._core import Connection
    from vespiary.wasp.platform import Platform

__all__ = ["Operations", "Refused"]


class Operations:
    """The operator's commands for the endpoints of a platform, in this process."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._drains: dict[str, asyncio.Task[None]] = {}

    def suspend(self, name: str) -> None:
        """Accept no new connections: they wait in the kernel, up to `backlog`.

        Open connections are not affected.

        Raises:
            Refused: the endpoint is not known, is drained, or shares its address with another one.
        """
        for address in self._own_addresses(name, "suspend"):
            _hold(address, is_held=True)

    async def resume(self, name: str) -> None:
        """Accept connections again, after `suspend` or `drain`.

        Raises:
            Refused: the endpoint is not known.
            Exception: a drained endpoint cannot be started: as for `Platform.reload`.
        """
        platform = self._platform
        drain = self._drains.pop(name, None)
        if drain is not None:
            await drain
        if not self._sites(name):
            made = platform.make(platform.configuration, [name])
            await replace_sites(platform.server, [], made[name], {})
            platform.sites |= made
            return
        for address in self._own_addresses(name, "resume"):
            _hold(address, is_held=False)

    async def drain(self, name: str) -> None:
        """Accept no new connections, and let those that are open finish, as a stop does.

        Without workers, the endpoint does not listen any more, so new connections are refused. With
        workers, their main process keeps the sockets, and connections wait in the kernel.

        Raises:
            Refused: the endpoint is not known, is drained already, or shares its address with
                another one.
        """
        platform = self._platform
        addresses = self._own_addresses(name, "drain")
        gone = platform.sites[name]
        if platform.configuration.workers is not None and process_host(gone) is not None:
            raise Refused(
                f"the endpoint {name!r} has a separate process in each worker, which cannot be "
                "drained alone: suspend it, and disconnect its connections"
            )
        if platform.configuration.workers is None:
            platform.sites[name] = []
            await replace_sites(platform.server, gone, [], {})
            return
        for address in addresses:
            _hold(address, is_held=True)
        if name not in self._drains or self._drains[name].done():
            self._drains[name] = asyncio.ensure_future(self._end_connections(name, gone))

    async def _end_connections(self, name: str, sites: list[Site]) -> None:
        """End the connections of an endpoint that stays."""
        life = self._platform.server._running("drain")
        await Shutdown(sites, None, life.force, subject=name).run()
        for site in sites:
            if site.native is not None and not life.stopping:
                site.native.end_shutdown()

    async def disconnect(self, name: str, peer: str | None = None) -> int:
        """Close connections of an endpoint, on WebSocket with 1001.

        Args:
            name: The endpoint.
            peer: The address of the peer, with or without its port, or a network; default: all
                connections.

        Returns:
            How many are being closed.

        Raises:
            Refused: the endpoint is not known, or the network is not valid.
        """
        sites = self._sites(name)
        host = process_host(sites)
        if host is None:
            return disconnect(sites, peer)
        try:
            count: int = await host.ask("disconnect", peer=peer)
        except ConfigurationError as error:
            raise Refused(str(error)) from None
        return count

    async def disconnect_one(self, connection_id: str) -> None:
        """Close a connection of this process or of its plug-ins' processes, WebSocket with 1001.

        Raises:
            Refused: there is no such connection.
        """
        if self._is_elsewhere(connection_id):
            await self._ask_hosts("disconnect_one", connection_id)
        else:
            self._connection(connection_id)[2].close(CloseCode.GOING_AWAY, TEXT)

    async def inspect(self, connection_id: str) -> dict[str, Any]:
        """Everything that is known about a connection of this process or of a plug-in's process.

        Raises:
            Refused: there is no such connection.
        """
        if self._is_elsewhere(connection_id):
            facts: dict[str, Any] = await self._ask_hosts("inspect", connection_id)
            return facts
        name, site, found = self._connection(connection_id)
        return connection_facts(self._platform.server, name, site, found)

    async def _ask_hosts(self, command: str, connection_id: str) -> Any:
        hosts = [host for _, host in self.hosts()]
        return await ask_for_one(hosts, self._platform.server, command, connection_id)

    def _is_elsewhere(self, connection_id: str) -> bool:
        """Whether a connection may be one of a plug-in's process."""
        if not any(True for _ in self.hosts()):
            return False
        own = self._platform.server._running("inspect").directory.run
        try:
            slot_in(connection_id)
        except ValueError:
            return False
        return run_in(connection_id) != own

    def tap(self, connection_id: str, options: TapOptions) -> AsyncGenerator[dict[str, Any]]:
        """Iterate over what passes on a connection of this process: see `taps`.

        Raises:
            Refused: there is no such connection.
        """
        if self._is_elsewhere(connection_id):
            raise Refused(
                "a connection of a plug-in in a separate process cannot be tapped", subject="id"
            )
        return tapped(self._connection(connection_id)[2], options)

    def _connection(self, connection_id: str) -> tuple[str, Site, Connection]:
        server = self._platform.server
        try:
            slot_in(connection_id)
        except ValueError:
            raise Refused(f"{connection_id!r} is not the id of a connection") from None
        found = server._running("inspect").directory.find(connection_id)
        if found is not None and found.close_reason is None:
            for name, site in self.served():
                if site.native is not None and found in site.native.connections_of_handler():
                    return name, site, found
        raise Refused(f"there is no connection {connection_id}: it has ended", subject="id")

    async def connections(self, query: ConnectionQuery) -> dict[str, Any]:
        """List connections of this process and of its plug-ins' processes: see `connections`.

        Raises:
            Refused: the endpoint is not known, or its process does not answer.
        """
        if query.endpoint is not None:
            self._sites(query.endpoint)
        server = self._platform.server
        hosts = [one for one in self.hosts() if query.endpoint in (None, one[0])]

        def own(part: ConnectionQuery) -> Any:
            return connection_page(server, self.served(), part)

        asks: list[Ask] = [own, *(partial(page_of, host, name, server) for name, host in hosts)]
        return await joined_page(asks, query)

    def set_limit(self, name: str, bound: str, text: str) -> list[str]:
        """Set a limit or a deadline of an endpoint until the next reload.

        One that applies to an address is set for all endpoints that share the address.

        Returns:
            The endpoints for which it is set.

        Raises:
            Refused: the endpoint or the limit is not known, or the value is not valid.
        """
        sites = self._sites(name)
        if not sites:
            raise Refused(f"the endpoint {name!r} is drained: resume starts it again")
        _check_here(name, sites)
        if is_of_address(bound):
            sites = [site for address in self._addresses(name) for site in address.sites]
        table = self._platform.configuration.endpoints[name].table
        has_own_framing = isinstance(table.framing, str) and ":" in table.framing
        for site in sites:
            set_bound(site, bound, text, has_own_framing=has_own_framing)
        return [one for one, theirs in self._platform.sites.items() if set(theirs) & set(sites)]

    def set_level(self, logger: str, level: str) -> None:
        """Set the level of the log, or of one logger, until the next reload.

        Raises:
            Refused: there is no such level.
        """
        if level not in LEVELS:
            raise Refused(f"there is no level {level!r}: {advice(level, LEVELS)}", subject="level")
        set_level(logger, level)

    def hold_changed(self, changed: Changed) -> None:
        """In a new worker, before it accepts connections: do what operators have asked for."""
        for name in changed.held:
            for address in self._addresses(name):
                _hold(address, is_held=True)
        for name, bounds in changed.bounds.items():
            for bound, text in bounds.items():
                self.set_limit(name, bound, text)
        for logger, level in changed.levels.items():
            set_level(logger, level)

    def forget(self, changed: Changed) -> None:
        """After a reload: what operators have changed is as the configuration says again."""
        for name, sites in self._platform.sites.items():
            if name in changed.bounds:
                for site in sites:
                    reset_bounds(site)
            if name in changed.held:
                for address in self._addresses(name):
                    _hold(address, is_held=False)
        for logger in changed.levels:
            if logger:
                set_level(logger, None)

    def status(self) -> dict[str, Any]:
        """What runs, and what it has counted: an object for JSON."""
        platform = self._platform
        statistics = platform.server.statistics()
        counted = dict(zip(platform.server._sites, statistics.endpoints, strict=False))
        bounds = platform.changes.read().bounds
        endpoints = {
            name: {
                "plugin": planned.served_by,
                "urls": [site.url for site in platform.sites[name]],
                "state": self._state(name),
                "limits_set": bounds.get(name, {}),
                **_numbers(self._counted(platform.sites[name], counted)),
                **_hosted(platform.sites[name]),
            }
            for name, planned in platform.configuration.endpoints.items()
        }
        cluster = platform.server.cluster
        return {
            "version": __version__,
            "configuration": str(platform.configuration.path),
            "process": platform.process,
            "running_seconds": statistics.running_seconds,
            "reloads": self._reloads(),
            "driver": statistics.port.driver,
            "cluster": None if cluster is None else cluster.facts(),
            "endpoints": endpoints,
            "workers": [
                {
                    "number": worker.number,
                    "process": worker.process,
                    "processes_started": worker.processes_started,
                    "connections_open": worker.total.connections_open,
                    "connections_accepted": worker.total.connections_accepted,
                    "messages_received": worker.total.messages_received,
                    "messages_sent": worker.total.messages_sent,
                    "handler_errors": worker.total.handler_errors,
                }
                for worker in statistics.workers
            ],
        }

    def limits(self, name: str) -> dict[str, int | float | None]:
        """The limits and deadlines of an endpoint, as they are now.

        Raises:
            Refused: the endpoint is not known, or is drained.
        """
        sites = self._sites(name)
        if not sites:
            raise Refused(f"the endpoint {name!r} is drained: resume starts it again")
        _check_here(name, sites)
        return shown_bounds(sites[0])

    def queues(self) -> dict[str, tuple[int, int]]:
        """By endpoint: connections on which bytes wait to be sent, and these bytes."""
        found: dict[str, tuple[int, int]] = {}
        for name, site in self.served():
            if site.native is not None:
                count, waiting = site.native.queues()
                before = found.get(name, (0, 0))
                found[name] = (before[0] + count, before[1] + waiting)
        return found

    def _reloads(self) -> dict[str, Any] | None:
        # With workers, another process reloads, and its counts are not known here.
        has_workers = self._platform.configuration.workers is not None
        return None if has_workers else dataclasses.asdict(self._platform.reloads)

    def states(self) -> dict[str, str]:
        """Of each endpoint by name, whether it is `serving`, `suspended` or `drained`.

        The process of a plug-in may also be `restarting`, and what an optional endpoint needs `not
        installed`.
        """
        return {name: self._state(name) for name in self._platform.configuration.endpoints}

    def served(self) -> list[tuple[str, Site]]:
        """The endpoints of the configuration by name, with an entry for each URL."""
        sites = self._platform.sites.items()
        return [(name, site) for name, many in sites if name != ADMIN for site in many]

    def statistics(self) -> Iterator[tuple[str, EndpointStatistics]]:
        """What each endpoint has counted, for each of its URLs, with its name."""
        server = self._platform.server
        names = {site: name for name, site in self.served()}
        for site, counted in zip(server._sites, server.statistics().endpoints, strict=False):
            if site in names and process_host([site]) is None:
                yield names[site], counted
        for name, host in self.hosts():
            for statistics in host.statistics():
                yield name, statistics

    def hosts(self) -> Iterator[tuple[str, ProcessHost]]:
        """The endpoints that are served by processes of their own, by name."""
        for name, sites in self._platform.sites.items():
            host = process_host(sites)
            if host is not None:
                yield name, host

    def _counted(
        self, sites: list[Site], counted: dict[Site, EndpointStatistics]
    ) -> list[EndpointStatistics]:
        host = process_host(sites)
        if host is not None:
            return host.statistics()
        return [counted[site] for site in sites if site in counted]

    def worker_statistics(self) -> Iterator[tuple[int, str, EndpointStatistics]]:
        """The same for each worker, with its number and the name of the endpoint."""
        server = self._platform.server
        names = {site: name for name, site in self.served()}
        for worker in server.statistics().workers:
            for site, counted in zip(server._sites, worker.endpoints, strict=False):
                if site in names:
                    yield worker.number, names[site], counted

    def _state(self, name: str) -> str:
        held = self._platform.changes.read().held.get(name)
        if held is not None:
            return held
        addresses = list(self._addresses(name))
        if not addresses:
            is_optional = self._platform.configuration.endpoints[name].table.optional
            return "not installed" if is_optional else "drained"
        if not all(one.is_accepting for one in addresses):
            return "suspended"
        host = process_host(self._sites(name))
        return "serving" if host is None or host.state is None else host.state

    def _sites(self, name: str) -> list[Site]:
        endpoints = self._platform.configuration.endpoints
        if name not in endpoints:
            raise Refused(f"there is no endpoint {name!r}: {advice(name, endpoints)}")
        return self._platform.sites[name]

    def _addresses(self, name: str) -> Iterator[ListeningAddress]:
        sites = self._sites(name)
        for address in self._platform.server._addresses:
            if any(site in sites for site in address.sites):
                yield address

    def _own_addresses(self, name: str, command: str) -> list[ListeningAddress]:
        found = list(self._addresses(name))
        if not found:
            raise Refused(f"the endpoint {name!r} is drained: resume starts it again")
        sites = self._sites(name)
        others = sorted(
            other
            for other, theirs in self._platform.sites.items()
            if other != name and any(site in one.sites for one in found for site in theirs)
        )
        if others:
            raise Refused(
                f"the endpoint {name!r} shares the address of {sites[0].url} with"
                f" {', '.join(others)}, which {command} would affect too"
            )
        return found


def process_host(sites: Sequence[Site]) -> ProcessHost | None:
    """What stands for the plug-in's own process at an endpoint; None if it has none."""
    handler = sites[0].handler if sites else None
    return handler if isinstance(handler, ProcessHost) else None


def _check_here(name: str, sites: Sequence[Site]) -> None:
    """Refuse what is not possible for a plug-in in a separate process.

    Raises:
        Refused: it has one.
    """
    if process_host(sites) is not None:
        raise Refused(
            f"the endpoint {name!r} is served by a separate process: to change its limits, change"
            " the configuration and reload"
        )


def _hosted(sites: Sequence[Site]) -> dict[str, Any]:
    host = process_host(sites)
    return {} if host is None else {"plugin_process": host.facts()}


def _numbers(statistics: list[EndpointStatistics]) -> dict[str, Any]:
    total = dataclasses.asdict(sum(statistics, start=EndpointStatistics()))
    del total["url"]
    return total


def _hold(address: ListeningAddress, *, is_held: bool) -> None:
    """Let an address accept nothing, even if its server is about to start; or accept again."""
    address.is_held = is_held
    if is_held:
        address.suspend()
    else:
        address.resume()
