"""What a client asks for, checked before anybody is connected to."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from vespiary._core import Hooks, upgrade_request_fault
from vespiary._redirects import Target
from vespiary.endpoint import Endpoint
from vespiary.errors import ConfigurationError, EndpointError

__all__ = ["Asked", "target_of", "without_credentials"]

_USER_INFO = re.compile(r"((?:ws|wss)://)([^/?#]*)@", re.IGNORECASE)


def without_credentials(url: str) -> tuple[str, str | None]:
    """A WebSocket's URL without user name and password, and what `Authorization` they make.

    RFC 7617 section 2, in UTF-8. What they are does not appear in any error's text.

    Raises:
        EndpointError: the user name has a colon in it, or either has a control character.
    """
    found = _USER_INFO.match(url)
    if found is None:
        return url, None
    bare = found[1] + url[found.end() :]
    user, _, password = (unquote(part) for part in found[2].partition(":"))
    if ":" in user or re.search(r"[\x00-\x1f\x7f]", user + password):
        raise EndpointError(
            f"{bare!r}: its user name or password cannot be sent (RFC 7617 section 2)",
            subject=bare,
            value=bare,
        )
    encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
    return bare, f"Basic {encoded}"


def target_of(url: str, headers: Iterable[tuple[str, str]]) -> Target:
    """Where to connect to first.

    Raises:
        ConfigurationError: the URL cannot be connected to, or there are credentials twice.
    """
    bare, authorization = without_credentials(url)
    endpoint = Endpoint.parse(bare)
    if endpoint.scheme == "http":
        raise EndpointError(
            f"{bare!r}: connect speaks tcp://, unix:// and ws://; for HTTP use an HTTP client",
            subject=bare,
            value=bare,
        )
    if endpoint.scheme != "unix" and endpoint.port == 0:
        raise EndpointError(f"{bare!r}: nobody listens on port 0", subject=bare, value=bare)
    lines = tuple((str(name), str(value)) for name, value in headers)
    if authorization is not None:
        if any(name.lower() == "authorization" for name, _ in lines):
            raise ConfigurationError(
                f"{bare!r}: credentials stand both in the URL and in the header fields",
                subject="headers",
            )
        lines = (*lines, ("Authorization", authorization))
    return Target(endpoint, lines)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for, besides where.

    Attributes:
        hooks: The handler's callables.
        native: The engine's options.
        versions: The versions of WebSocket that are spoken, the best first.
        subprotocols: Those that are offered.
        source: The local IP address to connect from.
        redirects_max: How many redirects are followed.
        handshake_seconds: How long everything up to the open connection may take.
        simultaneous_handshakes: Whether nobody waits for other handshakes with the same address.
    """

    hooks: Hooks
    native: dict[str, object]
    versions: tuple[int, ...]
    subprotocols: tuple[str, ...]
    source: str | None
    redirects_max: int
    handshake_seconds: float | None
    simultaneous_handshakes: bool

    def handshake(self, target: Target) -> tuple[str, str, list[str], list[tuple[str, str]]] | None:
        """The facts of a WebSocket handshake; None for a stream."""
        endpoint = target.endpoint
        if endpoint.scheme != "ws":
            return None
        return (
            endpoint.host_header,
            endpoint.target,
            list(self.subprotocols),
            list(target.headers),
        )

    def check(self, target: Target) -> None:
        """See whether the request can be written.

        Raises:
            ConfigurationError: a field or a subprotocol cannot be sent.
        """
        if type(self.redirects_max) is not int or self.redirects_max < 0:
            raise ConfigurationError(
                f"redirects_max is a whole number, 0 or more; got {self.redirects_max!r}",
                subject="redirects_max",
                value=self.redirects_max,
            )
        handshake = self.handshake(target)
        if handshake is None:
            return
        fault = upgrade_request_fault(*handshake)
        if fault is not None:
            raise ConfigurationError(f"{target.endpoint}: {fault}", subject="headers")
