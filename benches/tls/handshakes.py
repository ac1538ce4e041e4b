"""Handshakes by OpenSSL, in full or resumed: connect, send one message, read the answer, close.

The message is of 32 bytes and comes back, or it is a request for a page.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from benches.broadcast.client import reset

MESSAGE = b"0123456789abcdef" * 2
REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
PAGE = b"hello\n"
SECONDS_MAX = 30.0


class HandshakeError(Exception):
    """A session was resumed where it should not be, or the other way; or the answer was wrong."""


def handshakes(port: int, ca: Path, count: int, *, resumed: bool, is_page: bool = False) -> None:
    """Make so many connections, one after the other.

    Raises:
        HandshakeError: One was not as it should be.
    """
    context = ssl.create_default_context(cafile=ca)
    session = _once(context, port, None, is_page) if resumed else None
    for _ in range(count):
        # A ticket of TLS 1.3 is used once.
        session = _once(context, port, session, is_page)
        if not resumed:
            session = None


def _once(
    context: ssl.SSLContext, port: int, session: ssl.SSLSession | None, is_page: bool
) -> ssl.SSLSession | None:
    plain = socket.create_connection(("127.0.0.1", port), SECONDS_MAX)
    with context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as connection:
        connection.sendall(REQUEST if is_page else MESSAGE)
        answer = b""
        while not answer.endswith(PAGE) if is_page else len(answer) < len(MESSAGE):
            data = connection.recv(4096)
            if not data:
                raise HandshakeError("the server ended the connection")
            answer += data
        if not answer.startswith(b"HTTP/1.1 200 ") if is_page else answer != MESSAGE:
            raise HandshakeError("the answer is wrong")
        if bool(connection.session_reused) != (session is not None):
            raise HandshakeError("the session was not resumed" if session else "it was resumed")
        found = connection.session
        reset(connection)
        return found
