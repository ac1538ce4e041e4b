"""What calls a managed plug-in for the connections of an endpoint.

Events are calls of a function in C#, by its address: pythonnet's own calls would take some ten
times as long. The interpreter is released during such a call. What the plug-in does is queued in C#
as records, which are carried out here after each event. Another thread of the plug-in that queues a
record wakes the loop through an eventfd. So code in C# never calls Python, and can use connections
from any thread without waiting.
"""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import logging
import os
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vespiary.errors import CloseReason, ConnectionClosed, VespiaryError
from vespiary.handler import Handler
from vespiary.wasp.clr.assemblies import Managed
from vespiary.wasp.clr.runtime import Loaded

if TYPE_CHECKING:
    from vespiary._core import Connection
    from vespiary.server import Server

__all__ = ["ClrHandler", "PluginThrew"]

logger = logging.getLogger("vespiary.wasp")

_OPEN, _MESSAGE, _CLOSED, _STOP = 1, 2, 3, 4
_HAS_FAILED, _HAS_RECORDS = 1, 2
_SEND, _CLOSE, _ABORT, _LOG, _ERROR, _SUBSCRIBE, _UNSUBSCRIBE, _PUBLISH = range(1, 9)
_RECORD = struct.Struct("=BBHII")
"""The kind, whether it is text, a code, the number of connections, and the bytes of the data. Of a
published message, the code is the length of the topic, with which the data begins."""
_LINES_MAX = 40
_BUFFER_BYTES = 256 << 10
_BUFFERS_A_TURN_MAX = 16
"""What other threads send at once is sent in turns, so that events are not delayed by it."""


class PluginThrew(Exception):
    """A managed plug-in has thrown an exception; the text has its stack."""


