"""The options of an endpoint that a server serves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    import socket

    from vespiary.filters import FilterFactory
    from vespiary.framing import Framing
    from vespiary.limits import Deadlines, Limits, SlowConsumer
    from vespiary.tls import ServerTLS
    from vespiary.websocket import WebSocket

__all__ = ["BACKLOG", "FRAMING", "SLOW_CONSUMER", "ServerOptions"]

BACKLOG = 4096
FRAMING: Framing = "raw"
SLOW_CONSUMER: SlowConsumer = "wait"


class ServerOptions(TypedDict, total=False):
    """The options of an endpoint, for `Server.add` and `vespiary.serve`.

    Attributes:
        framing: How a stream is divided into messages; default: `raw`. WebSocket has its own.
        limits: How much the peers of this endpoint may use.
        deadlines: How long things may take on the connections of this endpoint.
        slow_consumer: What happens to messages for a peer whose write queue is full; default:
            `wait`.
        websocket: The options of WebSocket: versions, origins, subprotocols, compression.
        tls: Certificates and keys: for `wss://`, `https://` and `tls://`, which need it.
        proxy_protocol_from: The addresses and networks of proxies whose connections begin with a
            header of the PROXY protocol (version 1 or 2), such as `["10.0.0.0/8"]`; `unix` stands
            for every peer of a Unix socket. `connection.peer` is then the proxy's client. Default:
            none. Other connections are served without a header.
        forwarded_from: On `ws://` and `http://`: the addresses and networks of proxies that name
            their client in each request. `connection.peer` and `request.peer` are then that client,
            with port 0 if the proxy does not name the port. Default: none.
        forwarded_field: In which header field: `x-forwarded-for` (the default), or `forwarded` (RFC
            7239).
        filters: Filters between the socket and the framing: see `vespiary.Filter`.
        executor: `threads` runs the handler's plain methods on a pool of threads, in order per
            connection: for business logic that blocks.
        host: Serve only requests for this host name, as in their `Host` field, without its port:
            `example.com`, or `*.example.com` for every host below it. Default: every host.
        sock: A bound stream socket to listen on, instead of one that is created for the URL. It
            belongs to the server from the start on.
        fd: The descriptor of such a socket, as a service manager passes it. It also belongs to the
            server from the start on, which closes it: of a socket object, pass `detach()` and not
            `fileno()`.
        mode: The permissions of a Unix socket's file, such as 0o660. Default: set by the umask.
        backlog: Connections that may wait in the kernel to be accepted; the kernel's own bound is
            net.core.somaxconn. Default: 4096.
        reuse_port: Share the port with other processes (SO_REUSEPORT, socket(7)). Each process
            gets a part of the connections.
        connections: For datagrams: each peer gets a pseudo-connection, which the handler serves
            like the connection of a stream. Each datagram is a message.
        packet_info: For datagrams: ask the kernel for `Datagram.ttl` and `Datagram.ecn`.
        receive_buffer_bytes: For datagrams: what the kernel's buffer of the socket holds
            (SO_RCVBUF, socket(7)), up to net.core.rmem_max. Default: net.core.rmem_default.
        broadcast: On `udp://`: allow sending to broadcast addresses (SO_BROADCAST).
        multicast_groups: On `udp://`: groups to join, such as `["239.1.2.3"]`, or
            `["239.1.2.3%eth0"]` on one interface. Datagrams to groups are then sent on this
            interface too, and other sockets may share the port.
    """

    framing: Framing | None
    limits: Limits | None
    deadlines: Deadlines | None
    slow_consumer: SlowConsumer
    websocket: WebSocket | None
    tls: ServerTLS | None
    proxy_protocol_from: Sequence[str]
    forwarded_from: Sequence[str]
    forwarded_field: Literal["x-forwarded-for", "forwarded"] | None
    filters: Sequence[FilterFactory]
    executor: Literal["threads"] | None
    host: str | None
    sock: socket.socket | None
    fd: int | None
    mode: int | None
    backlog: int
    reuse_port: bool
    connections: bool
    packet_info: bool
    receive_buffer_bytes: int | None
    broadcast: bool
    multicast_groups: Sequence[str]
