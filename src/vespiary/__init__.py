"""A completion-port server framework: handlers on TCP, Unix sockets, WebSocket and HTTP.

The public names, and nothing else; each is documented where it lives.
"""

from vespiary import sync
from vespiary._core import Connection, Timer, __version__
from vespiary._serve import serve
from vespiary.backoff import Backoff
from vespiary.client import connect
from vespiary.client_options import ClientOptions
from vespiary.close_code import CloseCode
from vespiary.compression import Compression
from vespiary.endpoint import Endpoint
from vespiary.errors import (
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
    WriteQueueFull,
)
from vespiary.filters import Filter
from vespiary.framing import LengthPrefix
from vespiary.handler import Handler
from vespiary.limits import Deadlines, Limits
from vespiary.loop import run
from vespiary.request import Request, Response
from vespiary.server import Server, ServerOptions
from vespiary.statistics import (
    CompressionStatistics,
    ConnectionStatistics,
    EndpointStatistics,
    PortStatistics,
    ServerStatistics,
)
from vespiary.tls import ClientTLS, ServerTLS, TLSInfo
from vespiary.websocket import WebSocket

__all__ = [
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
    "TLSInfo",
    "ThreadCallsFull",
    "Timer",
    "VespiaryError",
    "WebSocket",
    "WriteQueueFull",
    "__version__",
    "connect",
    "run",
    "serve",
    "sync",
]
