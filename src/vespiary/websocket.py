"""What is WebSocket's own about an endpoint: versions, origins, subprotocols, headers."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from vespiary._core import origin_fault, upgrade_header_fault
from vespiary._header_lines import HeaderFields, header_lines
from vespiary._suggestions import checks_names
from vespiary.compression import Compression
from vespiary.errors import ConfigurationError

__all__ = ["WebSocket", "subprotocols_fault"]

_VERSIONS = (13, 8)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@checks_names()
@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocket:
    """WebSocket options of a server's endpoint or of a client.

    You can pass any sequences; they are stored as tuples.

    Attributes:
        messages: Which kinds of messages are accepted: `"any"`, `"text"` or `"binary"`. A message
            of the other kind closes the connection with 1003 (RFC 6455 section 7.4.1). What this
            end sends is not restricted.
        versions: The supported versions of the protocol, the preferred one first: 13 (RFC 6455),
            and 8 for old clients (from 2011 and 2012, draft HyBi-09), which is less strict. A
            server uses the version that the client asks for. If it does not support this version,
            it answers 426 with a list of its versions. A client asks for the first version. If the
            server refuses it and lists another one of them, the client asks for that.
        deflate_stream: Compress everything after the handshake, with peers of version 8 that
            support the extension `deflate-stream` (HyBi-09 section 9.2.1). Each such connection
            needs about 200 KiB of memory.
        origins: The origins whose pages may connect to a server (RFC 6455 section 10.2). Pages of
            other origins are refused with 403. `None` allows all origins, and an empty sequence
            none. An origin is written as in browsers: `https://example.com`, with the port if it is
            not the default of the scheme. `https://*.example.com` matches all subdomains of
            example.com at any depth, but not example.com itself. `http://localhost:*` matches any
            port. `null` matches pages without an origin, such as local files.
        origin_required: Refuse requests without `Origin` too. By default they are accepted, because
            all browsers send `Origin`, and other programs can send any origin.
        subprotocols: The subprotocols of a server, the preferred one first. The first one that the
            client also offers is chosen, unless `on_request` chooses another one. If none matches,
            the connection opens without a subprotocol, and the client may close it. In a client:
            the subprotocols to offer.
        headers: Additional header fields of a server's 101 response, or of a client's request: a
            mapping such as `{"Server": "bees"}`, or pairs.
        compression: How messages are compressed, if the peer supports it. `None`: no compression.

    Raises:
        ConfigurationError: a field has a value that it cannot have.
    """

    messages: Literal["any", "text", "binary"] = "any"
    versions: Sequence[int] = (13,)
    deflate_stream: bool = False
    origins: Sequence[str] | None = None
    origin_required: bool = False
    subprotocols: Sequence[str] = ()
    headers: HeaderFields = ()
    compression: Compression | None = None

    def __post_init__(self) -> None:
        """Check every field."""
        if self.messages not in ("any", "text", "binary"):
            raise _wrong("messages", self.messages, 'it is "any", "text" or "binary"')
        self._check_versions()
        if self.origins is not None:
            self._keep("origins", _texts("origins", self.origins))
            for pattern in self.origins:
                fault = origin_fault(pattern)
                if fault is not None:
                    raise _wrong("origins", pattern, f"{pattern!r} {fault}")
        for name in ("deflate_stream", "origin_required"):
            value = getattr(self, name)
            if type(value) is not bool:
                raise _wrong(name, value, "it is True or False")
        if self.deflate_stream and 8 not in self.versions:
            raise _wrong("deflate_stream", True, "it belongs to version 8, which is not enabled")
        self._keep("subprotocols", _texts("subprotocols", self.subprotocols))
        fault = subprotocols_fault(self.subprotocols)
        if fault is not None:
            raise _wrong("subprotocols", self.subprotocols, fault)
        lines = header_lines(self.headers, "WebSocket.headers")
        self._keep("headers", lines)
        for name, value in lines:
            fault = upgrade_header_fault(name, value)
            if fault is not None:
                raise _wrong("headers", name, fault)
        if self.compression is not None and not isinstance(self.compression, Compression):
            raise _wrong("compression", self.compression, "it is a vespiary.Compression or None")

    def _keep(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check_versions(self) -> None:
        known = ", ".join(str(version) for version in _VERSIONS)
        given: object = self.versions
        versions = tuple(given) if isinstance(given, Iterable) else ()
        for version in versions:
            if type(version) is not int or version not in _VERSIONS:
                raise _wrong("versions", version, f"the supported versions are: {known}")
        if not versions or len(set(versions)) != len(versions):
            raise _wrong("versions", given, f"it must list some of these, each once: {known}")
        self._keep("versions", versions)


def subprotocols_fault(names: Sequence[str]) -> str | None:
    """What is wrong with the names of subprotocols (RFC 6455 section 4.1), if anything is."""
    for index, name in enumerate(names):
        if not _TOKEN.fullmatch(name):
            return f"{name!r} is not a token (RFC 6455 section 4.1)"
        if name in names[:index]:
            return f"{name!r} is named twice; name each once"
    return None


def _texts(name: str, given: object) -> tuple[str, ...]:
    # A text is a sequence of texts: one that stands alone is a mistake.
    values = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (None,)
    if not all(isinstance(value, str) for value in values):
        raise _wrong(name, given, "it is a sequence of texts, such as a list of one")
    return values


def _wrong(name: str, value: object, text: str) -> ConfigurationError:
    return ConfigurationError(
        f"WebSocket.{name} cannot be {value!r}: {text}", subject=name, value=value
    )
