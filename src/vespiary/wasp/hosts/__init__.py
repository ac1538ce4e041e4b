"""Hosts: how the plug-in of an endpoint runs. The key `host` names one of them.

Each module here has one, as a function that makes the handler of an endpoint.
"""

from __future__ import annotations

from vespiary.wasp.hosts import inline
from vespiary.wasp.hosts.hosting import Host, Hosting

__all__ = ["DEFAULT", "HOSTS", "Hosting"]

DEFAULT = "inline"
"""The host of an endpoint without the key `host`."""

HOSTS: dict[str, Host] = {"inline": inline.make}
"""Every host, by its name in `schema.HostName`."""
