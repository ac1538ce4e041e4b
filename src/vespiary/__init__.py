"""A server framework on completion ports: handlers on TCP, UDP, Unix sockets, WebSocket and HTTP.

This module contains only the public names. Each is documented in the module that defines it. This
module is imported when the name is first used (PEP 562), so that a command of the command line, or
a program that only connects, does not wait for modules that it does not use.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # The module `typing` takes longer to import than all that is here.
    from vespiary import sync
    from vespiary._core import Connection, Datagram, DatagramSocket, Timer, __version__
    from vespiary._serve import serve
    from vespiary.backoff import Backoff
    from vespiary.client import connect
    from vespiary.client_options import ClientOptions
    from vespiary.close_code import CloseCode
    from vespiary.compression import Compression
    from vespiary.endpoint import Endpoint
    from vespiary.errors import (
        ApplicationFailed,
        CloseReason,
        ConfigurationError,
        ConnectionBroken,
        ConnectionClosed,
        DriverUnavailable,
        EndpointError,
        HandshakeRefused,
        LimitsError,
        LocalClosed,
        LocalError,
        ProxyRefused,
        ReceiveConflict,
        Redirect,
        RedirectRefused,
        RemoteClosed,
        RemoteError,
        SendRefused,
        ThreadCallsFull,
        VespiaryError,
        WorkerFailed,
        WriteQueueFull,
    )
    from vespiary.filters import Filter
    from vespiary.framing import LengthPrefix
    from vespiary.handler import Handler
    from vespiary.http import ASGI, WSGI, StaticFiles
    from vespiary.limits import Deadlines, Limits
    from vespiary.loop import run
    from vespiary.presence import Member
    from vespiary.request import Request, Response
    from vespiary.server import Server, ServerOptions
    from vespiary.statistics import (
        CompressionStatistics,
        ConnectionStatistics,
        EndpointStatistics,
        PortStatistics,
        ServerStatistics,
        ThreadStatistics,
        TimerStatistics,
        TopicStatistics,
        WorkerStatistics,
    )
    from vespiary.tls import ClientTLS, ServerTLS, TLSInfo
    from vespiary.websocket import WebSocket
    from vespiary.workers import Workers

__all__ = [
    "ASGI",
    "WSGI",
    "ApplicationFailed",
    "Backoff",
    "ClientOptions",
    "ClientTLS",
    "CloseCode",
    "CloseReason",
    "Compression",
    "CompressionStatistics",
    "ConfigurationError",
    "Connection",
    "ConnectionBroken",
    "ConnectionClosed",
    "ConnectionStatistics",
    "Datagram",
    "DatagramSocket",
    "Deadlines",
    "DriverUnavailable",
    "Endpoint",
    "EndpointError",
    "EndpointStatistics",
    "Filter",
    "Handler",
    "HandshakeRefused",
    "LengthPrefix",
    "Limits",
    "LimitsError",
    "LocalClosed",
    "LocalError",
    "Member",
    "PortStatistics",
    "ProxyRefused",
    "ReceiveConflict",
    "Redirect",
    "RedirectRefused",
    "RemoteClosed",
    "RemoteError",
    "Request",
    "Response",
    "SendRefused",
    "Server",
    "ServerOptions",
    "ServerStatistics",
    "ServerTLS",
    "StaticFiles",
    "TLSInfo",
    "ThreadCallsFull",
    "ThreadStatistics",
    "Timer",
    "TimerStatistics",
    "TopicStatistics",
    "VespiaryError",
    "WebSocket",
    "WorkerFailed",
    "WorkerStatistics",
    "Workers",
    "WriteQueueFull",
    "__version__",
    "connect",
    "run",
    "serve",
    "sync",
]

_MODULES = {
    "_core": ("Connection", "Datagram", "DatagramSocket", "Timer", "__version__"),
    "_serve": ("serve",),
    "backoff": ("Backoff",),
    "client": ("connect",),
    "client_options": ("ClientOptions",),
    "close_code": ("CloseCode",),
    "compression": ("Compression",),
    "endpoint": ("Endpoint",),
    "errors": (
        "ApplicationFailed",
        "CloseReason",
        "ConfigurationError",
        "ConnectionBroken",
        "ConnectionClosed",
        "DriverUnavailable",
        "EndpointError",
        "HandshakeRefused",
        "LimitsError",
        "LocalClosed",
        "LocalError",
        "ProxyRefused",
        "ReceiveConflict",
        "Redirect",
        "RedirectRefused",
        "RemoteClosed",
        "RemoteError",
        "SendRefused",
        "ThreadCallsFull",
        "VespiaryError",
        "WorkerFailed",
        "WriteQueueFull",
    ),
    "filters": ("Filter",),
    "framing": ("LengthPrefix",),
    "handler": ("Handler",),
    "http": ("ASGI", "WSGI", "StaticFiles"),
    "limits": ("Deadlines", "Limits"),
    "loop": ("run",),
    "presence": ("Member",),
    "request": ("Request", "Response"),
    "server": ("Server", "ServerOptions"),
    "statistics": (
        "CompressionStatistics",
        "ConnectionStatistics",
        "EndpointStatistics",
        "PortStatistics",
        "ServerStatistics",
        "ThreadStatistics",
        "TimerStatistics",
        "TopicStatistics",
        "WorkerStatistics",
    ),
    "tls": ("ClientTLS", "ServerTLS", "TLSInfo"),
    "websocket": ("WebSocket",),
    "workers": ("Workers",),
    "sync": (),
}
"""Where the public names live; each module is an attribute of the package, too."""

if not TYPE_CHECKING:  # A type checker would take any name for a public one.

    def __getattr__(name):
        """Import a module, or what a public name stands for, when it is first used."""
        from importlib import import_module

        if name in _MODULES:
            return import_module(f"{__name__}.{name}")
        for module, names in _MODULES.items():
            if name in names:
                value = getattr(import_module(f"{__name__}.{module}"), name)
                globals()[name] = value
                return value
        text = f"module {__name__!r} has no attribute {name!r}"
        for module in () if name.startswith("_") else ("filters", "testing"):
            if name in import_module(f"{__name__}.{module}").__all__:
                text += f": it is {__name__}.{module}.{name}"
        raise AttributeError(text, name=name, obj=sys.modules[__name__])

    def __dir__():
        return sorted({*globals(), *__all__, *_MODULES})
