"""The header fields that a proxy passes on, and those that it adds.

Pure functions. What concerns one connection only is removed (RFC 9110 section 7.6.1), and how a
body is framed is decided again on each side. So what a client says about the end of its request has
an effect only on the server that it is connected with.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = ["Forwarded", "Sender", "is_chunked", "request_fields", "response_fields"]

Lines = list[tuple[str, str]]
Forwarded = Literal["x-forwarded", "forwarded", "both", "none"]

_HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
_OURS = {
    "content-length",
    "expect",
    "forwarded",
    "host",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
}
"""Fields that the gateway writes itself. Those of the client would look like those of the proxy."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who has sent a request.

    Attributes:
        address: The IP address of the client; empty on a Unix socket.
        authority: The host that the request is for, and its port if it was named.
        scheme: `http` or `https`.
    """

    address: str
    authority: str
    scheme: str


def _passed_on(lines: Iterable[tuple[str, str]]) -> Lines:
    """The fields without those for this connection."""
    kept = list(lines)
    named = {
        token.strip().lower()
        for name, value in kept
        if name.lower() == "connection"
        for token in value.split(",")
    }
    removed = _HOP_BY_HOP | named
    return [(name, value) for name, value in kept if name.lower() not in removed]


def is_chunked(lines: Iterable[tuple[str, str]]) -> bool:
    """Whether the body of a message comes without a length."""
    return any(name.lower() == "transfer-encoding" for name, _ in lines)


def request_fields(
    lines: Iterable[tuple[str, str]], sender: Sender, host: str, forwarded: Forwarded
) -> Lines:
    """Return the fields of a request for the server behind.

    Args:
        lines: Those of the client's request, which was checked.
        sender: Who has sent it.
        host: The value of `Host`.
        forwarded: In which form the server learns of the client.
    """
    given = list(lines)
    # A name with an underscore could pass for another one (CGI).
    passed = [
        (name, value)
        for name, value in _passed_on(given)
        if name.lower().replace("_", "-") not in _OURS
    ]
    via = [value for name, value in given if name.lower() == "via"]
    made: Lines = [("Host", host), *passed, ("Via", ", ".join([*via, "1.1 vespiary"]))]
    length = [value for name, value in given if name.lower() == "content-length"]
    if is_chunked(given):
        made.append(("Transfer-Encoding", "chunked"))
    elif length:
        made.append(("Content-Length", length[0]))
    if forwarded in ("x-forwarded", "both"):
        if sender.address:
            made.append(("X-Forwarded-For", sender.address))
        if sender.authority:
            made.append(("X-Forwarded-Host", sender.authority))
        made.append(("X-Forwarded-Proto", sender.scheme))
    if forwarded in ("forwarded", "both"):
        made.append(("Forwarded", _forwarded(sender)))
    return made


def _forwarded(sender: Sender) -> str:
    """The value of `Forwarded` (RFC 7239 section 4)."""
    address = f"[{sender.address}]" if ":" in sender.address else sender.address
    parts = [f'for="{address or "unknown"}"']
    if sender.authority:
        authority = sender.authority.replace("\\", "\\\\").replace('"', '\\"')
        parts.append(f'host="{authority}"')
    return ";".join([*parts, f"proto={sender.scheme}"])


def response_fields(lines: Iterable[tuple[str, str]], status: int) -> Lines:
    """Return the fields of a response for the client.

    A length has no effect together with a transfer coding (RFC 9112 section 6.3), and must not be
    sent with 204 (RFC 9110 section 8.6).
    """
    given = list(lines)
    passed = _passed_on(given)
    if status != 204 and not is_chunked(given):
        return passed
    return [(name, value) for name, value in passed if name.lower() != "content-length"]
