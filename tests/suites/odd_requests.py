"""Requests that are odd, ambiguous or wrong: odd_requests.toml, with our server's answer to each.

Each is followed by an ordinary request on the same connection, which shows where the server has
found the end of the odd one.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["AFTER", "OddRequest", "odd_requests"]

AFTER = b"GET /after HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
"""The ordinary request that follows."""


@dataclass(frozen=True)
class OddRequest:
    """A request.

    Attributes:
        name: What is odd.
        data: Its bytes.
        outcome: What our server does: the status of each answer, and the first word of the end.
    """

    name: str
    data: bytes
    outcome: str


def odd_requests() -> list[OddRequest]:
    """The requests of the file."""
    with Path(__file__).with_suffix(".toml").open("rb") as file:
        groups: list[dict[str, Any]] = tomllib.load(file)["group"]
    found = [
        OddRequest(name, _bytes(entry), group["outcome"])
        for group in groups
        for name, entry in group["requests"].items()
    ]
    assert len({one.name for one in found}) == len(found), "two requests have the same name"
    return found


def _bytes(entry: dict[str, str]) -> bytes:
    """The bytes: of a whole request, or of an ordinary one with other parts."""
    if "whole" in entry:
        return entry["whole"].encode("latin-1")
    line = entry.get("line", "POST /odd HTTP/1.1")
    more = "Transfer-Encoding: chunked\r\n" if "chunked" in entry else entry.get("and", "")
    fields = entry.get("fields", "Host: a\r\n" + more)
    body = entry.get("chunked", entry.get("body", ""))
    return f"{line}\r\n{fields}\r\n{body}".encode("latin-1")
