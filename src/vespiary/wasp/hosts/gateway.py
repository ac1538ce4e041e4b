"""The host `gateway`: it passes on what arrives to the servers that its table `config` names."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

import vespiary
from vespiary.errors import ConfigurationError
from vespiary.handler import AnyHandler
from vespiary.limits import Deadlines
from vespiary.wasp.decoding import WRONG
from vespiary.wasp.settings import given

if TYPE_CHECKING:
    from vespiary.wasp.hosts.hosting import Hosting

__all__ = ["GatewayTable", "HealthTable", "make"]

_STREAMS = frozenset({"tcp", "tls", "unix"})
_HTTP = frozenset({"http", "https", "http+unix"})
_WEBSOCKETS = frozenset({"ws", "wss", "ws+unix"})
_PAIRS = (
    (_HTTP | _WEBSOCKETS, _HTTP, "proxy"),
    (_WEBSOCKETS | _STREAMS, _STREAMS, "stream"),
    (frozenset({"udp"}), frozenset({"udp"}), "datagram"),
)
"""The schemes of endpoints, those of servers, and what connects them."""

_ONLY = {
    "host_header": "proxy",
    "forwarded": "proxy",
    "retries_max": "proxy",
    "response_seconds": "proxy",
    "body_seconds": "proxy",
    "keep_alive_connections_max": "proxy",
    "keep_alive_seconds": "proxy",
    "health": "proxy",
    "connect_seconds": "proxy, stream",
    "tls_ca": "proxy, stream",
    "idle_seconds": "datagram",
    "clients_max": "datagram",
}
"""Keys that only some kinds of gateways have."""


class _Table(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A table; keys that it does not have are errors."""


class HealthTable(_Table, frozen=True):
    """How servers are asked whether they work: see `vespiary.wasp.gateway.Health`."""

    path: str | UnsetType = UNSET
    interval_seconds: float | UnsetType = UNSET
    timeout_seconds: float | UnsetType = UNSET
    failures_max: int | UnsetType = UNSET


class GatewayTable(_Table, frozen=True):
    """The servers behind, and how requests, connections or datagrams are passed on to them."""

    upstreams: list[str]
    connect_seconds: float | UnsetType = UNSET
    failures_max: int | UnsetType = UNSET
    failed_seconds: float | UnsetType = UNSET
    tls_ca: str | UnsetType = UNSET
    host_header: str | UnsetType = UNSET
    forwarded: Literal["x-forwarded", "forwarded", "both", "none"] | UnsetType = UNSET
    retries_max: int | UnsetType = UNSET
    response_seconds: float | UnsetType = UNSET
    body_seconds: float | UnsetType = UNSET
    keep_alive_connections_max: int | UnsetType = UNSET
    keep_alive_seconds: float | UnsetType = UNSET
    health: HealthTable | UnsetType = UNSET
    idle_seconds: float | UnsetType = UNSET
    clients_max: int | UnsetType = UNSET


def make(hosting: Hosting) -> AnyHandler | None:
    """Make the handler of a gateway."""
    table = hosting.decoded(GatewayTable)
    if table is WRONG:
        return None
    try:
        kind = _kind(hosting, table)
        _check(hosting, table, kind)
        return _made(hosting, table, kind)
    except ConfigurationError as error:
        hosting.report_config(error)
        return None


def _wrong(subject: str, text: str) -> ConfigurationError:
    return ConfigurationError(text, subject=subject)


