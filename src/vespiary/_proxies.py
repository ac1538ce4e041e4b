"""Which HTTP proxy is used for a server: the option `proxy=`, or the environment's variables.

The client asks a proxy for a tunnel with CONNECT (RFC 9110 section 9.3.6), so the proxy need not
understand the bytes. The variables are those that curl and most programs read: `https_proxy`,
`http_proxy`, `all_proxy` and `no_proxy`, in lower or upper case. RFC 6455 section 4.1 prefers the
proxy for HTTPS, because this one usually allows CONNECT.

Two rules are those of Go's net/http, and not of curl: servers on this machine are never reached
through the environment's proxy, and `no_proxy` may contain networks (`10.0.0.0/8`).
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from vespiary._credentials import bare_url, basic_authorization
from vespiary.endpoint import Endpoint
from vespiary.errors import ConfigurationError

__all__ = ["Proxy", "environment_proxy"]

_VARIABLES = ("https_proxy", "http_proxy", "all_proxy")


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy.

    Attributes:
        host: Its name or address, without brackets.
        port: Its port.
        headers: What it is sent besides the request for a tunnel.
    """

    host: str
    port: int
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, url: object, source: str = "proxy") -> Proxy:
        """Take a proxy's URL apart; without a scheme it is `http`.

        Raises:
            ConfigurationError: the URL is not that of an HTTP proxy. The text has no password.
        """
        if not isinstance(url, str):
            raise _wrong(source, url, "it is not a URL such as http://proxy.example:3128")
        bare = bare_url(url)
        scheme = url.partition("://")[0].lower() if "://" in url else "http"
        if scheme.startswith("socks"):
            why = "SOCKS proxies are not supported: name an HTTP proxy, or proxy=None for none"
            raise _wrong(source, bare, why)
        if scheme == "https":
            raise _wrong(source, bare, "TLS to a proxy is not available yet: use http://")
        if scheme != "http":
            raise _wrong(source, bare, "its scheme is not http")
        why = "it does not name a valid host and port"
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            host, port = parts.hostname, parts.port or 80
        except ValueError:
            raise _wrong(source, bare, why) from None
        if not host or re.search(r"[\x00-\x20\x7f\ud800-\udfff]", url):
            raise _wrong(source, bare, why)
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise _wrong(source, bare, "a proxy's URL has no path")
        headers: tuple[tuple[str, str], ...] = ()
        if parts.username is not None:
            user, password = unquote(parts.username), unquote(parts.password or "")
            value = basic_authorization(user, password)
            if value is None:
                why = "its user name or password cannot be sent (RFC 7617 section 2)"
                raise _wrong(source, bare, why)
            headers = (("Proxy-Authorization", value),)
        return cls(host, port, headers)

    def __str__(self) -> str:
        """Its URL, without user name and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def tunnel(self, endpoint: Endpoint) -> tuple[str, list[tuple[str, str]]]:
        """What it is asked for: the authority, and header lines."""
        host = endpoint.host.partition("%")[0]
        host = f"[{host}]" if ":" in host else host
        return f"{host}:{endpoint.port}", list(self.headers)


def _wrong(source: str, url: object, why: str) -> ConfigurationError:
    return ConfigurationError(f"{source} cannot be {url!r}: {why}", subject=source, value=url)


def environment_proxy(
    endpoint: Endpoint, variables: Mapping[str, str] = os.environ
) -> Proxy | None:
    """The proxy that the environment names for a WebSocket server; None where it names none.

    Raises:
        ConfigurationError: it names one that cannot be used.
    """
    if endpoint.scheme not in ("ws", "wss"):
        return None
    for name in _VARIABLES:
        found = _variable(name, variables)
        if found:
            break
    else:
        return None
    if _is_local(endpoint.host) or _is_exempt(endpoint, _variable("no_proxy", variables)):
        return None
    return Proxy.parse(found, f"the environment's {name}")


def _variable(name: str, variables: Mapping[str, str]) -> str:
    """The value of a variable, in lower case first."""
    value = variables.get(name, "")
    # In a CGI script HTTP_PROXY is not trusted: a request's field `Proxy` would set it.
    if not value and not (name == "http_proxy" and "REQUEST_METHOD" in variables):
        value = variables.get(name.upper(), "")
    return value.strip()


def _is_local(host: str) -> bool:
    """Whether a host is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None


def _is_exempt(endpoint: Endpoint, exceptions: str) -> bool:
    """Whether `no_proxy` names the server: `*`, a host or its domain, an address or a network."""
    return any(
        _matches(entry.strip().lower(), endpoint)
        for entry in exceptions.split(",")
        if entry.strip()
    )


def _matches(entry: str, endpoint: Endpoint) -> bool:
    if entry == "*":
        return True
    address = _address(endpoint.host)
    try:
        network = ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass
    else:
        return address is not None and address in network
    name, colon, port = entry.rpartition(":")
    if colon and port.isdigit():
        if int(port) != endpoint.port:
            return False
        entry = name
    if address is not None:
        return _address(entry) == address
    domain = entry.removeprefix("*").removeprefix(".")
    return endpoint.host == domain or endpoint.host.endswith(f".{domain}")
