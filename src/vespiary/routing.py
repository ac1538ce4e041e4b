"""Which endpoint of an address serves a request: by its path, host and kind.

The path of a server's URL is a pattern. A segment in braces is a parameter: `{room}` matches one
segment that is not empty. `{rest:path}` matches the rest of the path, which may be empty and may
contain slashes. Everything else is literal. The rules:

* A path is split into segments before it is percent-decoded. So `%2F` is not a separator, and
  `/a%20b` is the same path no matter how it is written. Paths are case-sensitive.
* A path and the same path with a slash at the end are different paths.
* A path with a segment `.` or `..`, encoded or not, matches no pattern; clients resolve these
  before they send a request (RFC 3986 section 6.2.2.3). Paths that are not UTF-8, or that contain a
  `%` without two hexadecimal digits after it, match no pattern either. Paths with a zero byte
  (`%00`) are refused with 400 before.
* The most specific pattern wins, segment by segment: a literal, then a parameter, then `:path`. The
  order in which endpoints were added does not matter.
* An endpoint without a path (or with `/` alone) serves every path that no other endpoint serves.
* `host=` is compared before the path: `example.com`, then `*.example.com`, then endpoints without
  it. Letter case, a dot at the end, the port, and the notation of an IPv6 address do not matter.
* A request for a WebSocket is served by a `ws://` endpoint, and any other request by an `http://`
  endpoint. If no endpoint of this kind matches, one of the other kind serves it.

Two endpoints whose patterns match the same paths, for the same host and scheme, conflict.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, TypeVar
from urllib.parse import unquote

from vespiary.errors import ConfigurationError, EndpointError

__all__ = ["HostPattern", "PathPattern", "Route", "Router", "normal_host"]

T = TypeVar("T")

_NOTHING: Mapping[str, str] = MappingProxyType({})
_PARAMETER = re.compile(r"\{([^{}:]*)(:[^{}]*)?\}")
_LABEL = r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?"
_NAME = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")
_IPV6 = re.compile(r"\[([0-9A-Fa-f:.]+)\]")
_MALFORMED = re.compile("%(?![0-9A-Fa-f]{2})")

_LITERAL, _SEGMENT, _REST = range(3)


@dataclass(frozen=True, slots=True)
class PathPattern:
    """The path of a server's URL.

    Attributes:
        text: As it was written; `/` serves every path.
        parts: Each segment: what kind it is, and its literal (decoded) or its parameter's name.
    """

    text: str
    parts: tuple[tuple[int, str], ...]

    @classmethod
    def parse(cls, path: str, url: str) -> PathPattern:
        """Take the path of a URL apart. Braces may be encoded, as `Endpoint` encodes them.

        Raises:
            EndpointError: it can never match, or a parameter is not written as one.
        """
        if path in ("", "/"):
            return cls("/", ((_REST, ""),))
        path = path.replace("%7B", "{").replace("%7D", "}")
        segments = path.removeprefix("/").split("/")
        parts = tuple(_part(segment, url) for segment in segments)
        for number, (kind, _) in enumerate(parts):
            if kind == _REST and number != len(parts) - 1:
                raise _wrong(url, f"nothing can follow {segments[number]} in its path")
        names = [name for kind, name in parts if kind != _LITERAL]
        if len(set(names)) != len(names):
            raise _wrong(url, "two parameters of its path have the same name")
        if any(kind == _LITERAL and name in (".", "..") for kind, name in parts):
            raise _wrong(url, "a path with a segment . or .. never matches any request")
        return cls(path, parts)

    @property
    def shape(self) -> tuple[tuple[int, str], ...]:
        """What two patterns that match the same paths have in common; the smaller wins."""
        return tuple((kind, name if kind == _LITERAL else "") for kind, name in self.parts)

    @property
    def has_parameters(self) -> bool:
        """Whether a segment of it has a name in braces."""
        return any(name for kind, name in self.parts if kind != _LITERAL)

    @property
    def segments_before_rest(self) -> int:
        """How many segments stand before a `{rest:path}`; 0 without one."""
        is_named = self.has_parameters and self.parts[-1][0] == _REST
        return len(self.parts) - 1 if is_named else 0

    @property
    def example(self) -> str:
        """A path that it matches: the value of each parameter is the parameter's name."""
        return _PARAMETER.sub(r"\1", self.text)

    @property
    def serves_everything(self) -> bool:
        """Whether it is the pattern of an endpoint without a path."""
        return self.parts == ((_REST, ""),)

    def match(self, path: str) -> Mapping[str, str] | None:
        """Return the parameters of a request's path as sent; None when it does not match."""
        return self.match_segments(_segments(path))

    def match_segments(self, segments: list[str] | None) -> Mapping[str, str] | None:
        """Do the same for a path that was split; None is one that matches no pattern."""
        if self.serves_everything:
            return _NOTHING
        if segments is None or len(segments) < len(self.parts):
            return None
        if len(segments) > len(self.parts) and self.parts[-1][0] != _REST:
            return None
        found: dict[str, str] = {}
        for number, (kind, name) in enumerate(self.parts):
            if kind == _LITERAL and segments[number] != name:
                return None
            if kind == _SEGMENT and not segments[number]:
                return None
            if kind != _LITERAL:
                rest = segments[number:] if kind == _REST else segments[number : number + 1]
                found[name] = "/".join(rest)
        return MappingProxyType(found)


