"""An HTTP request at the start of a connection, and the responses to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, quote, unquote

from vespiary._bodies import Pieces, StreamedResponse, is_pieces, received
from vespiary._credentials import basic_credentials
from vespiary._header_lines import HeaderFields, header_lines
from vespiary.headers import Headers, Lines

if TYPE_CHECKING:
    from vespiary._core import Connection, Exchange
    from vespiary.routing import PathPattern

__all__ = ["Headers", "QueryParameters", "Request", "Response"]

_LOCATION_CHARACTERS = "/?#[]@!$&'()*+,;=:%-._~"
"""What a URI may contain besides letters and digits (RFC 3986 section 2)."""


_FORM_FIELDS_MAX = 1000
"""As in other frameworks: more than any form has."""

_NOTHING: Mapping[str, str] = MappingProxyType({})


class QueryParameters(Lines):
    """The parameters of a query, decoded; of a repeated one, the first.

    `get_all` gives every value of a name; `lines` every parameter in its order.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Response:
    """The response to a request; made by `Request.accept`, `respond` and `redirect`.

    Attributes:
        status: The status code; 101 opens a WebSocket.
        headers: The header fields.
        body: The body, or its pieces: an async iterable of bytes, or a plain one. Pieces are sent
            as they are made, with `Content-Length` if it is among the headers, else chunked.
        subprotocol: The subprotocol of the WebSocket.

    Raises:
        TypeError: status or body is of the wrong type.
        ValueError: the status is not one that a response has.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | Pieces = b""
    subprotocol: str | None = None

    def __post_init__(self) -> None:
        """Check it here, so that the traceback of an error has the line that made it."""
        if isinstance(self.status, bool) or not isinstance(self.status, int):
            raise TypeError(f"the status of a response is a number; got {self.status!r}")
        if self.status != 101 and not 200 <= self.status <= 599:
            raise ValueError(
                f"a response has a status from 200 to 599 (RFC 9110 section 15); got {self.status}"
            )
        if not isinstance(self.body, bytes) and not is_pieces(self.body):
            raise TypeError(
                f"the body of a Response is bytes, and str too in request.respond(...), or an"
                f" iterable of bytes; got {_shown(self.body)} (for JSON: json.dumps(...))"
            )


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request (RFC 9112), already checked to be well-formed.

    In the other methods of a handler it is `connection.request`, if it is kept: see `Handler`.

    Attributes:
        connection: The connection it came on; `connection.data` may be set already.
        method: As sent: `GET` for every WebSocket upgrade.
        target: Path and query as sent; `*` in an `OPTIONS *`.
        headers: The header fields.
        minor_version: The minor version of HTTP/1 that the client speaks.
        authority: The host, and the port if it was named, that the request is for: `Host`, or what
            a complete URL as the target names, so that `Host` is ignored (RFC 9112
            section 3.2.2). None only in a request of HTTP/1.0.
        path_parameters: The values of the parameters in the path of the endpoint's URL, decoded:
            `{"room": "bees"}` for `/rooms/bees` where the URL ends in `/rooms/{room}`.
        body: The whole body, without its chunked coding; at most `body_bytes_max` bytes. It is
            there in `on_request`, and empty in a `connection.request` that is read later, and
            always where the handler sets `stream_requests`: use `chunks` or `read` there.
    """

    connection: Connection
    method: str
    target: str
    headers: Headers
    minor_version: int = 1
    authority: str | None = None
    path_parameters: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    body: bytes = field(default=b"", repr=False)
    _peer: tuple[str, int] | str | None = field(default=None, init=False, repr=False, compare=False)
    _parameters: QueryParameters | None = field(default=None, init=False, repr=False, compare=False)
    _cookies: Mapping[str, str] | None = field(default=None, init=False, repr=False, compare=False)
    _exchange: Exchange | None = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    def from_native(
        cls,
        connection: Connection,
        head: tuple[str, str, int, str | None],
        headers: Iterable[tuple[str, str]],
        pattern: PathPattern | None = None,
        body: bytes = b"",
        exchange: Exchange | None = None,
    ) -> Request:
        """Make a request from what the engine read: (method, target, minor version, authority)."""
        method, target, minor_version, authority = head
        found = pattern.match(target.partition("?")[0]) if pattern is not None else None
        lines = Headers(headers)
        values = found or _NOTHING
        made = cls(connection, method, target, lines, minor_version, authority, values, body)
        # Kept, because behind a proxy the next request may come from another client.
        object.__setattr__(made, "_peer", connection.peer)
        if exchange is not None:
            object.__setattr__(made, "_exchange", exchange)
        return made

    @property
    def path(self) -> str:
        """The path of the target, percent-decoded; it may have segments `.` and `..`.

        Bytes that are not UTF-8 become U+FFFD, and an invalid `%` is kept. A request with a
        zero byte in its path is answered 400 before any handler sees it.
        """
        return unquote(self.target.partition("?")[0])

    @property
    def query(self) -> str:
        """What follows the question mark of the target, as sent."""
        return self.target.partition("?")[2]

    @property
    def query_parameters(self) -> QueryParameters:
        """The query as names and values, decoded from `application/x-www-form-urlencoded`."""
        if self._parameters is None:
            parsed = QueryParameters(parse_qsl(self.query, keep_blank_values=True))
            object.__setattr__(self, "_parameters", parsed)
        return cast("QueryParameters", self._parameters)

    @property
    def form(self) -> QueryParameters:
        """The body as names and values, decoded from `application/x-www-form-urlencoded`.

        Raises:
            ValueError: the body is not text in ASCII, or has more than 1,000 fields.
            RuntimeError: the handler sets `stream_requests`, so the body is not here.
        """
        text = self._whole_body().decode("ascii")
        return QueryParameters(
            parse_qsl(text, keep_blank_values=True, max_num_fields=_FORM_FIELDS_MAX)
        )

    def json(self) -> Any:
        """The body decoded from JSON (RFC 8259).

        Raises:
            ValueError: the body is not JSON in UTF-8.
            RuntimeError: the handler sets `stream_requests`, so the body is not here.
        """
        return json.loads(self._whole_body().decode())

    async def chunks(self) -> AsyncIterator[bytes]:
        """Iterate over the body as it arrives, in pieces of any size.

        With `Handler.stream_requests`, `on_request` is called before the body has arrived, and
        Vespiary stops reading while the pieces wait. Elsewhere the whole body is one piece. Each
        piece comes once.

        Raises:
            ConnectionClosed: the client went away before the end of the body, or the body was
                refused: it is too long, malformed, or too slow.
        """
        if self._exchange is None:
            if self.body:
                yield self.body
            return
        async for piece in received(self._exchange):
            yield piece

    async def read(self) -> bytes:
        """Return the rest of the body, when it has arrived.

        Raises:
            ConnectionClosed: as for `chunks`.
        """
        return b"".join([piece async for piece in self.chunks()])

    @property
    def cookies(self) -> Mapping[str, str]:
        """The cookies by name (RFC 6265 section 4.2); of a repeated one, the first.

        A cookie that is not `name=value` is omitted. Values are as sent, without the double quotes
        that may enclose them.
        """
        if self._cookies is None:
            lines = self.headers.get_all("cookie")
            object.__setattr__(self, "_cookies", MappingProxyType(_cookies(lines)))
        return cast("Mapping[str, str]", self._cookies)

    @property
    def basic_credentials(self) -> tuple[str, str] | None:
        """The user name and the password of basic authentication (RFC 7617), unchecked.

        None where the request has none, or malformed ones: answer it 401, with a
        `WWW-Authenticate` field. Compare passwords with `hmac.compare_digest`.
        """
        fields = self.headers.get_all("authorization")
        return basic_credentials(fields[0]) if len(fields) == 1 else None

    @property
    def peer(self) -> tuple[str, int] | str | None:
        """The address of the client, as `connection.peer` was when the request came."""
        return self.connection.peer if self._peer is None else self._peer

    @property
    def is_upgrade(self) -> bool:
        """Whether the client asks for a WebSocket; HTTP/1.0 has no upgrades (RFC 9110 7.8)."""
        asked = self.version is not None or "websocket" in self._tokens("upgrade")
        return self.minor_version >= 1 and asked

    @property
    def version(self) -> int | None:
        """The WebSocket version, 13 or 8, that the client asks for and this end speaks, or None."""
        return self.connection.version

    @property
    def origin(self) -> str | None:
        """The origin of the page that connects, in a browser (RFC 6454).

        Clients of version 8 send it in `Sec-WebSocket-Origin`.
        """
        return self.headers.get("sec-websocket-origin" if self.version == 8 else "origin")

    @property
    def subprotocols(self) -> list[str]:
        """The subprotocols that the client offers, its favourite first (RFC 6455 section 4.1)."""
        values = ",".join(self.headers.get_all("sec-websocket-protocol"))
        return [token for part in values.split(",") if (token := part.strip())]

    def accept(self, subprotocol: str | None = None, headers: HeaderFields = ()) -> Response:
        """Upgrade to WebSocket, with one of the client's subprotocols and further headers.

        By default `WebSocket.subprotocols` of the endpoint chooses the subprotocol; an empty text
        chooses none.

        Raises:
            ConfigurationError: the headers are neither a mapping nor pairs of `str`.
        """
        return Response(101, header_lines(headers), b"", subprotocol)

    def respond(
        self, status: int, body: bytes | str | Pieces = b"", headers: HeaderFields = ()
    ) -> Response:
        """Answer with a status and a body; text is sent as plain text in UTF-8 by default.

        It never opens the WebSocket: `accept` does. The connection is kept for the next request
        where HTTP allows it: a `Connection: close` among the headers ends it.

        A body may also be an async generator of bytes, or any other iterable of bytes. Its pieces
        are sent as they are made, and the next one is asked for when the client has taken enough.
        If it raises an exception, that is logged, and the connection is reset.

        Raises:
            TypeError: status or body is of the wrong type.
            ValueError: the status is not from 200 to 599.
            ConfigurationError: the headers are neither a mapping nor pairs of `str`.
        """
        if status == 101:
            raise ValueError(
                "respond(101) would open the WebSocket: use request.accept(), or a status from 200"
                " to 599 to refuse it"
            )
        lines = header_lines(headers)
        if isinstance(body, str):
            body = body.encode()
            if not any(name.lower() == "content-type" for name, _ in lines):
                lines += (("Content-Type", "text/plain; charset=utf-8"),)
        return Response(status, lines, body)

    def redirect(self, location: str, status: int = 307) -> Response:
        """Send the client elsewhere (RFC 9110 section 10.2.2).

        Args:
            location: A URL or a part of one. What a URL may not hold, such as spaces, letters
                outside ASCII and control characters, is percent-encoded; a percent sign stays.
            status: 301, 302, 303, 307 or 308.

        Raises:
            ValueError: another status.
        """
        if status not in (301, 302, 303, 307, 308):
            raise ValueError(f"a redirect has status 301, 302, 303, 307 or 308; got {status!r}")
        encoded = quote(location, safe=_LOCATION_CHARACTERS)
        return self.respond(status, headers=[("Location", encoded)])

    def _whole_body(self) -> bytes:
        if self._exchange is not None:
            raise RuntimeError(
                "the handler sets stream_requests, so the body has not come when on_request is"
                " called: use await request.read()"
            )
        return self.body

    def _tokens(self, name: str) -> list[str]:
        values = ",".join(self.headers.get_all(name))
        return [part.strip().lower() for part in values.split(",")]


