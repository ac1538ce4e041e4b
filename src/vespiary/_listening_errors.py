"""Why an address cannot be listened on, and what to do about it."""

from __future__ import annotations

import errno as errnos
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from vespiary._listening_sockets import is_socket

if TYPE_CHECKING:
    from vespiary._site import Site

__all__ = ["explained"]

_PRIVILEGED_PORT = (
    "ports below 1024 need a privilege: choose another port, put a proxy in front, grant"
    " CAP_NET_BIND_SERVICE (with systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE), or lower the"
    " bound with sysctl net.ipv4.ip_unprivileged_port_start"
)


def explained(error: OSError, site: Site) -> OSError:
    """The same error, with the URL and what to do about it."""
    path = site.endpoint.path
    advice = {
        errnos.EADDRINUSE: "another process listens there; stop it, or choose another port",
        errnos.EACCES: f"this user may not create a file in {Path(path).parent}: choose another"
        " folder, or change the folder's owner or permissions"
        if path
        else _PRIVILEGED_PORT,
        errnos.EADDRNOTAVAIL: "no interface of this machine has that address",
        errnos.ENOENT: f"the folder {Path(path).parent} does not exist" if path else None,
    }.get(error.errno or 0)
    if error.errno == errnos.EADDRINUSE and path:
        advice = "another process listens there; stop it, or choose another path"
        if not is_socket(path):
            advice = "there is a file which is not a socket; remove it, or choose another path"
    if isinstance(error, socket.gaierror):
        advice = "its host name cannot be resolved; 0.0.0.0 and [::] stand for every interface"
    text = f"cannot listen on {site.url}: {error.strerror or error}"
    return type(error)(error.errno, f"{text} ({advice})" if advice else text)
