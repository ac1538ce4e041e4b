"""Where a server listens or a client connects to: the URL of an endpoint, checked."""

import dataclasses
import difflib
import ipaddress
import os
import re
from dataclasses import dataclass
from typing import Literal, cast
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

from vespiary._credentials import bare_url
from vespiary.errors import EndpointError
from vespiary.trace import requires

__all__ = ["Endpoint", "Scheme", "is_host_name"]

Scheme = Literal[
    "tcp",
    "tls",
    "unix",
    "udp",
    "unixgram",
    "ws",
    "wss",
    "http",
    "https",
    "ws+unix",
    "http+unix",
]
"""The schemes that can be served; clients connect to those of streams."""

_DEFAULT_PORTS: dict[str, int | None] = {
    "tcp": None,
    "tls": None,
    "udp": None,
    "ws": 80,
    "wss": 443,
    "http": 80,
    "https": 443,
}
_UNIX_PATH_BYTES_MAX = 107
_TARGET_CHARACTERS = "/?%:@!$&'()*+,;=~-._"
"""What path and query hold besides letters and digits (RFC 3986 sections 3.3 and 3.4)."""
_PATH_CHARACTERS = "/!$&'()*+,;=@~-._"
"""What the path of a Unix socket holds unencoded in a URL; a colon ends it."""
_EXAMPLES = {
    "tcp": "tcp://127.0.0.1:5050",
    "tls": "tls://127.0.0.1:5051",
    "ws": "ws://127.0.0.1:9001/",
    "wss": "wss://chat.example.com/",
    "http": "http://127.0.0.1:8080/",
    "https": "https://www.example.com/",
    "unix": "unix:///run/echo.sock",
    "udp": "udp://127.0.0.1:9000",
    "unixgram": "unixgram:///run/log.sock",
    "ws+unix": "ws+unix:///run/chat.sock:/rooms",
    "http+unix": "http+unix:///run/web.sock:/",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint.

    Attributes:
        scheme: `tcp`, `unix`, `ws`, `http`, `ws+unix` or `http+unix`; with TLS `tls`, `wss` or
            `https`; for datagrams `udp` or `unixgram`.
        host: A name or an address without brackets; empty for a Unix socket.
        port: 0 to 65535, where 0 lets the kernel choose when listening; 0 for a Unix socket.
        path: The path of a Unix socket; empty otherwise.
        target: Path and query of a request, `/` at least (RFC 9112 section 3.2.1); empty where no
            request is made.
    """

    scheme: Scheme
    host: str = ""
    port: int = 0
    path: str = ""
    target: str = ""

    @classmethod
    def parse(cls, url: str) -> "Endpoint":
        """Take a URL apart.

        Raises:
            EndpointError: says what is wrong with the URL and how one looks.
        """
        given: object = url
        if not isinstance(given, str):
            got = "bytes: decode them" if isinstance(given, bytes) else repr(given)
            raise EndpointError(f"an endpoint is a URL such as {_EXAMPLES['ws']}; got {got}")
        scheme = _scheme(url)
        is_broken = re.search(r"[\x00-\x20\x7f]", url) is not None
        if requires("rfc6455/4.1/3", "rfc6455/4.1/4", is_broken):
            raise _wrong(url, "it contains a space or a control character", scheme)
        if scheme.endswith(("unix", "unixgram")):
            return _unix(url, scheme)
        return _internet(url, scheme)

    def __str__(self) -> str:
        """The URL, encoded so that `parse` gives the same endpoint."""
        if self.is_unix:
            path = quote(os.fsencode(self.path), safe=_PATH_CHARACTERS)
            return (
                f"{self.scheme}://{path}:{self.target}"
                if self.target
                else f"{self.scheme}://{path}"
            )
        # RFC 6874 section 2: the percent sign in front of a zone is encoded.
        authority = self.authority.replace("%", "%25", 1)
        return f"{self.scheme}://{authority}{self.target}"

    @property
    def bare(self) -> str:
        """The URL without its query, which can be a secret, as errors and logs quote it."""
        return str(dataclasses.replace(self, target=self.target.partition("?")[0]))

    @property
    def authority(self) -> str:
        """Host and port, IPv6 addresses in brackets (RFC 3986 3.2); the path of a Unix socket."""
        if self.is_unix:
            return self.path
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_unix(self) -> bool:
        """Whether it is a Unix socket, which has a path instead of host and port."""
        return self.scheme.endswith(("unix", "unixgram"))

    @property
    def is_datagram(self) -> bool:
        """Whether it carries datagrams, and not a stream."""
        return self.scheme in ("udp", "unixgram")

    @property
    def is_websocket(self) -> bool:
        """Whether it speaks WebSocket."""
        return self.scheme in ("ws", "wss", "ws+unix")

    @property
    def is_http(self) -> bool:
        """Whether it speaks HTTP without WebSocket."""
        return self.scheme in ("http", "https", "http+unix")

    @property
    def has_http(self) -> bool:
        """Whether a connection begins with an HTTP request."""
        return self.is_websocket or self.is_http

    @property
    def is_secure(self) -> bool:
        """Whether its bytes go through TLS."""
        return self.scheme in ("tls", "wss", "https")

    @property
    def host_header(self) -> str:
        """The value of `Host`: without the scheme's own port, and without an address's zone.

        RFC 9110 section 7.2; a zone means something on this machine only (RFC 6874 section 1). A
        Unix socket is on this machine: `localhost`.
        """
        if self.is_unix:
            return "localhost"
        host, port = self.host.partition("%")[0], self.port
        host = f"[{host}]" if ":" in host else host
        return host if port == _DEFAULT_PORTS.get(self.scheme) else f"{host}:{port}"

    def with_port(self, port: int) -> "Endpoint":
        """The same with another port: what the kernel chose for 0."""
        return dataclasses.replace(self, port=port)


def _wrong(url: str, what: str, scheme: str = "ws") -> EndpointError:
    example, bare = _EXAMPLES[scheme], bare_url(url)
    return EndpointError(
        f"{bare!r} is not an endpoint: {what}; one looks like {example}", subject=bare, value=bare
    )


def _scheme(url: str) -> Scheme:
    """The URL's scheme, if there is one that can be served."""
    match = re.match(r"([a-zA-Z][a-zA-Z0-9+.-]*):", url)
    name = match[1] if match and "://" in url else ""
    requires("rfc6455/3/h1")
    name = name.lower()
    if name in _EXAMPLES:
        return cast("Scheme", name)
    if not name and match and match[1].lower() in _EXAMPLES:
        raise _wrong(url, "two slashes must follow the scheme and its colon", match[1].lower())
    if not name:
        raise _wrong(url, f"it has no scheme ({', '.join(_EXAMPLES)})")
    near = difflib.get_close_matches(name, list(_EXAMPLES), n=1, cutoff=0.5)
    advice = f"did you mean {near[0]}://?" if near else f"there are {', '.join(_EXAMPLES)}"
    raise _wrong(url, f"the scheme {name!r} is not known, {advice}")


def _unix(url: str, scheme: Scheme) -> Endpoint:
    """An endpoint on a Unix socket (unix(7)), behind whose path a colon and a target may stand."""
    rest = url.split("://", 1)[1]
    if not rest.startswith("/"):
        text = "the path of a Unix socket is absolute, so three slashes follow the scheme"
        raise _wrong(url, text, scheme)
    target = ""
    if scheme not in ("unix", "unixgram"):
        rest, _, target = rest.partition(":")
        if target and not target.startswith("/"):
            raise _wrong(url, "the path after the colon must begin with a slash", scheme)
        if "#" in target:
            raise _wrong(url, "it has a fragment (#...), which is never sent: remove it", scheme)
        target = _target(*target.partition("?")[::2])
    path = os.fsdecode(unquote_to_bytes(rest))
    if "\0" in path:
        raise _wrong(url, "its path contains a zero byte", scheme)
    if path.endswith("/"):
        raise _wrong(url, "it is the path of a folder, not of a socket", scheme)
    if len(os.fsencode(path)) > _UNIX_PATH_BYTES_MAX:
        text = f"its path is longer than the kernel's {_UNIX_PATH_BYTES_MAX} bytes"
        raise _wrong(url, text, scheme)
    return Endpoint(scheme, path=path, target=target)


def _internet(url: str, scheme: Scheme) -> Endpoint:
    """An endpoint with a host and a port."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _wrong(url, _parse_error(url, error), scheme) from None
    if parts.username is not None:
        raise _wrong(url, "it has a user name, which is not used here: remove it", scheme)
    if requires("rfc6455/3/2", "rfc6455/3/3", "#" in url):
        raise _wrong(url, "it has a fragment (#...), which is never sent: remove it", scheme)
    host = _host(url, parts.netloc, parts.hostname or "", scheme)
    if requires("rfc6455/3/1", port is None):
        port = _DEFAULT_PORTS[scheme]
    if port is None:
        raise _wrong(url, "it has no port", scheme)
    target = _target(parts.path, parts.query)
    if scheme in ("tcp", "tls", "udp"):
        if target != "/":
            raise _wrong(url, f"a {scheme.upper()} endpoint has no path", scheme)
        target = ""
    return Endpoint(scheme, host, port, target=target)


def _target(path: str, query: str) -> str:
    """Path and query as a request has them: a path at least, and what no URI may hold as %XX.

    RFC 6455 sections 3 and 11.1.1.
    """
    if requires("rfc6455/3/h2", not path):
        path = "/"
    target = f"{path}?{query}" if query else path
    encoded = quote(target, safe=_TARGET_CHARACTERS)
    return (
        encoded if requires("rfc6455/11.1.1/2", "rfc6455/11.1.2/2", encoded != target) else target
    )


def _parse_error(url: str, error: ValueError) -> str:
    """What was wrong, where Python's own parser found it."""
    authority = bare_url(url).split("/")[2]
    if authority.count(":") > 1 and not ("[" in authority and "]" in authority):
        return "write an IPv6 address in brackets, as in [::1]"
    if "[" in authority and "ort" not in str(error):
        return "the text in its brackets is not an IPv6 address"
    return "its port is not a number from 0 to 65535"


def _host(url: str, netloc: str, host: str, scheme: Scheme) -> str:
    """The host's name or address, checked; a name outside ASCII in its IDNA form."""
    if not host:
        raise _wrong(url, "it has no host (use 0.0.0.0 or [::] for all interfaces)", scheme)
    if "[" in netloc:
        address, _, zone = host.partition("%")
        try:
            ipaddress.IPv6Address(address)
        except ValueError:
            raise _wrong(url, "the text in its brackets is not an IPv6 address", scheme) from None
        zone = unquote(zone.removeprefix("25"))
        return f"{address}%{zone}" if zone else address
    if netloc.count(":") > 1:
        raise _wrong(url, "write an IPv6 address in brackets, as in [::1]", scheme)
    try:
        if requires("rfc6455/11.1.1/1", "rfc6455/11.1.2/1", not host.isascii()):
            host = host.encode("idna").decode()
    except UnicodeError:
        raise _wrong(url, f"{host!r} cannot be a host's name", scheme) from None
    if re.fullmatch(r"[\d.]+", host, re.ASCII):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise _wrong(url, f"{host} is not an IPv4 address", scheme) from None
    if requires("rfc6455/4.1/3", "rfc6455/4.1/4", not is_host_name(host)):
        raise _wrong(url, f"{host!r} cannot be a host's name", scheme)
    return host


def is_host_name(text: str) -> bool:
    """Whether a text, in ASCII and lower case, can be the name of a host."""
    is_well_formed = re.fullmatch(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?", text) is not None
    return is_well_formed and len(text) <= 253
