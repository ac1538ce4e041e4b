"""Hosts: how the plug-in of an endpoint runs. The key `host` names one of them.

Each module here has one, as a function that makes the handler of an endpoint.
"""

from __future__ import annotations

from vespiary.wasp.hosts import clr, gateway, inline, process, static, wasm
from vespiary.wasp.hosts.hosting import Host, Hosting, HostMissing, Where

__all__ = ["HOSTS", "HostMissing", "Hosting", "Where"]

HOSTS: dict[str, Host] = {
    "inline": inline.make,
    "process": process.make,
    "static": static.make,
    "gateway": gateway.make,
    "wasm": wasm.make,
    "clr": clr.make,
}
"""Every host, by its name in `schema.HostName`."""
