"""Endpoints for datagrams: their options, their hooks and their sockets."""

from __future__ import annotations

import asyncio
import inspect
import ipaddress
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from vespiary._callbacks import may_be_async
from vespiary._core import Hooks, bind_datagrams
from vespiary._hooks import defined
from vespiary.endpoint import Endpoint
from vespiary.errors import ConfigurationError
from vespiary.handler import AnyHandler, Handler

if TYPE_CHECKING:
    from vespiary._core import Core, Datagram, Listener
    from vespiary._site import Site

__all__ = ["check_groups", "check_kind", "datagram_hooks", "socket_maker"]

_STREAM_HOOKS = ("on_request", "on_open", "on_message", "on_part")
_DATAGRAM_OPTIONS = ("connections", "packet_info", "receive_buffer_bytes")
_INTERNET_OPTIONS = ("broadcast", "multicast_groups")
_SHARED_OPTIONS = ("limits", "deadlines", "sock", "fd", "mode", "reuse_port")
_BARE_OPTIONS = ("packet_info", "broadcast")
"""What only a handler of single datagrams can use."""
_CONNECTION_OPTIONS = ("executor",)
"""What only a handler of connections can use."""
_WILDCARDS = ("0.0.0.0", "::")

_Group = tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]


def check_kind(endpoint: Endpoint, options: Mapping[str, Any], handler: object) -> None:
    """Check that options and handler are for what the endpoint carries: datagrams or a stream.

    Raises:
        ConfigurationError: one would have no effect, or the handler would never be called.
    """
    defined = {name for name in (*_STREAM_HOOKS, "on_datagram") if _method(handler, name)}
    if not endpoint.is_datagram:
        for name in (*_DATAGRAM_OPTIONS, *_INTERNET_OPTIONS):
            if name in options:
                raise _without_effect(endpoint, name, "datagrams: udp:// and unixgram://")
        if defined == {"on_datagram"}:
            raise ConfigurationError(
                f"{endpoint}: on_datagram is never called on a stream: serve udp:// or unixgram://,"
                " or define on_message",
                subject="on_datagram",
            )
        return
    has_connections = options.get("connections", False)
    taken = {*_DATAGRAM_OPTIONS, *_INTERNET_OPTIONS, *_SHARED_OPTIONS}
    if has_connections:
        taken.update(_CONNECTION_OPTIONS)
    for name in options:
        if name in _INTERNET_OPTIONS and endpoint.is_unix:
            raise _without_effect(endpoint, name, "udp://")
        if has_connections and name in _BARE_OPTIONS:
            raise _without_effect(endpoint, name, "handlers with on_datagram")
        if name not in taken:
            also = " and connections=True" if name in _CONNECTION_OPTIONS else ""
            raise _without_effect(endpoint, name, f"streams, such as tcp:// and ws://{also}")
    if isinstance(handler, Handler):
        check = _check_connection_hooks if has_connections else _check_datagram_hook
        check(endpoint, type(handler).__name__, defined)


def _check_datagram_hook(endpoint: Endpoint, owner: str, defined: set[str]) -> None:
    if "on_datagram" in defined:
        return
    instead = " instead of on_message" if "on_message" in defined else ""
    raise ConfigurationError(
        f"{endpoint}: datagrams are handed to on_datagram, which {owner} does not define: define"
        f" on_datagram(self, datagram){instead}, or pass connections=True, with which each peer has"
        " a connection",
        subject="on_datagram",
    )


def _check_connection_hooks(endpoint: Endpoint, owner: str, defined: set[str]) -> None:
    if "on_datagram" in defined:
        raise ConfigurationError(
            f"{endpoint}: with connections=True, on_datagram of {owner} is never called: remove"
            " one of the two; the datagrams of a connection are handed to on_message",
            subject="on_datagram",
        )
    if "on_part" in defined:
        raise ConfigurationError(
            f"{endpoint}: a datagram has no parts, so on_part of {owner} is never called: define"
            " on_message instead",
            subject="on_part",
        )


def _without_effect(endpoint: Endpoint, name: str, kind: str) -> ConfigurationError:
    return ConfigurationError(
        f"{endpoint}: {name}= is for {kind}, and has no effect here: remove it",
        subject=name,
    )


def _method(handler: object, name: str) -> Callable[..., Any] | None:
    """The handler's own method, if it is a `Handler` that has one."""
    return defined(handler, name) if isinstance(handler, Handler) else None


