"""The addresses that a server listens on, each with the endpoints that share it.

Endpoints whose connections begin with an HTTP request share an address if they have the same host
and port (or the same Unix socket). The path and the host of the request choose one of them (see
`routing`). Options that apply before the request is known belong to the address, so its endpoints
must have the same values. With port 0, endpoints with a path or a host share one port, even if they
are added later. An endpoint that serves every request gets its own port. An endpoint that cannot
share a port gets its own too; with any other port this is an error.

If a host name has several addresses, the server listens on all of them. IPv6 sockets accept only
IPv6 (IPV6_V6ONLY, ipv6(7)), as in asyncio, uvicorn and nginx. So `[::]` and `0.0.0.0` can be two
endpoints on one port, and IPv4 peers never have an IPv6 address. A socket that the program has
created keeps its option.
"""

from __future__ import annotations

import errno as errnos
import logging
import os
import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from vespiary._acceptors import Acceptor, delegate_of
from vespiary._datagrams import socket_maker
from vespiary._listening_errors import explained
from vespiary._listening_shared import disagreement
from vespiary._listening_sockets import (
    BoundSocket,
    given_socket,
    remove_socket_file,
    resolve,
    socket_key,
    takes_ipv4,
    unix_socket,
)
from vespiary._site import Site
from vespiary.endpoint import Endpoint
from vespiary.errors import ConfigurationError
from vespiary.routing import Router
from vespiary.server_options import BACKLOG

if TYPE_CHECKING:
    from vespiary._core import Core, DatagramSocket, Listener
    from vespiary._core import Site as NativeSite
    from vespiary._life import Life

    _Make = Callable[[str | tuple[str, int] | int], Listener]

__all__ = ["ListeningAddress", "place", "remove"]

logger = logging.getLogger("vespiary")


class _Socket(Protocol):
    """A listener, or what stands for one."""

    @property
    def address(self) -> object: ...

    def close(self) -> None: ...


S = TypeVar("S", bound=_Socket)

_PORT_ATTEMPTS = 10
_UNAVAILABLE = (errnos.EADDRNOTAVAIL, errnos.EAFNOSUPPORT)


