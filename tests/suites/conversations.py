"""Ordinary requests, made from a seed: one to four on a connection, in segments of any size."""

import json
import random
from dataclasses import dataclass, field

__all__ = ["Conversation", "conversation"]

METHODS = (
    "GET",
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "PROPFIND",
    "M-SEARCH",
)
NAMES = (
    "Accept",
    "Cookie",
    "X-Bees",
    "x-bees",
    "Authorization",
    "Range",
    "ETag",
    "X_Under",
    "!#$%&'*+.^_`|~",
)
VALUES = (
    "",
    "1",
    "a, b",
    'W/"x"',
    "a=1; b=2",
    "\xe4",
    "  spaces  ",
    "\ta\tb\t",
    "x" * 300,
    "\x80\xff",
)
SEGMENTS = (
    "a", "users", "caf%C3%A9", "%2F", "%2f", "a%20b", "..", ".", "a;b=c", "~x", "%e4", "a+b", "",
    "%25", "%3F", "!$&'()*+,;=:@", "%FF%fe", "%7E", "%2525",
)  # fmt: skip
QUERIES = ("", "", "?", "?x=1", "?x=%20&y=&x=2", "?%C3%A9", "?a?b", "?x=1+2", "?/../", "?;=&")
STATUSES = (200, 200, 200, 201, 202, 204, 206, 302, 304, 404, 422, 500, 503)
SIZES = (0, 1, 2, 100, 5000, 70_000)


@dataclass
class Conversation:
    """What is sent on one connection.

    Attributes:
        segments: The bytes, in parts that are sent separately.
        methods: Of each request.
        features: What the requests have, for the list of differences.
    """

    segments: list[bytes]
    methods: list[str]
    features: set[str] = field(default_factory=set)


def conversation(seed: int) -> Conversation:
    """Make the conversation of a seed; the last request ends the connection."""
    draw = random.Random(seed)
    features: set[str] = set()
    methods, data = [], b""
    count = draw.choice((1, 1, 2, 3, 4))
    for number in range(count):
        method, request = _request(draw, features, is_last=number == count - 1)
        methods.append(method)
        data += request
    if count > 1:
        features.add("pipelined")
    return Conversation(_cut(draw, data), methods, features)


def _request(draw: random.Random, features: set[str], *, is_last: bool) -> tuple[str, bytes]:
    method = draw.choice(METHODS)
    is_old = draw.random() < 0.1
    plan = {
        "status": draw.choice(STATUSES),
        "pieces": draw.randint(1, 4),
        "has_length": draw.random() < 0.5,
        "hints": draw.random() < 0.1,
        "trailers": draw.random() < 0.2,
    }
    lines = [f"{method} {_target(draw, features)} HTTP/{'1.0' if is_old else '1.1'}"]
    lines.append(draw.choice(("Host: example.com", "host:example.com:80", "HOST:  [::1]:8000 ")))
    lines += [f"{draw.choice(NAMES)}: {draw.choice(VALUES)}" for _ in range(draw.randint(0, 6))]
    lines.append(f"X-Plan: {json.dumps(plan)}")
    if is_last:
        lines.append(draw.choice(("Connection: close", "connection: x, Close")))
    elif is_old:
        lines.append("Connection: Keep-Alive")
    content, added = _body(draw, method, features, is_old=is_old)
    lines += added
    features |= {name for name in ("hints", "trailers") if plan[name]}
    features |= {method, str(plan["status"]), "HTTP/1.0" if is_old else "HTTP/1.1"}
    if is_old and not is_last:
        features.add("HTTP/1.0, pipelined")
    if any(line.endswith((" ", "\t")) and line.strip(" \t")[-1] != ":" for line in lines):
        features.add("space behind a value")
    return method, ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + content


def _target(draw: random.Random, features: set[str]) -> str:
    path = "/" + "/".join(draw.choices(SEGMENTS, k=draw.randint(0, 4))) + draw.choice(QUERIES)
    if path.startswith("//"):
        features.add("//")
    if draw.random() < 0.05:
        features.add("absolute form")
        return f"http://example.com{path}"
    return path


def _body(
    draw: random.Random, method: str, features: set[str], *, is_old: bool
) -> tuple[bytes, list[str]]:
    """The bytes of a body, and the fields for it."""
    kinds = ("none", "length", "length" if is_old else "chunked")
    kind = draw.choice(kinds) if method not in ("GET", "HEAD") else "none"
    if kind == "none":
        return b"", []
    body = draw.randbytes(draw.choice(SIZES))
    added = []
    if not is_old and draw.random() < 0.15:
        # The body follows at once, as it may.
        features.add("Expect")
        added.append("Expect: 100-continue")
    features.add(f"body by {kind}")
    if kind == "length":
        return body, [*added, f"Content-Length: {len(body)}"]
    added.append(draw.choice(("Transfer-Encoding: chunked", "transfer-encoding: Chunked")))
    step = draw.choice((1, 7, 9000)) if len(body) < 1000 else 9000
    extension = draw.choice(("", "", ";a", ';a="b;c"', ";a=b;c"))
    content = b""
    for first in range(0, len(body), step):
        chunk = body[first : first + step]
        size = f"{len(chunk):{draw.choice(('x', 'X', '04x'))}}"
        content += f"{size}{extension}\r\n".encode() + chunk + b"\r\n"
    trailer = draw.choice(("", "", "X-Sum: 1\r\n", "X-Sum: 1\r\nX-Other: \xe9\r\n"))
    features |= {"trailer fields in the request"} if trailer else set()
    features |= {"chunk extension"} if extension and body else set()
    return content + b"0\r\n" + trailer.encode("latin-1") + b"\r\n", added


def _cut(draw: random.Random, data: bytes) -> list[bytes]:
    """Cut the bytes at some places."""
    places = sorted(
        draw.sample(range(1, len(data)), k=min(draw.choice((0, 0, 1, 3)), len(data) - 1))
    )
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