def _cookies(lines: Iterable[str]) -> dict[str, str]:
    """Return the cookies of these fields by name; of a repeated one, the first."""
    found: dict[str, str] = {}
    for line in lines:
        for part in line.split(";"):
            name, equals, value = part.strip(" \t").partition("=")
            if equals and name:
                found.setdefault(name, _unquoted(value))
    return found


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return value[1:-1]
    return value


def _shown(value: object) -> str:
    """Return a value for an error's text, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


class NativeResponse(tuple[object, ...]):
    """A response in the engine's form, which no handler can return by accident."""

    __slots__ = ()


request_from_native = Request.from_native


def native_response(answer: Response | None) -> NativeResponse | StreamedResponse | None:
    """Return the response in the engine's form, or what sends it in pieces.

    Raises:
        TypeError: it is not a response.
    """
    if answer is None:
        return None
    if not isinstance(answer, Response):
        raise TypeError(
            "on_request returns None, request.accept(...) or request.respond(...); got"
            f" {_shown(answer)}"
        )
    if answer.status == 101:
        return NativeResponse(("accept", answer.subprotocol, list(answer.headers)))
    if not isinstance(answer.body, bytes):
        return StreamedResponse(answer.status, list(answer.headers), answer.body)
    return NativeResponse(("respond", answer.status, list(answer.headers), answer.body))