def _segments(path: str) -> list[str] | None:
    """The decoded segments of a request's path; None when the path matches no pattern."""
    if not path.startswith("/") or _MALFORMED.search(path):
        return None
    try:
        segments = [unquote(part, errors="strict") for part in path[1:].split("/")]
    except UnicodeDecodeError:
        return None
    # Both are dangerous in a file's name: a zero byte ends it in C, and an encoded slash may hide a
    # dot segment.
    if any("\0" in segment for segment in segments):
        return None
    if any(part in (".", "..") for segment in segments for part in segment.split("/")):
        return None
    return segments


def _part(segment: str, url: str) -> tuple[int, str]:
    match = _PARAMETER.fullmatch(segment)
    if match is None:
        if "{" in segment or "}" in segment:
            raise _wrong(url, f"{segment} must be a complete segment such as {{name}}")
        return (_LITERAL, _literal(segment, url))
    name, converter = match[1], match[2]
    if not name.isidentifier():
        raise _wrong(url, f"a parameter's name is an identifier, and {name!r} is not one")
    if converter is None:
        return (_SEGMENT, name)
    if converter == ":path":
        return (_REST, name)
    raise _wrong(url, f"a parameter is written {{{name}}} or {{{name}:path}}; got {segment}")


def _literal(segment: str, url: str) -> str:
    """The decoded form of a segment of a pattern."""
    if _MALFORMED.search(segment):
        raise _wrong(url, f"{segment} has a % without two hexadecimal digits, and never matches")
    try:
        decoded = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise _wrong(url, f"{segment} is not UTF-8, and never matches") from None
    if "\0" in decoded:
        raise _wrong(url, f"{segment} has a zero byte, and never matches")
    return decoded


def _wrong(url: str, what: str) -> EndpointError:
    return EndpointError(f"{url!r} cannot be served: {what}", subject=url, value=url)


@dataclass(frozen=True, slots=True)
class HostPattern:
    """The host names that an endpoint serves: one, all below one, or every host (empty)."""

    text: str = ""

    @classmethod
    def parse(cls, host: object) -> HostPattern:
        """Check the option `host=`.

        Raises:
            ConfigurationError: it is not a host name, or has a port.
        """
        if host is None:
            return cls()
        normal = _normal_name(host) if isinstance(host, str) else ""
        if not _IPV6.fullmatch(normal) and not _NAME.fullmatch(normal):
            raise ConfigurationError(
                "host= is a name without a port, such as example.com, *.example.com or [::1];"
                f" got {host!r}",
                subject="host",
                value=host,
            )
        return cls(normal)

    @property
    def rank(self) -> tuple[int, int]:
        """The smaller wins: a name, then the longest `*.` pattern, then every host."""
        if not self.text:
            return (2, 0)
        return (1, -len(self.text)) if self.text.startswith("*.") else (0, 0)

    def matches(self, host: str) -> bool:
        """Return whether a request for this host, in its normal form, is served."""
        if not self.text:
            return True
        if not self.text.startswith("*."):
            return host == self.text
        below = host.removesuffix(self.text[1:])
        return below != host and _NAME.fullmatch(below) is not None


def normal_host(authority: str | None) -> str:
    """Return the host of a request's `Host` in its normal form, without the port.

    See RFC 3986 sections 3.2.2 and 6.2.2. What is not a host is empty.
    """
    host = re.sub(r":\d*$", "", authority or "")
    return _normal_name(unquote(host) if "%" in host else host)


def _normal_name(host: str) -> str:
    """Return a host in lower case, without a final dot, or as an IPv6 address in brackets.

    What begins with a bracket and is not such an address is empty.
    """
    if not host.startswith("["):
        return host.lower().removesuffix(".")
    literal = _IPV6.fullmatch(host)
    if literal is None:
        return ""
    try:
        return f"[{ipaddress.IPv6Address(literal[1]).compressed}]"
    except ValueError:
        return ""


@dataclass(frozen=True, slots=True)
class Route:
    """What an endpoint serves of its address."""

    scheme: str
    path: PathPattern
    host: HostPattern = HostPattern()

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for two routes that conflict."""
        return (self.scheme, self.host.text, self.path.shape)

    @property
    def serves_everything(self) -> bool:
        """Whether it serves every request."""
        return self.path.serves_everything and not self.host.text

    def __str__(self) -> str:
        host = f" for the host {self.host.text}" if self.host.text else ""
        return f"{self.scheme}://...{self.path.text}{host}"


class Router(Generic[T]):
    """The routes of one address, and what each of them leads to."""

    def __init__(self) -> None:
        self._routes: list[tuple[Route, T]] = []

    def __len__(self) -> int:
        return len(self._routes)

    def has(self, route: Route) -> bool:
        """Return whether a route would conflict with one that is there."""
        return any(route.key == other.key for other, _ in self._routes)

    def add(self, route: Route, target: T) -> None:
        """Add a route; those that are more specific stay in front."""
        self._routes.append((route, target))
        self._routes.sort(key=lambda item: (item[0].host.rank, item[0].path.shape))

    def remove(self, target: T) -> None:
        """Remove the routes that lead to a target."""
        self._routes = [item for item in self._routes if item[1] is not target]

    def find(self, target: str, authority: str | None, is_upgrade: bool) -> T | None:
        """Return what serves a request; None when nothing does.

        Args:
            target: Path and query as sent.
            authority: The request's `Host`.
            is_upgrade: Whether it asks for a WebSocket.
        """
        segments = _segments(target.partition("?")[0])
        host = normal_host(authority)
        first, second = ("ws", "http") if is_upgrade else ("http", "ws")
        for scheme in (first, second):
            for route, found in self._matching(scheme, host):
                if route.path.match_segments(segments) is not None:
                    return found
        return None

    def _matching(self, scheme: str, host: str) -> Iterable[tuple[Route, T]]:
        return (
            item for item in self._routes if item[0].scheme == scheme and item[0].host.matches(host)
        )
