"""Sockets that a server makes or is given, before the engine takes them over."""

from __future__ import annotations

import os
import select
import socket
import stat
from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Self

from vespiary._race import impossible_name
from vespiary.endpoint import Endpoint
from vespiary.errors import ConfigurationError

if TYPE_CHECKING:
    from vespiary._site import Site

__all__ = [
    "BoundSocket",
    "descriptor_fault",
    "given_socket",
    "is_socket",
    "remove_socket_file",
    "resolve",
    "socket_key",
    "takes_ipv4",
    "unix_socket",
]


class BoundSocket:
    """A socket that listens, or receives datagrams, before there is an engine to accept on it."""

    def __init__(self, made: socket.socket) -> None:
        self.socket = made

    @classmethod
    def make(cls, site: Site, address: str | tuple[str, int] | int, backlog: int) -> Self:
        """Bind as the engine would, or take over a descriptor.

        Raises:
            OSError: it cannot be bound.
        """
        if isinstance(address, int):
            return cls(socket.socket(fileno=address))
        if isinstance(address, str):
            return cls(unix_socket(site.endpoint, None, backlog))
        kind = _kind(site.endpoint)
        family, _, _, _, found = socket.getaddrinfo(*address, type=kind)[0]
        made = socket.socket(family, kind)
        try:
            if kind == socket.SOCK_STREAM:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if site.options.get("reuse_port", False):
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            made.bind(found)
            if kind == socket.SOCK_STREAM:
                made.listen(backlog)
        except BaseException:
            made.close()
            raise
        return cls(made)

    def is_awaited(self) -> bool:
        """Whether a connection waits to be accepted.

        The kernel wakes one of a socket's listeners per connection. If it stops accepting at that
        moment, as an old worker does, the others are not woken until the next connection comes.
        """
        if self.socket.type != socket.SOCK_STREAM:
            return False
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return bool(poll.poll(0))

    @property
    def address(self) -> object:
        """The address it is bound to, as that of a listener."""
        name = self.socket.getsockname()
        return name[:2] if isinstance(name, tuple) else name

    def close(self) -> None:
        """Close it."""
        self.socket.close()


def resolve(endpoint: Endpoint) -> list[str]:
    """Every address of the endpoint's host."""
    try:
        found = socket.getaddrinfo(
            endpoint.host, endpoint.port, type=_kind(endpoint), flags=socket.AI_PASSIVE
        )
    except UnicodeError:
        raise impossible_name() from None
    hosts = []
    for _, _, _, _, address in found:
        host = str(address[0]).partition("%")[0]
        scope = address[3] if len(address) == 4 else 0
        hosts.append(f"{host}%{scope}" if scope else host)
    return list(dict.fromkeys(hosts))


def given_socket(site: Site, backlog: int) -> socket.socket | None:
    """The socket that was given instead of an address, listening.

    Raises:
        ConfigurationError: it is not a socket of the URL's kind, or not one to serve on.
    """
    given, descriptor = site.options.get("sock"), site.options.get("fd")
    if given is None and descriptor is None:
        return None
    if given is None:
        try:
            given = socket.socket(fileno=descriptor)
        except OSError as error:
            raise ConfigurationError(
                f"fd={descriptor!r} of {site.url} is not a socket: {error.strerror}",
                subject="fd",
                value=descriptor,
            ) from None
    fault = _fault(given, site.endpoint)
    if fault:
        if descriptor is not None:
            # The descriptor still belongs to the caller.
            given.detach()
        raise ConfigurationError(
            f"the socket that was given for {site.url} is {fault}",
            subject="sock" if descriptor is None else "fd",
        )
    is_stream = _kind(site.endpoint) == socket.SOCK_STREAM
    if is_stream and not given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        try:
            given.listen(backlog)
        except OSError:
            # The descriptor still belongs to the caller.
            if descriptor is not None:
                given.detach()
            raise
    return given


def descriptor_fault(descriptor: int, endpoint: Endpoint) -> str | None:
    """Why a server cannot serve an endpoint on a descriptor: what it is, and what it has to be."""
    own = os.dup(descriptor)
    try:
        given = socket.socket(fileno=own)
    except OSError as error:
        os.close(own)
        return f"not a socket: {error.strerror}"
    with given:
        return _fault(given, endpoint)


def _fault(given: socket.socket, endpoint: Endpoint) -> str | None:
    """Why a server cannot serve on a socket: what it is, and what it has to be."""
    families = [socket.AF_UNIX] if endpoint.is_unix else [socket.AF_INET, socket.AF_INET6]
    if given.family not in families or given.type != _kind(endpoint):
        noun = "datagram" if endpoint.is_datagram else "stream"
        is_named = f"{_name(given.family)} and {_name(given.type)}"
        return f"{is_named}: it has to be a {noun} socket of the URL's kind"
    if _is_connected(given):
        advice = (
            "bind it and do not connect it" if endpoint.is_datagram else "pass one that listens"
        )
        return f"connected to one peer, so it cannot serve others: {advice}"
    name = given.getsockname()
    is_bound = bool(name) if endpoint.is_unix else name[1] != 0
    if not is_bound:
        return "not bound to an address, so clients cannot reach it: call its bind() first"
    return None


def _is_connected(given: socket.socket) -> bool:
    try:
        given.getpeername()
    except OSError:
        return False
    return True


def _name(number: int) -> str:
    """The name of a family or a kind, where Python knows it."""
    return str(getattr(number, "name", number))


def _kind(endpoint: Endpoint) -> socket.SocketKind:
    return socket.SOCK_DGRAM if endpoint.is_datagram else socket.SOCK_STREAM


def takes_ipv4(given: socket.socket) -> bool:
    """Return whether a socket that is bound to `[::]` takes IPv4 connections too."""
    return given.family == socket.AF_INET6 and not given.getsockopt(
        socket.IPPROTO_IPV6, socket.IPV6_V6ONLY
    )


def unix_socket(endpoint: Endpoint, mode: int | None, backlog: int) -> socket.socket:
    """A Unix socket whose file has these permissions before anyone can reach it.

    With None it has those that the umask gives.
    """
    path, kind = endpoint.path, _kind(endpoint)
    made = socket.socket(socket.AF_UNIX, kind)
    try:
        _remove_stale(path, kind)
        if mode is not None:
            # Linux gives the file the socket's own mode, less the umask (unix(7)).
            os.fchmod(made.fileno(), mode)
        made.bind(path)
        if mode is not None:
            # Before listen(2) a connect is refused.
            Path(path).chmod(mode)
        if kind == socket.SOCK_STREAM:
            made.listen(backlog)
    except BaseException:
        made.close()
        raise
    return made


def _remove_stale(path: str, kind: socket.SocketKind) -> None:
    """Remove a socket file on which nobody listens any more."""
    if not is_socket(path):
        return
    with socket.socket(socket.AF_UNIX, kind) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
        except OSError:
            pass


def is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except OSError:
        return False


def remove_socket_file(path: str, device: int, inode: int) -> None:
    """Remove a socket's file, unless another process has put its own there since."""
    try:
        found = os.lstat(path)
        if (found.st_dev, found.st_ino) == (device, inode):
            Path(path).unlink()
    except OSError:
        pass


def socket_key(site: Site) -> Hashable:
    """Equal for two endpoints that want the same socket."""
    given = site.options.get("sock")
    if given is not None:
        return ("socket", given.fileno())
    if site.options.get("fd") is not None:
        return ("socket", site.options["fd"])
    endpoint = site.endpoint
    return endpoint.path or (endpoint.is_datagram, endpoint.host, endpoint.port)