class ListeningAddress:
    """An address of a server: its sockets, and the endpoints that they accept for."""

    def __init__(self, first: Site) -> None:
        self.sites = [first]
        self.router: Router[Site] = Router()
        self.listeners: list[Listener] = []
        self.datagram_sockets: list[DatagramSocket] = []
        self.front: Site | None = None
        """The endpoint that the listeners accept for: connections are its own until a request has
        come. It stays when it is removed and others share the address."""
        self._accepts = False
        self.is_held = False
        self._keys = {socket_key(first)}
        self.socket_file: tuple[str, int, int] | None = None
        self._takes_ipv4 = False
        self._bound: list[BoundSocket] = []
        """Sockets that worker processes share."""
        self.delegate = delegate_of(first.handler)
        self._acceptors: Sequence[Acceptor] = ()
        if first.route is not None:
            self.router.add(first.route, first)

    def takes(self, site: Site) -> bool:
        """Return whether an endpoint is served here.

        Raises:
            ConfigurationError: it conflicts with another one here, or disagrees with it.
        """
        if socket_key(site) not in self._keys:
            return False
        fault = self._fault(site)
        if not _may_be_elsewhere(site):
            if fault is not None:
                raise fault
            return True
        routes = (self.sites[0].route, site.route)
        is_shareable = all(route is not None and not route.serves_everything for route in routes)
        return fault is None and is_shareable

    def _fault(self, site: Site) -> ConfigurationError | None:
        """Why an endpoint cannot share this address; None where it can."""
        first_route = self.sites[0].route
        if site.route is None or first_route is None:
            return ConfigurationError(
                f"cannot listen on {site.url} and on {self.sites[0].url}, because only ws:// "
                "and http:// endpoints can share an address: choose another port",
                subject=site.url,
            )
        if self.router.has(site.route):
            return ConfigurationError(
                f"{site.url} would serve the requests of another endpoint of this server: give it"
                " another path, or a host=",
                subject=site.url,
            )
        return disagreement(self.sites[0], site)

    def add(self, site: Site) -> None:
        """Serve one more endpoint here, from now on."""
        assert site.route is not None
        self.sites.append(site)
        self.router.add(site.route, site)

    def open_for(self, site: Site, life: Life) -> None:
        """Let an endpoint that is added to a running server serve."""
        if self.sites == [site]:
            self.open(life)
            return
        site.open(life)
        self._set_port(site, self.listeners[0].address)
        self._choose()

    def remove(self, site: Site) -> None:
        """Serve an endpoint no more; others stay."""
        self.sites.remove(site)
        self.router.remove(site)
        if site is not self.front:
            site.release()
        elif site.native is not None:
            # The log shows this URL for connections that have sent no request.
            site.native.set_url(self.sites[0].url)

    @property
    def removed_front(self) -> list[Site]:
        """The front where it was removed, and may have connections still; empty where it serves."""
        return [self.front] if self.front is not None and self.front not in self.sites else []

    def open(self, life: Life) -> None:
        """Bind and listen; nothing is accepted before `resume`.

        Raises:
            OSError: it cannot be listened on; the text says what to do.
        """
        self.front = first = self.sites[0]
        self._accepts = False
        for site in self.sites:
            site.open(life)
        try:
            self.listeners = self._listen(life.core)
        except OSError as error:
            raise explained(error, first) from None
        sockets = [listener.datagram_socket for listener in self.listeners]
        self.datagram_sockets = [one for one in sockets if one is not None]
        for site in self.sites:
            self._set_port(site, self.listeners[0].address)
        route = first.route
        is_alone = len(self.sites) == 1
        if route is not None and not (is_alone and route.serves_everything):
            self._choose()
        delegate = self.delegate
        self._acceptors = self.listeners if delegate is None else [delegate.acceptor(self)]

    def accept_here(self) -> None:
        """Accept in this process what a delegate was to accept, if anything is accepted."""
        self.delegate, self._acceptors = None, self.listeners
        for listener in self.listeners if self._accepts else ():
            listener.resume()

    def _choose(self) -> None:
        """Have each request go to the endpoint that serves it, and 404 answer the others."""
        assert self.front is not None
        assert self.front.native is not None
        self.front.native.set_route(self._find)

    def _find(self, target: str, authority: str | None, is_upgrade: bool) -> NativeSite | None:
        found = self.router.find(target, authority, is_upgrade)
        return found.serving if found is not None else None

    def bind(self) -> None:
        """Bind and listen without an engine, for worker processes that are forked then.

        Raises:
            OSError: it cannot be listened on; the text says what to do.
        """
        if self._bound:
            return
        first = self.sites[0]
        backlog = first.options.get("backlog", BACKLOG)
        try:
            self._bound = self._make_sockets(partial(BoundSocket.make, first, backlog=backlog))
        except OSError as error:
            raise explained(error, first) from None
        if first.endpoint.is_unix and self.socket_file is None:
            self._remember_socket_file()
        for site in self.sites:
            self._set_port(site, self._bound[0].address)

    def share(self, other: ListeningAddress) -> None:
        """Listen on the sockets of another address, which `bind` has made; both accept from them.

        The other one gives its socket's file away with `give_file`.
        """
        self._bound = [BoundSocket(one.socket.dup()) for one in other._bound]
        self._takes_ipv4 = other._takes_ipv4
        for site in self.sites:
            self._set_port(site, self._bound[0].address)

    def adopt(self, sockets: list[BoundSocket], file: tuple[str, int, int] | None) -> None:
        """Listen on sockets that another process has bound."""
        self._bound, self.socket_file = sockets, file
        self._takes_ipv4 = takes_ipv4(sockets[0].socket)
        for site in self.sites:
            self._set_port(site, sockets[0].address)

    def keep_file(self, file: tuple[str, int, int] | None) -> None:
        """Own the file of a Unix socket, with the permissions of the options."""
        self.socket_file = file
        mode = self.sites[0].options.get("mode")
        if file is not None and mode is not None:
            Path(file[0]).chmod(mode)

    def leave_file(self) -> tuple[str, int, int] | None:
        """Leave the file of a Unix socket to another process, which removes it."""
        file, self.socket_file = self.socket_file, None
        return file

    @property
    def bound_sockets(self) -> list[socket.socket]:
        """The sockets that `bind` has made."""
        return [one.socket for one in self._bound]

    def give_file(self, other: ListeningAddress) -> None:
        """Leave the file of a Unix socket to another address, with its permissions."""
        other.keep_file(self.leave_file())

    def is_shareable_with(self, other: ListeningAddress) -> bool:
        """Whether another one would bind the same sockets."""
        ours = {key for key in self._keys if not (isinstance(key, tuple) and key[-1] == 0)}
        return bool(ours & other._keys)

    def enter_worker(self) -> None:
        """Leave the file of a Unix socket to the supervisor, in a worker process."""
        self.socket_file = None

    def unbind(self) -> None:
        """Close what `bind` has made."""
        for one in self._bound:
            one.close()
        self._bound = []
        self._remove_socket_file()

    def _set_port(self, site: Site, bound: object) -> None:
        if isinstance(bound, tuple):
            site.set_endpoint(site.endpoint.with_port(bound[1]))
            self._keys.add(socket_key(site))

    def _listen(self, core: Core) -> list[Listener]:
        first = self.sites[0]
        make = _socket_maker(core, first, first.options.get("backlog", BACKLOG))
        if self._bound:
            return [make(os.dup(one.socket.fileno())) for one in self._bound]
        return self._make_sockets(make)

    def _make_sockets(self, make: Callable[[str | tuple[str, int] | int], S]) -> list[S]:
        first = self.sites[0]
        backlog = first.options.get("backlog", BACKLOG)
        given = given_socket(first, backlog)
        mode = first.options.get("mode")
        if given is None and mode is not None:
            given = unix_socket(first.endpoint, mode, backlog)
            self._remember_socket_file()
        if given is not None:
            self._takes_ipv4 = takes_ipv4(given)
            return [make(given.detach())]
        if first.endpoint.is_unix:
            return [make(first.endpoint.path)]
        hosts = resolve(first.endpoint)
        for _ in range(_PORT_ATTEMPTS):
            try:
                return _listen_on_all(make, hosts, first.endpoint.port)
            except OSError as error:
                # The port that the kernel chose for one address may be taken on the next.
                if error.errno != errnos.EADDRINUSE or first.endpoint.port != 0:
                    raise
        return _listen_on_all(make, hosts, first.endpoint.port)

    def _remember_socket_file(self) -> None:
        path = self.sites[0].endpoint.path
        found = os.lstat(path)
        self.socket_file = (path, found.st_dev, found.st_ino)

    def resume(self) -> None:
        """Accept connections from now on, unless it is held."""
        if not self._accepts and not self.is_held:
            self._accepts = True
            for acceptor in self._acceptors:
                acceptor.resume()

    def suspend(self) -> None:
        """Accept no connections until `resume`; they wait in the kernel meanwhile."""
        if self._accepts:
            self._accepts = False
            for acceptor in self._acceptors:
                acceptor.suspend()

    def accept_what_waits(self) -> None:
        """Accept again if a connection waits: see `BoundSocket.is_awaited`."""
        if self.delegate is None and self._accepts and any(one.is_awaited() for one in self._bound):
            self.suspend()
            self.resume()

    @property
    def is_accepting(self) -> bool:
        """Whether connections are accepted."""
        return self._accepts

    def log(self) -> None:
        """Log what is served where."""
        for site in self.sites:
            logger.info("Serving %s%s", site.url, self._details(site.endpoint))

    def _details(self, endpoint: Endpoint) -> str:
        bound = [item.address for item in self.listeners]
        details = [
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            for host, port in (item for item in bound if isinstance(item, tuple))
            if host != endpoint.host
        ]
        text = f" on {' and '.join(details)}" if details else ""
        if any(isinstance(item, tuple) and item[0] == "::" for item in bound):
            text += (
                " (IPv6 and IPv4)"
                if self._takes_ipv4
                else " (IPv6 only; IPv4 needs an endpoint on 0.0.0.0)"
            )
        return text

    def close(self) -> None:
        """Stop listening; connections stay."""
        for listener in self.listeners:
            listener.close()
        for acceptor in self._acceptors if self.delegate is not None else ():
            acceptor.close()
        self._remove_socket_file()

    def _remove_socket_file(self) -> None:
        if self.socket_file is not None:
            path, device, inode = self.socket_file
            self.socket_file = None
            remove_socket_file(path, device, inode)

    @property
    def is_closed(self) -> bool:
        """Whether the sockets are closed, so that others may listen there."""
        return all(listener.is_closed for listener in self.listeners)

    def forget(self) -> None:
        """Release everything native, in any thread, after the loop has been closed."""
        self._remove_socket_file()
        self.listeners, self.datagram_sockets = [], []
        for site in self.sites + self.removed_front:
            site.forget()
        self.front = None

    def release(self) -> None:
        """Release everything native."""
        for listener in self.listeners:
            listener.release()
        self.listeners, self.datagram_sockets, self._acceptors = [], [], ()
        for site in self.sites + self.removed_front:
            site.release()
        self.front = None


