"""An HTTP request at a connection's start, and the answers to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from vespiary._core import Connection

__all__ = ["Headers", "Request", "Response"]


class Headers(Mapping[str, str]):
    """Header fields, found by name without regard to case; of a repeated one, the first.

    `get_all` gives every value of a name; `items` each line in its order.
    """

    __slots__ = ("_lines",)

    def __init__(self, lines: Iterable[tuple[str, str]]) -> None:
        self._lines = tuple(lines)

    def get_all(self, name: str) -> list[str]:
        """Every value of a name, in order."""
        name = name.lower()
        return [value for other, value in self._lines if other.lower() == name]

    def __getitem__(self, name: str) -> str:
        for value in self.get_all(name):
            return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name, _ in self._lines))

    def __len__(self) -> int:
        return len(set(self))

    @property
    def lines(self) -> tuple[tuple[str, str], ...]:
        """The fields as they were sent."""
        return self._lines

    def __repr__(self) -> str:
        return f"Headers({list(self._lines)!r})"


@dataclass(frozen=True, slots=True)
class Response:
    """What a request is answered with; made by `Request.accept` and `Request.respond`."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    subprotocol: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A request's head (RFC 9112), already found to be well-formed.

    Attributes:
        connection: The connection it came on; `connection.data` may be set already.
        method: As sent: `GET` for every WebSocket upgrade.
        target: Path and query as sent; `*` in an `OPTIONS *`.
        headers: The header fields.
        minor_version: The version is HTTP/1 point this.
        authority: The host, and the port if it was named, that the request is for: `Host`, or what
            a whole URL as the target names, beside which `Host` counts for nothing (RFC 9112
            section 3.2.2). None only in a request of HTTP/1.0.
    """

    connection: Connection
    method: str
    target: str
    headers: Headers
    minor_version: int = 1
    authority: str | None = None

    @property
    def path(self) -> str:
        """The target's path, percent-decoded."""
        return unquote(self.target.partition("?")[0])

    @property
    def query(self) -> str:
        """What follows the target's question mark, as sent."""
        return self.target.partition("?")[2]

    @property
    def is_upgrade(self) -> bool:
        """Whether a WebSocket is asked for; HTTP/1.0 has no upgrades (RFC 9110 section 7.8)."""
        asked = self.version is not None or "websocket" in self._tokens("upgrade")
        return self.minor_version >= 1 and asked

    @property
    def version(self) -> int | None:
        """The version of WebSocket that is asked for and spoken here, 13 or 8; None elsewhere."""
        return self.connection.version

    @property
    def origin(self) -> str | None:
        """Where the page that asks came from, in a browser (RFC 6454).

        Clients of version 8 tell it in `Sec-WebSocket-Origin`.
        """
        return self.headers.get("sec-websocket-origin" if self.version == 8 else "origin")

    @property
    def subprotocols(self) -> list[str]:
        """The subprotocols that the client speaks, the best first (RFC 6455 section 4.1)."""
        values = ",".join(self.headers.get_all("sec-websocket-protocol"))
        return [token for part in values.split(",") if (token := part.strip())]

    def accept(
        self, subprotocol: str | None = None, headers: Iterable[tuple[str, str]] = ()
    ) -> Response:
        """Upgrade to WebSocket, with one of the client's subprotocols and further headers.

        Left out, the subprotocol is chosen by the endpoint's `WebSocket.subprotocols`; an empty
        text chooses none.
        """
        return Response(101, tuple(headers), b"", subprotocol)

    def respond(
        self, status: int, body: bytes | str = b"", headers: Iterable[tuple[str, str]] = ()
    ) -> Response:
        """Answer with a status and a body; text is plain text in UTF-8 unless told.

        The connection is kept for the next request where HTTP allows it: a `Connection: close`
        among the headers ends it.
        """
        lines = tuple(headers)
        if isinstance(body, str):
            body = body.encode()
            if not any(name.lower() == "content-type" for name, _ in lines):
                lines += (("Content-Type", "text/plain; charset=utf-8"),)
        return Response(status, lines, body)

    def redirect(self, location: str, status: int = 307) -> Response:
        """Send the client elsewhere."""
        return self.respond(status, headers=[("Location", location)])

    def _tokens(self, name: str) -> list[str]:
        values = ",".join(self.headers.get_all(name))
        return [part.strip().lower() for part in values.split(",")]


def native_answer(answer: Response | None) -> object:
    """The answer as the engine takes it.

    Raises:
        TypeError: it is none.
    """
    if answer is None:
        return None
    if not isinstance(answer, Response):
        raise TypeError(
            f"on_request returns None, request.accept(...) or request.respond(...); got {answer!r}"
        )
    if answer.status == 101:
        return ("accept", answer.subprotocol, list(answer.headers))
    return ("respond", answer.status, list(answer.headers), answer.body)
