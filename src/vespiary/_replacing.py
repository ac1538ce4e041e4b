"""Endpoints that take the place of others while their server runs, as a reload asks for.

Several endpoints may share an address, and what acts before a request is known belongs to it. So
whole addresses are replaced. The new ones start completely (their sockets are bound, and each
`on_start` has returned) before anything happens to the old ones: a start that fails leaves all as
it was. An address that is there before and after keeps its sockets: both listen on them until the
old one stops, so no connect is refused, and what waits in the kernel is accepted by the new one.

Connections of the old endpoints end as in a graceful stop, within `drain_seconds`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vespiary._certificates import watch
from vespiary._first_step import Begins
from vespiary._listening import ListeningAddress, place
from vespiary._server_hooks import start_handler, stop_handlers
from vespiary._shutdown import Shutdown

if TYPE_CHECKING:
    from vespiary._life import Life
    from vespiary._site import Site
    from vespiary.server import Server

__all__ = ["add_sites", "bind_addresses", "hand_over", "replace_sites", "unbind_addresses"]

logger = logging.getLogger("vespiary")


def add_sites(server: Server, sites: Sequence[Site]) -> None:
    """Let a server that has not started serve these.

    Raises:
        ConfigurationError: one of them conflicts with another.
    """
    for site in sites:
        place(server._addresses, site)
        server._sites.append(site)


def hand_over(server: Server) -> None:
    """Stop a server gracefully while another process accepts connections from its sockets.

    A signal handler may call this.
    """
    server._is_handed_over = True
    server.stop_soon()


def bind_addresses(server: Server) -> None:
    """Bind the sockets of a server that has not started; `replace_sites` passes them on.

    Raises:
        OSError: an address cannot be listened on.
    """
    for address in server._addresses:
        address.bind()


def unbind_addresses(server: Server) -> None:
    """Close what was bound."""
    for address in server._addresses:
        address.unbind()


async def replace_sites(
    server: Server,
    gone: Sequence[Site],
    new: Sequence[Site],
    pairs: Mapping[Site, Site],
    start_seconds: float | None = None,
) -> None:
    """Let some endpoints of a running server take the place of others.

    Args:
        server: The server, whose addresses `bind_addresses` has bound.
        gone: What stops: with each endpoint, all others of its address.
        new: What starts.
        pairs: The old endpoint whose sockets a new one uses, even if its port was 0.
        start_seconds: The longest time for all `on_start`; None for no limit.

    Raises:
        ConfigurationError: new endpoints conflict with each other.
        OSError: an address cannot be listened on.
        TimeoutError: `start_seconds` is over. Nothing has changed then.
        Exception: what an `on_start` has raised. Nothing has changed then.
    """
    replacement = _Replacement(server, gone, new, pairs)
    await replacement.start(start_seconds)
    if replacement.life.stopping:
        return
    replacement.switch()


class _Replacement:
    def __init__(
        self, server: Server, gone: Sequence[Site], new: Sequence[Site], pairs: Mapping[Site, Site]
    ) -> None:
        self.server = server
        self.life: Life = server._running("reload")
        self._new_sites = list(new)
        self._new: list[ListeningAddress] = []
        for site in new:
            place(self._new, site)
        self._gone = [
            address for address in server._addresses if any(site in gone for site in address.sites)
        ]
        self._before = {address: self._predecessor(address, pairs) for address in self._new}
        self._started: list[Site] = []

    def _predecessor(
        self, address: ListeningAddress, pairs: Mapping[Site, Site]
    ) -> ListeningAddress | None:
        """The old address whose sockets a new one uses."""
        if any(site.options.get("multicast_groups") for site in address.sites):
            # A group cannot be joined a second time on the same socket.
            return None
        olds = {id(pairs[site]) for site in address.sites if site in pairs}
        for gone in self._gone:
            is_paired = any(id(site) in olds for site in gone.sites)
            if gone.is_shareable_with(address) or (is_paired and _is_same_place(gone, address)):
                return gone
        return None

    async def start(self, seconds: float | None) -> None:
        """Start what is new, without accepting connections."""
        is_done = False
        try:
            for address in self._new:
                before = self._before[address]
                if before is not None:
                    address.share(before)
                else:
                    address.bind()
                address.open(self.life)
            limit = asyncio.timeout(seconds)
            try:
                async with limit:
                    await self._start_handlers()
            except TimeoutError:
                if not limit.expired():
                    raise
                raise TimeoutError(f"on_start has not returned within {seconds:g} s") from None
            is_done = not self.life.stopping
        finally:
            if not is_done:
                await self._undo()

    async def _start_handlers(self) -> None:
        for site in self._new_sites:
            if any(other.handler is site.handler for other in self._started):
                continue
            if await start_handler(self.life, site, self.server):
                self._started.append(site)
            if self.life.stopping:
                return

    async def _undo(self) -> None:
        await stop_handlers(self.life, self._started[::-1], self.server)
        for address in self._new:
            address.close()
            address.release()
            address.unbind()

    def switch(self) -> None:
        """Accept connections for what is new, and none for what is gone."""
        server, life = self.server, self.life
        for address, before in self._before.items():
            if before is not None:
                before.give_file(address)
        gone_sites = [site for address in self._gone for site in address.sites]
        server._addresses = [one for one in server._addresses if one not in self._gone] + self._new
        server._sites = [one for one in server._sites if one not in gone_sites] + self._new_sites
        for address in self._gone:
            address.close()
            address.unbind()
        for address in self._new:
            address.resume()
            address.log()
        for site in self._new_sites:
            if site.tls is not None:
                watch(site.tls)
        if gone_sites:
            task = life.loop.create_task(Begins(self._drain(gone_sites)))
            life.drains.add(task)
            task.add_done_callback(life.drains.discard)

    async def _drain(self, sites: list[Site]) -> None:
        """End the connections of what is gone."""
        fronts = [front for address in self._gone for front in address.removed_front]
        urls = ", ".join(site.url for site in sites)
        try:
            # The old listeners are closed in the loop's next turn.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            for address in self._new:
                address.accept_what_waits()
            shutdown = Shutdown(
                sites + fronts,
                None,
                self.life.force,
                subject=f"the old {urls}",
                addresses=self._gone,
                is_handed_over=True,
            )
            await shutdown.run()
            await stop_handlers(self.life, sites, self.server)
        finally:
            for address in self._gone:
                address.release()


def _is_same_place(one: ListeningAddress, other: ListeningAddress) -> bool:
    """Whether two addresses, whose port may be 0, are on the same host."""
    first, second = one.sites[0].endpoint, other.sites[0].endpoint
    return (first.is_datagram, first.host, first.is_unix) == (
        second.is_datagram,
        second.host,
        second.is_unix,
    ) and second.port == 0