def _kind(hosting: Hosting, table: GatewayTable) -> str:
    """Which kind of gateway connects the endpoint with its servers."""
    if not table.upstreams:
        raise _wrong("upstreams", "expected at least one URL, such as ['http://127.0.0.1:8000']")
    kinds: set[str] = set()
    for url in hosting.planned.urls:
        scheme = vespiary.Endpoint.parse(url).scheme
        for number, one in enumerate(table.upstreams):
            try:
                upstream = vespiary.Endpoint.parse(one)
            except ConfigurationError as error:
                raise _wrong(f"upstreams.{number}", str(error)) from None
            pairs = [(theirs, kind) for ours, theirs, kind in _PAIRS if scheme in ours]
            found = [kind for theirs, kind in pairs if upstream.scheme in theirs]
            if not found:
                known = sorted({name for theirs, _ in pairs for name in theirs})
                raise _wrong(
                    f"upstreams.{number}",
                    f"a gateway on {scheme}:// does not pass anything on to {one}: expected a URL"
                    f" that begins with {', '.join(f'{name}://' for name in known) or 'nothing'}",
                )
            if upstream.has_http and upstream.target not in ("", "/"):
                raise _wrong(
                    f"upstreams.{number}",
                    f"{one} has a path, but requests keep their own: write it without",
                )
            kinds.update(found)
    if len(kinds) > 1:
        raise _wrong("upstreams", "are of different kinds: use one endpoint for each kind")
    return kinds.pop() if kinds else "proxy"


def _check(hosting: Hosting, table: GatewayTable, kind: str) -> None:
    values = given(table)
    for name, value in values.items():
        if name in _ONLY and kind not in _ONLY[name]:
            raise _wrong(name, f"has no effect here: it is for gateways of the kind {_ONLY[name]}")
        number = value if isinstance(value, int | float) else 1
        least = 0 if name in ("retries_max", "keep_alive_connections_max") else 1e-9
        if number < least:
            raise _wrong(name, f"expected a number above 0; there is {value!r}")
    health = {} if table.health is UNSET else given(table.health)
    for name, value in health.items():
        if isinstance(value, int | float) and value <= 0:
            raise _wrong(f"health.{name}", f"expected a number above 0; there is {value!r}")
    if not str(health.get("path", "/")).startswith("/"):
        text = f"expected a path such as '/health'; there is {health['path']!r}"
        raise _wrong("health.path", text)
    limit = hosting.planned.options.get("deadlines", Deadlines()).handshake_seconds
    seconds = values.get("response_seconds", _default("response_seconds"))
    if kind == "proxy" and limit is not None and seconds >= limit:
        raise _wrong(
            "response_seconds",
            f"is {seconds:g}, but a request is answered with 503 after deadlines.handshake_seconds"
            f" ({limit:g}) of the endpoint: set a larger value there",
        )


def _default(name: str) -> float:
    """The default of an option of the proxy."""
    from vespiary.wasp.gateway import ProxyOptions

    value: float = getattr(ProxyOptions(), name)
    return value


def _made(hosting: Hosting, table: GatewayTable, kind: str) -> AnyHandler:
    from vespiary.wasp.gateway import (
        DatagramGateway,
        Health,
        Policy,
        Proxy,
        ProxyOptions,
        StreamGateway,
        Upstream,
    )

    values = given(table)

    def taken(cls: Any) -> dict[str, Any]:
        return {name: values[name] for name in cls.__dataclass_fields__ if name in values}

    policy = Policy(**taken(Policy))
    tls = None
    if table.tls_ca is not UNSET:
        ca = Path(hosting.planned.folder / table.tls_ca)
        if not ca.is_file():
            raise _wrong("tls_ca", f"there is no file {ca}")
        tls = vespiary.ClientTLS(ca=ca)
    upstreams = [Upstream(url, policy, tls, _now) for url in dict.fromkeys(table.upstreams)]
    if kind == "stream":
        return StreamGateway(upstreams)
    if kind == "datagram":
        idle, most = values.get("idle_seconds", 60.0), values.get("clients_max", 1000)
        return DatagramGateway(upstreams, idle, most)
    schemes = {vespiary.Endpoint.parse(url).scheme for url in hosting.planned.urls}
    options = ProxyOptions(
        **taken(ProxyOptions),
        is_secure=bool(schemes & {"https", "wss"}),
        passes_websockets=bool(schemes & _WEBSOCKETS),
    )
    health = None if table.health is UNSET else Health(**given(table.health))
    return Proxy(upstreams, health, options)


def _now() -> float:
    return asyncio.get_running_loop().time()
