"""What a case of the handshake is: bytes, what may come back, and where that is written."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["ACCEPT", "KEY", "Case", "changed", "page", "upgrade"]

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The key of RFC 6455 section 1.3, and what answers it."""
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

_UPGRADE = f"""\
GET /chat HTTP/1.1
Host: server.example.com
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Key: {KEY}
Sec-WebSocket-Version: 13
"""
_PAGE = """\
GET /page HTTP/1.1
Host: server.example.com
"""

After = Literal["open", "kept", "closed"]
"""What follows the last answer: a WebSocket, another HTTP request, or the connection's end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One exchange.

    Attributes:
        name: What is special about it, as a phrase.
        sent: The bytes.
        answers: The statuses of the answers, in order, as this project gives them.
        allowed: For the last answer, what else the specifications allow a server to answer.
        after: What follows the last answer. Closing is allowed everywhere to a server that says so.
        headers: Fields of the last answer, by lower-case name, and a pattern for the whole value.
        absent: Fields that the last answer must not have.
        heads: The answers are to HEAD: without a body.
        cites: Sections, as `rfc9112/3.2`, and requirements, as `rfc9112/3.2/4`.
        feature: What a server must have for the case to mean anything: `origins`.
    """

    name: str
    sent: bytes
    answers: tuple[int, ...]
    allowed: frozenset[int] = frozenset()
    after: After = "closed"
    headers: Mapping[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    heads: bool = False
    cites: tuple[str, ...] = ()
    feature: str = ""

    def __post_init__(self) -> None:
        """A case without a source is an opinion."""
        assert self.cites, self.name
        assert all(re.fullmatch(r"rfc\d+/[\d.]+(/h?\d+)?", cite) for cite in self.cites), self.cites


def _wire(lines: str) -> bytes:
    return lines.replace("\n", "\r\n").encode("latin-1") + b"\r\n"


def upgrade(*more: str) -> bytes:
    """A right opening handshake, with more lines."""
    return _wire(_UPGRADE + "".join(f"{line}\n" for line in more))


def page(*more: str, first: str = "GET /page HTTP/1.1") -> bytes:
    """A right plain request, with more lines."""
    return _wire(_PAGE.replace("GET /page HTTP/1.1", first) + "".join(f"{it}\n" for it in more))


def changed(old: str, new: str, request: bytes | None = None) -> bytes:
    """A right opening handshake (or the request given) with one of its texts replaced."""
    whole = request if request is not None else upgrade()
    before, after = (text.replace("\n", "\r\n").encode("latin-1") for text in (old, new))
    assert whole.count(before) == 1, (old, whole)
    return whole.replace(before, after)
