"""What an operator asks of endpoints while they run: suspend, resume, drain, disconnect, status."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from vespiary._core import __version__
from vespiary._listening import ListeningAddress
from vespiary._replacing import replace_sites
from vespiary._site import Site
from vespiary._suggestions import advice
from vespiary.close_code import CloseCode
from vespiary.errors import ConfigurationError
from vespiary.statistics import EndpointStatistics
from vespiary.wasp.configuration import ADMIN, make_sites

if TYPE_CHECKING:
    from vespiary.wasp.platform import Platform

__all__ = ["Operations", "Refused"]

_TEXT = "closed by the operator"


class Refused(ConfigurationError):
    """An operator's command cannot be carried out; the text says why."""


class Operations:
    """The operator's commands for the endpoints of a platform."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def suspend(self, name: str) -> None:
        """Accept no new connections: they wait in the kernel, up to `backlog`.

        Open connections are not affected.

        Raises:
            Refused: the endpoint is not known, is drained, or shares its address with another one.
        """
        for address in self._own_addresses(name, "suspend"):
            address.suspend()

    async def resume(self, name: str) -> None:
        """Accept connections again, after `suspend` or `drain`.

        Raises:
            Refused: the endpoint is not known.
            Exception: a drained endpoint cannot be started: as for `Platform.reload`.
        """
        platform = self._platform
        if not self._sites(name):
            made = make_sites(platform.configuration, [name], platform.sockets)
            await replace_sites(platform.server, [], made[name], {})
            platform.sites |= made
            return
        for address in self._own_addresses(name, "resume"):
            address.resume()

    async def drain(self, name: str) -> None:
        """Stop listening, and let connections finish within `drain_seconds`, as a stop does.

        `resume` and a reload start the endpoint again.

        Raises:
            Refused: the endpoint is not known, or shares its address with another one.
        """
        platform = self._platform
        self._own_addresses(name, "drain")
        gone = platform.sites[name]
        platform.sites[name] = []
        await replace_sites(platform.server, gone, [], {})

    def disconnect(self, name: str, peer: str | None = None) -> int:
        """Close connections of an endpoint, on WebSocket with 1001.

        Args:
            name: The endpoint.
            peer: The address of the peer, with or without its port; default: all connections.

        Returns:
            How many are being closed.

        Raises:
            Refused: the endpoint is not known.
        """
        self._check_alone("disconnect")
        count = 0
        for site in self._sites(name):
            for connection in site.native.connections_of_handler() if site.native else ():
                if peer is None or peer in _names(connection.peer):
                    connection.close(CloseCode.GOING_AWAY, _TEXT)
                    count += 1
        return count

    def status(self) -> dict[str, Any]:
        """What runs, and what it has counted: an object for JSON."""
        platform = self._platform
        statistics = platform.server.statistics()
        counted = dict(zip(platform.server._sites, statistics.endpoints, strict=False))
        endpoints = {
            name: {
                "plugin": planned.table.plugin,
                "urls": [site.url for site in platform.sites[name]],
                "state": self._state(name),
                **_numbers([counted[site] for site in platform.sites[name] if site in counted]),
            }
            for name, planned in platform.configuration.endpoints.items()
        }
        return {
            "version": __version__,
            "configuration": str(platform.configuration.path),
            "process": platform.process,
            "running_seconds": statistics.running_seconds,
            "reloads": self._reloads(),
            "driver": statistics.port.driver,
            "endpoints": endpoints,
            "workers": [
                {
                    "number": worker.number,
                    "process": worker.process,
                    "processes_started": worker.processes_started,
                    "connections_open": worker.total.connections_open,
                }
                for worker in statistics.workers
            ],
        }

    def _reloads(self) -> dict[str, Any] | None:
        # With workers, another process reloads, and its counts are not known here.
        has_workers = self._platform.configuration.workers is not None
        return None if has_workers else dataclasses.asdict(self._platform.reloads)

    def states(self) -> dict[str, str]:
        """Of each endpoint by name, whether it is `serving`, `suspended` or `drained`."""
        return {name: self._state(name) for name in self._platform.configuration.endpoints}

    def statistics(self) -> Iterator[tuple[str, EndpointStatistics]]:
        """What each endpoint has counted, for each of its URLs, with its name."""
        server = self._platform.server
        names = {site: name for name, sites in self._platform.sites.items() for site in sites}
        for site, counted in zip(server._sites, server.statistics().endpoints, strict=False):
            if site in names and names[site] != ADMIN:
                yield names[site], counted

    def _state(self, name: str) -> str:
        addresses = list(self._addresses(name))
        if not addresses:
            return "drained"
        return "serving" if all(one.is_accepting for one in addresses) else "suspended"

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
        self._check_alone(command)
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

    def _check_alone(self, command: str) -> None:
        if self._platform.configuration.workers is not None:
            raise Refused(
                f"{command} is not supported with workers: it would reach one of them only (process"
                f" {os.getpid()})"
            )


def _names(peer: tuple[str, int] | str | None) -> tuple[str, ...]:
    if isinstance(peer, tuple):
        host, port = peer
        return (host, f"{host}:{port}", f"[{host}]:{port}")
    return (peer,) if peer else ()


def _numbers(statistics: list[EndpointStatistics]) -> dict[str, Any]:
    total = dataclasses.asdict(sum(statistics, start=EndpointStatistics()))
    del total["url"]
    return total
