"""Why endpoints cannot share an address: what acts before the path of a request is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vespiary._acceptors import delegate_of
from vespiary.errors import ConfigurationError

if TYPE_CHECKING:
    from vespiary._site import Site

__all__ = ["DEADLINES_OF_ADDRESS", "LIMITS_OF_ADDRESS", "disagreement"]

LIMITS_OF_ADDRESS = (
    "connections_max",
    "connections_per_address_max",
    "accepts_per_second_max",
    "handshakes_pending_max",
    "header_bytes_max",
    "headers_max",
    "requests_per_connection_max",
)
DEADLINES_OF_ADDRESS = ("handshake_seconds", "keep_alive_seconds")
_OPTIONS = (
    "tls",
    "filters",
    "proxy_protocol_from",
    "forwarded_from",
    "forwarded_field",
    "backlog",
    "reuse_port",
    "sock",
    "fd",
    "mode",
)


def disagreement(first: Site, site: Site) -> ConfigurationError | None:
    """What two endpoints have differently that would have to be the same; None if nothing is."""
    if first.handler is not site.handler:
        for one in (first, site):
            if delegate_of(one.handler) is not None:
                return ConfigurationError(
                    f"{first.url} and {site.url} share an address, but {one.url} is served by "
                    "a separate process: give it another port",
                    subject=site.url,
                )
    pairs = [
        *(
            (name, getattr(first.limits, name), getattr(site.limits, name))
            for name in LIMITS_OF_ADDRESS
        ),
        *(
            (name, getattr(first.deadlines, name), getattr(site.deadlines, name))
            for name in DEADLINES_OF_ADDRESS
        ),
        *((name, _option(first, name), _option(site, name)) for name in _OPTIONS),
    ]
    for name, ours, theirs in pairs:
        if ours != theirs:
            return ConfigurationError(
                f"{first.url} and {site.url} share an address, but {name} applies before "
                f"the path of a request is known, and is different for them ({ours!r} and "
                f"{theirs!r}): pass the same to both",
                subject=name,
                value=theirs,
            )
    return None


def _option(site: Site, name: str) -> object:
    """The value of an option; that of proxies as the engine takes it, however it was written."""
    if name == "proxy_protocol_from":
        return site.native_options["proxies"]
    if name in ("forwarded_from", "forwarded_field"):
        return site.native_options["forwarders"]
    return site.options.get(name)
