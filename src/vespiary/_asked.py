"""What a client asks for, checked before anybody is connected to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from vespiary._core import Hooks, upgrade_request_fault
from vespiary._credentials import bare_url, basic_authorization
from vespiary._option_checks import wrong_option
from vespiary._proxies import Proxy, environment_proxy
from vespiary._redirects import Target, client_endpoint
from vespiary.endpoint import Endpoint
from vespiary.errors import ConfigurationError, EndpointError
from vespiary.tls import ClientTLS, default_client_tls
from vespiary.trace import requires

__all__ = ["Asked", "target_of", "without_credentials"]

_USER_INFO = re.compile(r"((?:ws|wss)://)([^/?#]*)@", re.IGNORECASE)


def without_credentials(url: str) -> tuple[str, str | None]:
    """A WebSocket's URL without user name and password, and what `Authorization` they make.

    RFC 7617 section 2, in UTF-8. What they are does not appear in any error's text.

    Raises:
        EndpointError: the user name has a colon in it, or either has a control character.
    """
    found = _USER_INFO.match(str(url))
    if found is None:
        return url, None
    bare = found[1] + url[found.end() :]
    user, _, password = (unquote(part) for part in found[2].partition(":"))
    authorization = basic_authorization(user, password)
    if authorization is None:
        shown = bare_url(bare)
        raise EndpointError(
            f"{shown!r}: its user name or password cannot be sent (RFC 7617 section 2)",
            subject=shown,
            value=shown,
        )
    return bare, authorization


def target_of(url: str, headers: Iterable[tuple[str, str]]) -> Target:
    """Where to connect to, with header fields.

    Raises:
        ConfigurationError: the URL cannot be connected to, or there are credentials twice.
    """
    bare, authorization = without_credentials(url)
    endpoint = client_endpoint(bare)
    target = Target(endpoint, tuple(headers))
    if authorization is not None:
        target = target.with_headers((("Authorization", authorization),))
    return target


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for, besides where.

    Attributes:
        hooks: The handler's callables.
        native: The engine's options.
        versions: The versions of WebSocket that are used, the best first.
        subprotocols: Those that are offered.
        source: The local IP address to connect from.
        proxy: A proxy's URL, True for the environment's, None for none.
        tls: The TLS for a server that has it; None for the default.
        redirects_max: How many redirects are followed.
        handshake_seconds: How long everything up to the open connection may take.
        handshakes_per_address_max: How many handshakes with one address may run at a time.
    """

    hooks: Hooks
    native: dict[str, object]
    versions: tuple[int, ...]
    subprotocols: tuple[str, ...]
    source: str | None
    proxy: str | Literal[True] | None
    tls: ClientTLS | None
    redirects_max: int
    handshake_seconds: float | None
    handshakes_per_address_max: int | None

    def handshake(self, target: Target) -> tuple[str, str, list[str], list[tuple[str, str]]] | None:
        """The facts of a WebSocket handshake; None for a stream."""
        endpoint = target.endpoint
        if not endpoint.is_websocket:
            return None
        return (
            endpoint.host_header,
            endpoint.target,
            list(self.subprotocols),
            list(target.headers),
        )

    def proxy_to(self, endpoint: Endpoint) -> Proxy | None:
        """The proxy through which a server is reached.

        Raises:
            ConfigurationError: it cannot be used.
        """
        if self.proxy is True:
            return environment_proxy(endpoint)
        if self.proxy is None:
            return None
        proxy = Proxy.parse(self.proxy)
        if not endpoint.host:
            raise ConfigurationError(
                f"{endpoint.bare}: a Unix socket cannot be reached through a proxy: remove proxy=",
                subject="proxy",
            )
        return proxy

    def native_tls(self, endpoint: Endpoint) -> dict[str, object]:
        """The engine's options for a server with TLS; none for one without.

        Raises:
            ConfigurationError: this machine has no trusted authorities, and none are named.
        """
        if requires("rfc6455/4.1/13", "rfc6455/4.1/15", "rfc6455/10.6/1", endpoint.is_secure):
            tls = self.tls or default_client_tls()
            name = tls.server_name or endpoint.host.partition("%")[0]
            return {"tls": tls.native(is_http=endpoint.has_http), "tls_name": name}
        return {}

    def check(self, target: Target) -> None:
        """See whether the request can be written.

        Raises:
            ConfigurationError: a field or a subprotocol cannot be sent, or TLS does not fit.
        """
        if self.tls is not None and not isinstance(self.tls, ClientTLS):
            raise wrong_option("tls", self.tls, "a ClientTLS or None")
        if self.tls is not None and not target.endpoint.is_secure and self.redirects_max == 0:
            raise ConfigurationError(
                f"{target.endpoint.bare} does not use TLS, so tls= would have no effect: write"
                " wss:// or tls://",
                subject="tls",
                value=self.tls,
            )
        self.native_tls(target.endpoint)
        self.proxy_to(target.endpoint)
        handshake = self.handshake(target)
        if handshake is None:
            return
        fault = upgrade_request_fault(*handshake)
        if fault is not None:
            raise ConfigurationError(f"headers: {fault}", subject="headers")
