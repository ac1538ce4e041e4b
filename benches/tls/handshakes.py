"""Handshakes by OpenSSL: connect, send one message, read the echo, close; in full or resumed."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from benches.broadcast.client import reset

MESSAGE = b"0123456789abcdef" * 2
SECONDS_MAX = 30.0


class HandshakeError(Exception):
    """A session was resumed where it should not be, or the other way; or the echo was wrong."""


def handshakes(port: int, ca: Path, count: int, *, resumed: bool) -> None:
    """Make so many connections, one after the other.

    Raises:
        HandshakeError: One was not as it should be.
    """
    context = ssl.create_default_context(cafile=ca)
    session = _once(context, port, None) if resumed else None
    for _ in range(count):
        # A ticket of TLS 1.3 is used once.
        session = _once(context, port, session)
        if not resumed:
            session = None


def _once(
    context: ssl.SSLContext, port: int, session: ssl.SSLSession | None
) -> ssl.SSLSession | None:
    plain = socket.create_connection(("127.0.0.1", port), SECONDS_MAX)
    with context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as connection:
        connection.sendall(MESSAGE)
        echoed = b""
        while len(echoed) < len(MESSAGE):
            data = connection.recv(4096)
            if not data:
                raise HandshakeError("the server ended the connection")
            echoed += data
        if echoed != MESSAGE:
            raise HandshakeError("the echo differs")
        if bool(connection.session_reused) != (session is not None):
            raise HandshakeError("the session was not resumed" if session else "it was resumed")
        found = connection.session
        reset(connection)
        return found
