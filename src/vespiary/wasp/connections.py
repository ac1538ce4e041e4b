"""The connections of a server as operators see them: lists with filters and pages, and details.

A server may have 10,000 connections and more. A page of a list looks at each of them, but asks only
those of the page for their counters, unless the list is sorted by a counter. In between, the loop
does other work. With 10,000 connections, a page takes 20 ms, and one that is sorted 120 ms.
"""

from __future__ import annotations

import asyncio
import dataclasses
import heapq
import ipaddress
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from vespiary._counted import counted
from vespiary.wasp.worker_calls import Refused

if TYPE_CHECKING:
    from vespiary._core import Connection
    from vespiary._site import Site
    from vespiary.server import Server

__all__ = [
    "Ask",
    "ConnectionQuery",
    "connection_facts",
    "connection_page",
    "joined_page",
    "merged_page",
    "peer_filter",
]

_BATCH = 500
_COUNTERS_BATCH = 100
"""The counters of so many are read before the loop does other work: two milliseconds."""
_PAGE_MAX = 500
_SORTED_MAX = 10_000
"""So far a sorted list can be paged through: each page needs all rows before it."""
_SECRET_FIELDS = ("authorization", "cookie", "proxy-authorization", "x-api-key", "x-csrf-token")
"""Header fields whose values are not shown."""

Order = Literal[
    "open_seconds", "messages_received", "messages_sent", "bytes_received", "bytes_sent",
    "queued_bytes",
]  # fmt: skip


class ConnectionQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which connections are listed, and in which order.

    Attributes:
        endpoint: Only those of this endpoint.
        peer: Only those of this address, address with port, or network such as `10.0.0.0/8`.
        path: Only those whose request's path begins with this.
        worker: Only those of this worker.
        order: The counter by which they are sorted, the largest first; default: as they come.
        offset: How many are skipped.
        limit: How many are listed.
    """

    endpoint: str | None = None
    peer: str | None = None
    path: str | None = None
    worker: int | None = None
    order: Order | None = None
    offset: Annotated[int, Meta(ge=0)] = 0
    limit: Annotated[int, Meta(ge=1, le=_PAGE_MAX)] = 50

    @classmethod
    def parse(cls, texts: dict[str, str]) -> ConnectionQuery:
        """Read a query; empty texts are ignored.

        Raises:
            Refused: a name or a value is not valid.
        """
        given = {name: text for name, text in texts.items() if text != ""}
        try:
            query = msgspec.convert(given, cls, strict=False)
        except msgspec.ValidationError as error:
            raise Refused(f"{error}; there are {', '.join(cls.__struct_fields__)}") from None
        if query.order is not None and query.offset + query.limit > _SORTED_MAX:
            text = f"a sorted list ends after {counted(_SORTED_MAX, 'connection')}: use a filter"
            raise Refused(text, subject="offset")
        peer_filter(query.peer)
        return query


def peer_filter(peer: str | None) -> Callable[[Connection], bool]:
    """A test for connections of a peer: an address, an address with its port, or a network.

    Raises:
        Refused: it is not a valid network.
    """
    if peer is None:
        return lambda connection: True
    if "/" in peer and not peer.startswith("/"):
        try:
            network = ipaddress.ip_network(peer, strict=False)
        except ValueError as error:
            raise Refused(f"peer: {error}", subject="peer", value=peer) from None
        return lambda connection: _is_in(connection.peer, network)
    return lambda connection: peer in _names(connection.peer)


def _is_in(
    peer: tuple[str, int] | str | None, network: ipaddress.IPv4Network | ipaddress.IPv6Network
) -> bool:
    if not isinstance(peer, tuple):
        return False
    return ipaddress.ip_address(peer[0].partition("%")[0]) in network


def _names(peer: tuple[str, int] | str | None) -> tuple[str, ...]:
    if isinstance(peer, tuple):
        host, port = peer
        return (host, f"{host}:{port}", f"[{host}]:{port}")
    return (peer,) if peer else ()


def _shown(address: tuple[str, int] | str | None) -> str:
    if isinstance(address, tuple):
        host, port = address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return address or ""


def _path(connection: Connection) -> str | None:
    """The path of the request that opened it, if there is one and it is kept."""
    try:
        request = connection.request
    except RuntimeError:
        return None
    return None if request is None else request.path


def _row(server: Server, name: str, connection: Connection) -> dict[str, Any]:
    counted = dataclasses.asdict(connection.statistics())
    del counted["compression"]
    return {
        "id": server.connection_id(connection),
        "endpoint": name,
        "worker": server.worker,
        "peer": _shown(connection.peer),
        "path": _path(connection),
        "state": "open" if connection.is_open else "not open",
        **counted,
    }


async def _matching(
    sites: Iterable[tuple[str, Site]], query: ConnectionQuery
) -> AsyncIterator[tuple[str, Connection]]:
    is_of_peer, count = peer_filter(query.peer), 0
    for name, site in sites:
        if site.native is None or query.endpoint not in (None, name):
            continue
        for connection in site.native.connections_of_handler():
            count += 1
            if count % _BATCH == 0:
                await asyncio.sleep(0)
            if is_of_peer(connection) and _has_path(connection, query.path):
                yield name, connection


def _has_path(connection: Connection, prefix: str | None) -> bool:
    return prefix is None or (_path(connection) or "").startswith(prefix)


async def connection_page(
    server: Server, sites: Iterable[tuple[str, Site]], query: ConnectionQuery
) -> dict[str, Any]:
    """List connections of this process.

    Returns:
        How many match (`count`), and the rows of the page. In a sorted list the rows before the
        page are there too, because those of other workers may come between them.
    """
    found = [one async for one in _matching(sites, query)]
    if query.order is None:
        chosen = found[query.offset : query.offset + query.limit]
        rows = [_row(server, name, connection) for name, connection in chosen]
    else:
        largest = await _with_largest(found, query)
        rows = [_row(server, name, connection) for name, connection in largest]
    return {"count": len(found), "rows": rows}


async def _with_largest(
    found: list[tuple[str, Connection]], query: ConnectionQuery
) -> list[tuple[str, Connection]]:
    """The connections with the largest counters, up to the end of the page."""
    order, values = query.order or "open_seconds", []
    for number, (_, connection) in enumerate(found, start=1):
        values.append(getattr(connection.statistics(), order))
        if number % _COUNTERS_BATCH == 0:
            await asyncio.sleep(0)
    # By number where they are equal, so that the pages of a list follow each other.
    most = query.offset + query.limit
    numbers = heapq.nlargest(most, range(len(found)), key=lambda one: (values[one], -one))
    return [found[number] for number in numbers]


def _largest(rows: Iterable[dict[str, Any]], query: ConnectionQuery) -> list[dict[str, Any]]:
    order = query.order or "open_seconds"
    return heapq.nlargest(query.offset + query.limit, rows, key=lambda row: row[order])


Ask = Callable[[ConnectionQuery], Any]


async def merged_page(asks: list[Ask], query: ConnectionQuery) -> dict[str, Any]:
    """List connections of several processes.

    Args:
        asks: Each lists those of one process.
        query: Which ones.
    """
    page = await joined_page(asks, query)
    rows = page["rows"] if query.order is None else page["rows"][query.offset :]
    return {"count": page["count"], "offset": query.offset, "limit": query.limit, "rows": rows}


async def joined_page(asks: list[Ask], query: ConnectionQuery) -> dict[str, Any]:
    """List connections of several processes, as `connection_page` does for one."""
    rows: list[dict[str, Any]] = []
    if query.order is not None:
        pages = await asyncio.gather(*(ask(query) for ask in asks))
        rows = _largest((row for page in pages for row in page["rows"]), query)
        count = sum(page["count"] for page in pages)
    else:
        # One after the other, because each page depends on how many the processes before it have.
        count, offset, rest = 0, query.offset, query.limit
        for ask in asks:
            part = msgspec.structs.replace(query, offset=offset, limit=max(rest, 1))
            page = await ask(part)
            taken = page["rows"][:rest]
            rows += taken
            rest -= len(taken)
            count += page["count"]
            offset = max(0, offset - page["count"])
    return {"count": count, "rows": rows}


def connection_facts(server: Server, name: str, site: Site, found: Connection) -> dict[str, Any]:
    """Everything that is known about a connection, but what passes on it."""
    facts = _row(server, name, found)
    facts["url"] = site.url
    facts["local_address"] = _shown(found.local_address)
    facts["compression"] = dataclasses.asdict(found.statistics().compression)
    facts["websocket"] = None
    if found.version is not None:
        facts["websocket"] = {
            "version": found.version,
            "subprotocol": found.subprotocol,
            "extensions": found.extensions,
        }
    facts["tls"] = None
    if found.tls is not None:
        facts["tls"] = {
            "version": found.tls.version,
            "cipher": found.tls.cipher,
            "group": found.tls.group,
            "alpn": found.tls.alpn,
            "server_name": found.tls.server_name,
            "resumed": found.tls.resumed,
        }
    try:
        request = found.request
    except RuntimeError:
        request = None
    facts["request"] = None
    if request is not None:
        facts["request"] = {
            "method": request.method,
            "path": request.path,
            "has_query": bool(request.query),
            "headers": [
                [field, "(not shown)" if field.lower() in _SECRET_FIELDS else value]
                for field, value in request.headers.lines
            ],
        }
    return facts
