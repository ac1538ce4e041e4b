"""Where a redirect leads, and which header fields are sent there (RFC 9110 15.4).

RFC 6455 section 4.1 allows a client to follow redirects before a WebSocket opens, but has no rules
for it. A server that redirects chooses the server that this client connects to next, so its choice
is restricted: the target must be a WebSocket, a redirect never leads from TLS to plain text,
credentials are sent only to the origin that they were given for, and the number of redirects is
limited.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urljoin

from vespiary._credentials import bare_url
from vespiary.endpoint import Endpoint
from vespiary.errors import (
    ConfigurationError,
    EndpointError,
    HandshakeRefused,
    Redirect,
    RedirectRefused,
)

__all__ = ["REDIRECTS", "Target", "client_endpoint", "next_target"]

REDIRECTS = frozenset({301, 302, 303, 307, 308})
"""The statuses that name another place for the same thing."""

_CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization"})
_WEBSOCKET_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


@dataclass(frozen=True, slots=True)
class Target:
    """What a handshake is begun with.

    Attributes:
        endpoint: The server, and the resource on it.
        headers: The request's own fields.
    """

    endpoint: Endpoint
    headers: tuple[tuple[str, str], ...] = ()

    def with_headers(self, lines: tuple[tuple[str, str], ...]) -> Target:
        """The same with further fields.

        Raises:
            ConfigurationError: the URL and the fields both have credentials.
        """
        names = {name.lower() for name, _ in self.headers}
        if "authorization" in names and any(line[0].lower() == "authorization" for line in lines):
            raise ConfigurationError(
                "headers: both an Authorization field and the URL have credentials for"
                f" {self.endpoint.bare}: give them once",
                subject="headers",
            )
        return replace(self, headers=self.headers + lines)

    @property
    def origin(self) -> tuple[str, str, int]:
        """Who may see its credentials (RFC 6454 section 4)."""
        return self.endpoint.scheme, self.endpoint.host, self.endpoint.port


def client_endpoint(url: str) -> Endpoint:
    """The endpoint of a URL that is to be connected to.

    Raises:
        EndpointError: it is not a valid URL, or has a scheme that clients do not have.
    """
    scheme = str(url).partition(":")[0].lower()
    why = ""
    if scheme in ("http", "https"):
        why = (
            "connect speaks tcp://, tls://, unix://, ws:// and wss://; for HTTP use an HTTP client"
        )
    if scheme in ("udp", "unixgram"):
        why = (
            f"connect is for streams, and datagrams have no connection: serve {scheme}:// and send"
            " with DatagramSocket.send_to()"
        )
    if why:
        bare = bare_url(url)
        raise EndpointError(f"{bare!r}: {why}", subject=bare, value=bare)
    endpoint = Endpoint.parse(url)
    if not endpoint.path and endpoint.port == 0:
        bare = bare_url(url)
        raise EndpointError(f"{bare!r}: no server listens on port 0", subject=bare, value=bare)
    return endpoint


def next_target(
    target: Target, answer: HandshakeRefused, steps: Sequence[Redirect], redirects_max: int
) -> tuple[Target, Redirect]:
    """Where an answer redirects to, and the step that leads there.

    Args:
        target: Where it came from.
        answer: The answer, whose status is one of REDIRECTS.
        steps: The redirects before it.
        redirects_max: How many are followed at most.

    Raises:
        RedirectRefused: it is not followed; the text says why.
    """
    locations = answer.headers.get_all("location")
    location = locations[0] if locations else ""
    step = Redirect(str(target.endpoint), answer.status, location)

    def refuse(why: str) -> RedirectRefused:
        return RedirectRefused.of(answer, why, (*steps, step))

    if len(locations) != 1:
        raise refuse("it has no Location field, or several (RFC 9110 section 10.2.2)")
    if len(steps) >= redirects_max:
        most = "none are followed" if redirects_max == 0 else f"at most {redirects_max} are"
        raise refuse(f"{most}: redirects_max is {redirects_max}")
    try:
        url = _websocket_url(urljoin(str(target.endpoint), location))
    except ValueError as error:
        raise refuse(f"its Location is not a valid URL: {error}") from None
    if url is None:
        raise refuse("its target is not a WebSocket URL")
    if target.endpoint.is_secure and not url.startswith("wss:"):
        raise refuse("it would redirect from TLS (wss) to an unencrypted connection (ws)")
    try:
        endpoint = client_endpoint(url)
    except EndpointError as error:
        raise refuse(str(error)) from None
    if str(endpoint) in {str(target.endpoint), *(before.url for before in steps)}:
        raise refuse("it redirects in a loop")
    following = replace(target, endpoint=endpoint)
    if following.origin == target.origin:
        return following, step
    kept = tuple(line for line in target.headers if line[0].lower() not in _CREDENTIALS)
    return replace(following, headers=kept), step


def _websocket_url(url: str) -> str | None:
    """A WebSocket's URL; one of HTTP is taken for it, as servers redirect requests of HTTP."""
    scheme, colon, rest = url.partition(":")
    known = _WEBSOCKET_SCHEMES.get(scheme.lower())
    return f"{known}{colon}{rest}" if known is not None and colon else None
