"""Send the requests of other parsers' tests to our server, and compare what it accepts.

Each case is sent whole, and byte by byte: a server that answers differently would let a proxy in
front of it be deceived. The server answers each request with its method, target and body.
"""

import asyncio
import json
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import vespiary

from .http_corpora import Case
from .raw_client import converse

__all__ = ["differences", "reasons"]

_DIFFERENCES = Path(__file__).with_name("http_differences.toml")
_REQUEST_LINE = re.compile(rb"^([!-~]+ \S+ HTTP/1\.1\r\n)", re.MULTILINE)
_AT_ONCE_MAX = 50
_SECONDS_MAX = 60.0


class Echo(vespiary.Handler):
    """Answers with what it has understood."""

    def on_request(self, request: vespiary.Request) -> vespiary.Response:
        """Answer one request."""
        body = request.body.decode("latin-1")
        found = {"method": request.method, "target": request.target, "body": body}
        return request.respond(200, json.dumps(found))


@dataclass(frozen=True)
class Answer:
    """What the server has made of the bytes of a case.

    Attributes:
        bodies: The bodies of the requests that it has accepted.
        status: The status with which it has refused the rest; None if it has not.
    """

    bodies: tuple[bytes, ...]
    status: int | None

    def __str__(self) -> str:
        end = f", and then refused with {self.status}" if self.status else ""
        return f"{len(self.bodies)} accepted{end}"


def with_host(data: bytes) -> bytes:
    """The bytes with the field Host in requests of HTTP/1.1, if none has it and this is the first.

    Parsers do not require it, but a server must refuse a request without it (RFC 9112 section 3.2).
    """
    has_host = re.search(rb"^host[ \t]*:", data, re.MULTILINE | re.IGNORECASE)
    if has_host or not _REQUEST_LINE.match(data.lstrip()):
        return data
    return _REQUEST_LINE.sub(rb"\1Host: localhost\r\n", data)


def differences(cases: Iterable[Case], driver: str, *, every_cut: bool) -> dict[str, str]:
    """The cases that our server answers differently, by their names.

    Args:
        cases: What is sent.
        driver: Of the server.
        every_cut: Also send each case cut in two, at every place: minutes.

    Returns:
        What the server did, and what was expected.
    """
    cases = list(cases)

    async def run() -> dict[str, str]:
        server = vespiary.Server()
        server.add(Echo(), "http://127.0.0.1:0/")
        async with server:
            port = vespiary.Endpoint.parse(server.urls[0]).port
            return await _compare(cases, port, every_cut=every_cut)

    return vespiary.loop.run(run(), driver=driver)


async def _compare(cases: Iterable[Case], port: int, *, every_cut: bool) -> dict[str, str]:
    """The differences by the name of the case: what the server did, and what was expected."""
    limit = asyncio.Semaphore(_AT_ONCE_MAX)
    found: dict[str, str] = {}

    async def run(case: Case) -> None:
        async with limit:
            text = await _difference(case, port, every_cut=every_cut)
        if text is not None:
            found[case.name] = text

    await asyncio.gather(*map(run, cases))
    return dict(sorted(found.items()))


async def _difference(case: Case, port: int, *, every_cut: bool) -> str | None:
    data = with_host(case.data)
    whole = await _ask([data], port)
    cuts = [[data[:at], data[at:]] for at in range(1, len(data))] if every_cut else []
    for parts in [[bytes([one]) for one in data], *cuts]:
        other = await _ask(parts, port)
        if other != whole:
            return f"DEPENDS ON THE CUT: {whole}; cut as {parts!r}: {other}"
    expected = f"{case.requests} accepted" + (", and then refused" if case.is_refused else "")
    is_alike = (
        len(whole.bodies) == case.requests
        and (whole.status is not None) == case.is_refused
        and case.bodies in (None, whole.bodies)
    )
    return None if is_alike else f"{whole}; expected: {expected}"


async def _ask(parts: list[bytes], port: int) -> Answer:
    """Send the parts, and read the answers to the end."""
    answer, is_open = await converse(("127.0.0.1", port), parts, _SECONDS_MAX, ends=True)
    assert not is_open, f"the server waits behind {parts!r}"
    return _parsed(answer)


def _parsed(answer: bytes) -> Answer:
    bodies, status = [], None
    while answer:
        head, _, rest = answer.partition(b"\r\n\r\n")
        number = int(head.split(b" ", 2)[1])
        length = re.search(rb"^content-length: *(\d+)", head, re.MULTILINE | re.IGNORECASE)
        size = int(length[1]) if length else 0
        body, answer = rest[:size], rest[size:]
        if number == 200:
            text = json.loads(body)["body"] if body else ""
            bodies.append(text.encode("latin-1"))
        elif number >= 400:
            status = number
    return Answer(tuple(bodies), status)


def reasons() -> dict[str, str]:
    """Of each case that is known to differ, why."""
    with _DIFFERENCES.open("rb") as file:
        groups = tomllib.load(file).get("difference", [])
    return {case: group["reason"] for group in groups for case in group["cases"]}
