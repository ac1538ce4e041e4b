"""Names that other libraries have for what Vespiary calls otherwise, and what to write here.

The nearest name by its letters would mislead: `on_disconnect` looks like `on_connect`, and means
`on_close`.
"""

from __future__ import annotations

from collections.abc import Mapping

from vespiary.compression import Compression
from vespiary.limits import Deadlines, Limits
from vespiary.websocket import WebSocket

__all__ = ["OTHER_HOOKS", "other_options"]

_MESSAGE = "it is on_message, whose message is str for text and bytes for everything else"

OTHER_HOOKS: Mapping[str, str] = {
    "on_connect": "it is on_open (on_request sees a request before it is accepted)",
    "on_connected": "it is on_open",
    "on_connection": "it is on_open",
    "on_disconnect": "it is on_close",
    "on_disconnected": "it is on_close",
    "on_end_of_stream": "it is on_end",
    "on_eof": "it is on_end",
    "on_error": "on_close gets the reason of a broken connection, and an exception of a method is"
    " logged: catch it with try in the method itself",
    "on_exception": "an exception of a method is logged: catch it with try in the method itself",
    "on_text": _MESSAGE,
    "on_binary": _MESSAGE,
    "on_bytes": _MESSAGE,
    "on_data": _MESSAGE,
    "on_receive": _MESSAGE,
    "on_recv": _MESSAGE,
    "on_line": _MESSAGE,
    "on_fragment": "it is on_part",
    "on_chunk": "it is on_part",
    "on_packet": "it is on_datagram",
    "on_datagram_received": "it is on_datagram",
    "on_ping": "a ping is answered without the handler",
    "on_pong": "await connection.ping() for the latency",
    "on_upgrade": "it is on_request",
    "on_handshake": "it is on_request",
    "on_http": "it is on_request",
    "on_timeout": "it is on_limit, and on_close gets the reason",
    "on_writable": "it is on_drain",
    "on_resume_writing": "it is on_drain",
    "on_startup": "it is on_start",
    "on_cleanup": "it is on_stop",
    "on_exit": "it is on_stop",
}
"""Hooks of other libraries, each with what to write here."""

_PLACES = {"limits": Limits, "deadlines": Deadlines, "websocket": WebSocket}

_OPTIONS = {
    "ping_interval": "deadlines=Deadlines(ping_interval_seconds=...)",
    "ping_timeout": "deadlines=Deadlines(ping_timeout_seconds=...)",
    "close_timeout": "deadlines=Deadlines(close_seconds=...)",
    "open_timeout": "deadlines=Deadlines(handshake_seconds=...)",
    "timeout": "deadlines=Deadlines(handshake_seconds=...)",
    "max_size": "limits=Limits(message_bytes_max=...)",
    "max_queue": "limits=Limits(inbox_messages_max=...)",
    "write_limit": "limits=Limits(write_high_bytes=...)",
    "read_limit": "limits=Limits(inbox_bytes_max=...)",
    "heartbeat": "deadlines=Deadlines(ping_interval_seconds=...)",
    "protocols": "websocket=WebSocket(subprotocols=...)",
    "origin": "websocket=WebSocket(origins=...)",
    "extra_headers": "websocket=WebSocket(headers=...)",
    "additional_headers": "websocket=WebSocket(headers=...)",
    "response_headers": "websocket=WebSocket(headers=...)",
    "backlog_max": "backlog=",
    "socket": "sock=",
    "groups": "multicast_groups=",
    "allow_broadcast": "broadcast=",
}
_COMPRESSION = (
    "messages are not compressed by default; to compress them, write"
    " websocket=WebSocket(compression=Compression())"
)
_SENTENCES = {
    "compress": _COMPRESSION,
    "compression": _COMPRESSION,
    "logger": "the logger is logging.getLogger('vespiary')",
    "ssl": "write tls= with a ServerTLS (of a server) or ClientTLS",
    "ssl_context": "write tls= with a ServerTLS (of a server) or ClientTLS",
    "certfile": "write tls=ServerTLS(certificate, key)",
    "keyfile": "write tls=ServerTLS(certificate, key)",
    "port": "the port is part of the URL",
    "path": "the path is part of the URL",
    "url": "the URL is the second argument",
    "loop": "it runs in the loop that awaits it",
    "process_request": "write it as the method on_request of a Handler",
    "rate_limit": "for bytes per second write filters=[partial(vespiary.filters.RateLimit,"
    " received=...)]; to limit messages per second, sleep in the handler or count them there",
    "reload": "that is an option of the command: vespiary serve --reload",
    "log_level": "set it with logging.getLogger('vespiary').setLevel(...)",
    "workers": "it is an option of vespiary.serve and Server.run",
}

_OWN_SOCKET = (
    "a client opens its socket itself: the server's address, or the path of a Unix socket, is part"
    " of the URL, and source= is the local address"
)
_OWN_CERTIFICATE = "write tls=ClientTLS(certificate=..., key=...)"
_CLIENT_SENTENCES = {
    "sock": _OWN_SOCKET,
    "socket": _OWN_SOCKET,
    "local_addr": "write source= with the address alone; the kernel chooses the port",
    "family": "all addresses of a name are tried; source= with an address of this family limits"
    " them to it",
    "host": "the host is part of the URL",
    "uri": "the URL is the first argument",
    "url": "the URL is the first argument",
    "server_hostname": "write tls=ClientTLS(server_name=...)",
    "certfile": _OWN_CERTIFICATE,
    "keyfile": _OWN_CERTIFICATE,
    "process_exception": "write reconnect=Backoff(is_final=...), a function that returns True where"
    " the exception is to be raised",
    "process_request": "that is an option of a server",
    "create_connection": "connections always have the class vespiary.Connection: write a class"
    " that has one",
    "user_agent_header": 'no User-Agent is sent by default; write headers={"User-Agent": ...}',
}


def other_options(owner_options: Mapping[str, object]) -> dict[str, str]:
    """Return what to write for options that other libraries have, and for fields of our own.

    Args:
        owner_options: The options that there are; a name among them is omitted.
    """
    found = {
        name: f"it is a field: {option}={cls.__name__}({name}=...)"
        for option, cls in _PLACES.items()
        if option in owner_options
        for name in cls.__annotations__
    }
    if "websocket" in owner_options:
        for name in Compression.__annotations__:
            found[name] = f"it is a field: websocket=WebSocket(compression=Compression({name}=...))"
    for name, write in _OPTIONS.items():
        if write.partition("=")[0] in owner_options:
            found[name] = f"write {write}"
    if "headers" in owner_options:
        found["extra_headers"] = found["additional_headers"] = "write headers="
    if "subprotocols" in owner_options:
        found["protocols"] = "write subprotocols="
        found["origin"] = 'write headers={"Origin": ...}'
    found.update(_SENTENCES)
    if "reconnect" in owner_options:
        found.update(_CLIENT_SENTENCES)
    return {name: text for name, text in found.items() if name not in owner_options}
