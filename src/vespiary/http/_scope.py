"""The scopes of ASGI: what an application learns of a request or a WebSocket.

See the HTTP and WebSocket message format of ASGI, version 2.5. Each scope is a copy of one that has
everything that is the same for all requests of an endpoint, so that a request pays only for what
is its own. Those of HTTP requests are completed by native code (`_core.Application`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from vespiary._core import Connection
    from vespiary.endpoint import Endpoint
    from vespiary.request import Request

__all__ = ["ASGI_VERSIONS", "Scopes"]

ASGI_VERSIONS = {"version": "3.0", "spec_version": "2.5"}

_HTTP_EXTENSIONS: dict[str, dict[str, Any]] = {
    "http.response.early_hint": {},
    "http.response.pathsend": {},
    "http.response.trailers": {},
}
_WEBSOCKET_EXTENSIONS: dict[str, dict[str, Any]] = {"websocket.http.response": {}}
_SCHEMES = {b"http": "http", b"https": "https", b"ws": "http", b"wss": "https"}
_WEBSOCKET_SCHEMES = {"http": "ws", "https": "wss"}


class Scopes:
    """Makes the scopes for an endpoint.

    Args:
        endpoint: The endpoint.
        root_path: Where the application is mounted, for its own links.
        is_behind_proxy: Whether `X-Forwarded-Proto` of a trusted proxy says what the scheme is.
        state: What the application has put into the state of its lifespan.

    Attributes:
        http: What is the same in the scopes of all HTTP requests.
        http_extensions: Their extensions.
        removed_path: What a proxy has removed from the paths.
        server: The server's address, where it is a Unix socket's.
        is_behind_proxy: As the argument.
    """

    def __init__(
        self, endpoint: Endpoint, root_path: str, state: dict[str, Any], *, is_behind_proxy: bool
    ) -> None:
        self._state = state
        # A proxy has removed it from the paths. If the endpoint serves this path, it is still
        # there.
        is_there = bool(root_path) and endpoint.target.startswith(f"{root_path}/")
        self.removed_path = "" if is_there else root_path
        self._raw_removed = self.removed_path.encode("latin-1", "replace")
        self.is_behind_proxy = is_behind_proxy
        self.server = (endpoint.path, None) if endpoint.is_unix else None
        scheme = "https" if endpoint.is_secure else "http"
        common: dict[str, Any] = {
            "asgi": ASGI_VERSIONS,
            "http_version": "1.1",
            "scheme": scheme,
            "root_path": root_path,
            "query_string": b"",
        }
        self.http = {"type": "http", **common}
        self.http_extensions = _HTTP_EXTENSIONS
        self._websocket: dict[str, Any] = {
            **common,
            "type": "websocket",
            "scheme": _WEBSOCKET_SCHEMES[scheme],
        }

    def websocket(self, request: Request) -> dict[str, Any]:
        """Return the scope of a WebSocket."""
        scope = self._websocket.copy()
        scope["extensions"] = _WEBSOCKET_EXTENSIONS.copy()
        scope["headers"] = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in request.headers.lines
        ]
        scope["subprotocols"] = request.subprotocols
        self._add_place(scope, request.target, request.connection)
        scope["scheme"] = _WEBSOCKET_SCHEMES.get(scope["scheme"], scope["scheme"])
        return scope

    def _add_place(self, scope: dict[str, Any], target: str, connection: Connection) -> None:
        path, _, query = target.partition("?")
        raw_path = path.encode()
        if "%" in path:
            path = unquote(path)
        if self.removed_path:
            path = self.removed_path + path
            raw_path = self._raw_removed + raw_path
        scope["path"] = path
        scope["raw_path"] = raw_path
        if query:
            scope["query_string"] = query.encode()
        peer = connection.peer
        scope["client"] = peer if type(peer) is tuple else None
        scope["server"] = connection.local_address if self.server is None else self.server
        scope["state"] = self._state.copy()
        if self.is_behind_proxy and connection._is_forwarded:
            self._set_scheme(scope)

    @staticmethod
    def _set_scheme(scope: dict[str, Any]) -> None:
        """Take the scheme from what the proxy has sent, the last where it has sent several."""
        for name, value in reversed(scope["headers"]):
            if name == b"x-forwarded-proto":
                last = value.rpartition(b",")[2].strip().lower()
                scope["scheme"] = _SCHEMES.get(last, scope["scheme"])
                return
