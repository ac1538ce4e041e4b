"""The cases of h1spec, with our HTTP server: see h1spec.toml."""

import asyncio
import re
import tomllib
from pathlib import Path
from typing import Any

import vespiary

__all__ = ["failures", "h1_cases"]

_WHOLE = "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"
_SECONDS_MAX = 60.0
_HEAD = re.compile(r"HTTP/1\.1 (\d{3})[^\r]*\r\n((?:[^\r]+\r\n)*)\r\n")


class Echo(vespiary.Handler):
    """Answers every method with the request's body."""

    def on_request(self, request: vespiary.Request) -> vespiary.Response:
        """Answer one request."""
        return request.respond(200, request.body)


def h1_cases() -> list[dict[str, Any]]:
    """The cases of the file."""
    with Path(__file__).with_suffix(".toml").open("rb") as file:
        found: list[dict[str, Any]] = tomllib.load(file)["case"]
    return found


def failures(driver: str) -> dict[str, str]:
    """The cases in which our server does not do as it should, and what it did instead."""

    async def run() -> dict[str, str]:
        server = vespiary.Server()
        server.add(Echo(), "http://127.0.0.1:0/")
        async with server:
            port = vespiary.Endpoint.parse(server.urls[0]).port
            found = {case["name"]: await _failure(case, port) for case in h1_cases()}
        return {name: text for name, text in found.items() if text is not None}

    return vespiary.loop.run(run(), driver=driver)


async def _failure(case: dict[str, Any], port: int) -> str | None:
    begin, wanted = case["begin"], case.get("status", ["200"])
    is_begun = "status" not in case
    rest = _WHOLE[len(begin) :] if is_begun else case.get("rest", "")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(begin.encode("latin-1"))
        await writer.drain()
        if rest:
            # Another request on another connection is answered meanwhile; nothing here, unless it
            # is asked to go on.
            text = await _answer_elsewhere(port) if is_begun else None
            if text is not None or (is_begun and reader._buffer):  # type: ignore[attr-defined]
                return text or "answered a request that was not whole"
            if not is_begun:
                interim = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _SECONDS_MAX)
                if not interim.startswith(b"HTTP/1.1 100 "):
                    return f"answered {interim!r} instead of 100"
                wanted = wanted[1:]
            writer.write(rest.encode("latin-1"))
        writer.write_eof()
        answer = (await asyncio.wait_for(reader.read(), _SECONDS_MAX)).decode("latin-1")
    finally:
        writer.close()
    return _difference(answer, wanted, case.get("body", ""))


async def _answer_elsewhere(port: int) -> str | None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(_WHOLE.encode())
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), _SECONDS_MAX)
    finally:
        writer.close()
    return None if answer.startswith(b"HTTP/1.1 200 ") else f"answered {answer!r} elsewhere"


def _difference(answer: str, wanted: list[str], body: str) -> str | None:
    statuses, content = [], ""
    rest = answer
    while (head := _HEAD.match(rest)) is not None:
        statuses.append(head[1])
        length = re.search(r"(?im)^content-length: *(\d+)", head[2])
        content = rest[head.end() :][: int(length[1]) if length else 0]
        rest = rest[head.end() + len(content) :]
    is_alike = len(statuses) == len(wanted) and all(
        got == one or (one.endswith("xx") and got[0] == one[0])
        for got, one in zip(statuses, wanted, strict=True)
    )
    if rest or not is_alike:
        return f"answered {answer[:300]!r}; expected {' and '.join(wanted)}"
    if wanted[-1] == "200" and content != body:
        return f"answered with the body {content!r}; expected {body!r}"
    return None