def place(addresses: list[ListeningAddress], site: Site) -> ListeningAddress:
    """The address that serves an endpoint, which is added to it; a new one where none does."""
    for address in addresses:
        if address.takes(site):
            address.add(site)
            return address
    addresses.append(ListeningAddress(site))
    return addresses[-1]


def remove(addresses: list[ListeningAddress], site: Site) -> bool:
    """Serve an endpoint no more; whether an address has served it."""
    address = next((one for one in addresses if site in one.sites), None)
    if address is None:
        return False
    if address.sites == [site]:
        address.close()
        address.release()
        addresses.remove(address)
    else:
        address.remove(site)
    return True


def _socket_maker(core: Core, site: Site, backlog: int) -> _Make:
    """What listens at an address, or on a descriptor."""
    if site.endpoint.is_datagram:
        return socket_maker(core, site)
    native, reuse_port = site.native, site.options.get("reuse_port", False)
    assert native is not None
    return lambda address: core.listen(address, native, backlog, reuse_port)


def _listen_on_all(
    make: Callable[[str | tuple[str, int] | int], S], hosts: list[str], port: int
) -> list[S]:
    """Listen on each address of a name, at one port; those that this machine lacks are omitted."""
    listeners: list[S] = []
    lacking = None
    try:
        for host in hosts:
            try:
                made = make((host, port))
            except OSError as error:
                if error.errno not in _UNAVAILABLE:
                    raise
                lacking = error
            else:
                listeners.append(made)
                port = made.address[1] if isinstance(made.address, tuple) else port
        if lacking is not None and not listeners:
            raise lacking
    except OSError:
        for one in listeners:
            one.close()
        raise
    return listeners


def _may_be_elsewhere(site: Site) -> bool:
    """Whether any port does for an endpoint."""
    is_given = site.options.get("sock") is not None or site.options.get("fd") is not None
    return not is_given and not site.endpoint.is_unix and site.endpoint.port == 0