def datagram_hooks(handler: AnyHandler, task_name: str, pending_max: int) -> Hooks:
    """Return the callables for a handler, as `as_handler` gives it.

    Args:
        handler: It has `on_datagram`, or is an async function that takes a datagram.
        task_name: The name of the tasks of an async one: this very object.
        pending_max: How many tasks there are at most.
    """
    method = _method(handler, "on_datagram")
    function = method if method is not None else cast("Callable[..., Any]", handler)
    if may_be_async(function):
        function = _Tasks(function, task_name, pending_max)
    return Hooks(datagram=function, limit=_method(handler, "on_limit"))


class _Tasks:
    """Runs an async function for each datagram, in a task of its own."""

    def __init__(
        self, function: Callable[[Datagram], Any], task_name: str, pending_max: int
    ) -> None:
        self._function = function
        self._task_name = task_name
        self._pending_max = pending_max
        self._tasks: set[asyncio.Task[None]] = set()
        self.__wrapped__ = function

    def __call__(self, datagram: Datagram) -> None:
        if len(self._tasks) >= self._pending_max:
            datagram.socket._refuse()
            return
        result = self._function(datagram)
        if not inspect.isawaitable(result):
            return
        loop = asyncio.get_running_loop()
        task = loop.create_task(_settle(datagram, result), name=self._task_name)
        # asyncio itself does not keep a task alive.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _settle(datagram: Datagram, result: Any) -> None:
    task = asyncio.current_task()
    try:
        await result
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        is_cancelled = isinstance(error, asyncio.CancelledError)
        if is_cancelled and task is not None and task.cancelling() > 0:
            raise
        datagram.socket._fail(error, datagram.peer)


def socket_maker(core: Core, site: Site) -> Callable[[str | tuple[str, int] | int], Listener]:
    """What binds a socket of an endpoint to an address, or takes over a descriptor."""
    native, options = site.native, site.options
    assert native is not None
    groups = [_group(text) for text in options.get("multicast_groups", ())]

    def make(address: str | tuple[str, int] | int) -> Listener:
        host = address[0] if isinstance(address, tuple) else ""
        version = 6 if ":" in host else 4
        joined = [
            (str(group), interface) for group, interface in groups if group.version == version
        ]
        is_given = isinstance(address, int)
        return bind_datagrams(
            core,
            address,
            native,
            groups=joined,
            reuse_port=options.get("reuse_port", False),
            broadcast=options.get("broadcast", False),
            local_address=is_given or bool(joined) or host in _WILDCARDS,
            packet_info=options.get("packet_info", False),
            receive_buffer_bytes=options.get("receive_buffer_bytes"),
        )

    return make


def check_groups(endpoint: Endpoint, texts: Sequence[str]) -> None:
    """Check the multicast groups that an endpoint is to join.

    Raises:
        ConfigurationError: one is not a group's address, or of another family than the endpoint.
    """
    given: object = texts
    if isinstance(given, str | bytes):
        raise ConfigurationError(
            f"multicast_groups= takes a list of addresses, such as ['239.1.2.3']; got {given!r}",
            subject="multicast_groups",
            value=given,
        )
    for text in texts:
        group, _ = _group(text)
        if _version(endpoint.host) not in (None, group.version):
            raise ConfigurationError(
                f"{endpoint} cannot join the group {text}, which is of IPv{group.version}: bind it"
                f" to {'[::]' if group.version == 6 else '0.0.0.0'}",
                subject="multicast_groups",
                value=text,
            )


def _version(host: str) -> int | None:
    """Of which version of IP an address is; None for a name."""
    try:
        return ipaddress.ip_address(host).version
    except ValueError:
        return None


def _group(text: str) -> _Group:
    """The address of a group, and the number of the interface behind a percent sign.

    Raises:
        ConfigurationError: it is not a group's address, or the machine has no such interface.
    """
    address, _, name = str(text).partition("%")
    try:
        group = ipaddress.ip_address(address)
    except ValueError:
        group = None
    if group is None or not group.is_multicast:
        raise ConfigurationError(
            f"{text!r} is not the address of a multicast group: one is within 224.0.0.0/4 or"
            " ff00::/8, such as '239.1.2.3', or '239.1.2.3%eth0' on one interface",
            subject="multicast_groups",
            value=text,
        )
    try:
        return group, socket.if_nametoindex(name) if name else 0
    except OSError:
        raise ConfigurationError(
            f"{text!r}: this machine has no network interface {name!r}",
            subject="multicast_groups",
            value=text,
        ) from None