class ClrHandler(Handler):
    """Runs one plug-in for all connections of an endpoint.

    Args:
        managed: The plug-in.
        endpoint: The name of the endpoint.
        config: The endpoint's own table.
    """

    def __init__(self, managed: Managed, endpoint: str, config: Mapping[str, Any]) -> None:
        self._managed = managed
        self._endpoint = endpoint
        self._config = config
        self._wake = -1
        self._numbers = itertools.count(1)
        self._ids: dict[Connection, int] = {}
        self._connections: dict[int, Connection] = {}
        self._buffer = ctypes.create_string_buffer(_BUFFER_BYTES)

    def on_start(self, server: Server) -> None:
        """Load mono and the plug-in, and start it.

        Raises:
            ConfigurationError: the plug-in cannot be loaded.
            PluginThrew: its OnStart has thrown an exception.
        """
        self._server = server
        loaded = Loaded(self._managed)
        name = self._managed.chosen(loaded.names())
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        number = ctypes.c_int
        handle, take = loaded.addresses()
        # The addresses stay valid: the delegates are in static fields.
        self._handle = ctypes.CFUNCTYPE(
            number, number, ctypes.c_longlong, ctypes.c_char_p, number, number
        )(handle)
        self._take = ctypes.CFUNCTYPE(number, ctypes.c_void_p, number)(take)
        error = loaded.start(name, self._config, self._wake)
        self._carry_out()
        if error is not None:
            raise PluginThrew(
                f"OnStart of {self._managed.reference} has thrown {_shortened(error)}"
            )
        asyncio.get_running_loop().add_reader(self._wake, self._woken)

    def on_stop(self, server: Server) -> None:
        """Call the plug-in's OnStop."""
        del server
        if self._wake < 0:
            return
        try:
            self._call("OnStop", _STOP, 0)
        finally:
            asyncio.get_running_loop().remove_reader(self._wake)

    def on_open(self, connection: Connection) -> None:
        """Call the plug-in's OnOpen."""
        number = next(self._numbers)
        self._ids[connection] = number
        self._connections[number] = connection
        facts = (_shown(connection.peer), _shown(connection.local_address), self._endpoint)
        self._call("OnOpen", _OPEN, number, "\n".join(facts).encode())

    def on_message(self, connection: Connection, message: bytes | str) -> None:
        """Call the plug-in's OnMessage."""
        is_text = isinstance(message, str)
        data = message.encode() if isinstance(message, str) else message
        self._call("OnMessage", _MESSAGE, self._ids[connection], data, int(is_text))

    def on_close(self, connection: Connection, reason: CloseReason) -> None:
        """Call the plug-in's OnClose."""
        number = self._ids.pop(connection, None)
        if number is not None:
            del self._connections[number]
            self._call("OnClose", _CLOSED, number, str(reason).encode(), reason.code or 0)

    def _call(self, name: str, what: int, number: int, data: bytes = b"", flags: int = 0) -> None:
        result = self._handle(what, number, data, len(data), flags)
        error = self._carry_out() if result & _HAS_RECORDS else None
        if result & _HAS_FAILED:
            story = _shortened(error or "an exception")
            raise PluginThrew(f"{name} of {self._managed.reference} has thrown {story}")

    def _woken(self) -> None:
        os.eventfd_read(self._wake)
        if self._carry_out(_BUFFERS_A_TURN_MAX) is None and self._is_more:
            os.eventfd_write(self._wake, 1)

    def _carry_out(self, buffers_max: int | None = None) -> str | None:
        """Do what the plug-in has queued; the text of an exception if there was one."""
        error = None
        self._is_more = True
        for _ in itertools.count() if buffers_max is None else range(buffers_max):
            buffer = self._buffer
            used = self._take(ctypes.addressof(buffer), len(buffer))
            if used < 0:
                buffer = ctypes.create_string_buffer(-used)
                used = self._take(ctypes.addressof(buffer), len(buffer))
            if not used:
                self._is_more = False
                break
            error = self._do(bytes(memoryview(buffer)[:used])) or error
            if error is not None and buffers_max is None:
                # What follows was queued by other threads, which wake the loop.
                break
        return error

    def _do(self, records: bytes) -> str | None:
        error, at = None, 0
        while at < len(records):
            kind, is_text, code, count, size = _RECORD.unpack_from(records, at)
            at += _RECORD.size
            numbers = struct.unpack_from(f"={count}q", records, at)
            at += 8 * count
            data = records[at : at + size]
            at += size
            if kind == _ERROR:
                error = data.decode()
            elif kind == _LOG:
                logger.log(code, "%s: %s", self._managed.reference, data.decode())
            elif kind == _PUBLISH:
                message = data[code:]
                self._publish(data[:code].decode(), message.decode() if is_text else message)
            else:
                self._do_with(kind, code, data.decode() if is_text else data, numbers)
        return error

    def _publish(self, topic: str, message: bytes | str) -> None:
        try:
            self._server.publish(topic, message)
        except VespiaryError as problem:
            # The plug-in has returned already.
            logger.error("%s cannot publish to %r: %s", self._managed.reference, topic, problem)

    def _do_with(self, kind: int, code: int, data: bytes | str, numbers: tuple[int, ...]) -> None:
        for number in numbers:
            connection = self._connections.get(number)
            if connection is None:
                continue
            try:
                if kind == _SEND:
                    connection.send(data)
                elif kind == _ABORT:
                    connection.abort()
                elif isinstance(data, str):
                    (connection.subscribe if kind == _SUBSCRIBE else connection.unsubscribe)(data)
                else:
                    _close(connection, code, data.decode())
            except ConnectionClosed:
                pass
            except (VespiaryError, ValueError) as problem:
                # The plug-in has returned already. A stream without this message would be wrong.
                logger.error(
                    "A call of %s has failed, so its connection is reset: %s",
                    self._managed.reference,
                    problem,
                )
                connection.abort()


def _shortened(story: str) -> str:
    """The first lines of a stack: one that has overflowed has thousands."""
    lines = story.splitlines()
    more = [f"  and {len(lines) - _LINES_MAX} further lines"] if len(lines) > _LINES_MAX else []
    return "\n".join(lines[:_LINES_MAX] + more)


def _close(connection: Connection, code: int, reason: str) -> None:
    if code:
        connection.close(code, reason)
    else:
        connection.close()


def _shown(address: tuple[str, int] | str | None) -> str:
    if isinstance(address, tuple):
        host, port = address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return address or ""
