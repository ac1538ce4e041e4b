"""Responses that cannot be sent are the handler's error: 500 at once, and a line in the log."""

import asyncio
import logging
from typing import Any

import pytest

import vespiary

from .kit import serving

WRONG: list[Any] = [
    (200 + 3801, b"", ()),
    (1000, b"", ()),
    (70000, b"", ()),
    (-1, b"", ()),
    (0, b"", ()),
    (99, b"", ()),
    (600, b"", ()),
    (1 << 80, b"", ()),
    ("200", b"", ()),
    (None, b"", ()),
    (200.5, b"", ()),
    (200, 5, ()),
    (200, b"", [("Name", 5)]),
    (200, b"", [("Na me", "x")]),
    (200, b"", [("Name", "a\r\nb")]),
    (200, b"", [("Name", "\ud800")]),
    (200, b"", [(b"Name", "x")]),
    (200, b"", [("Name",)]),
    (200, b"", 7),
]


async def get(server: vespiary.Server) -> bytes:
    port = int(server.urls[0].split(":")[2].split("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("form", ["plain", "async", "threads"])
@pytest.mark.parametrize(("status", "body", "headers"), WRONG)
async def test_a_response_that_cannot_be_sent_is_a_logged_error_and_500(
    form: str, status: Any, body: Any, headers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Plain(vespiary.Handler):
        def on_request(self, request: vespiary.Request) -> vespiary.Response:
            return request.respond(status, body, headers)

    class Async(vespiary.Handler):
        async def on_request(self, request: vespiary.Request) -> vespiary.Response:
            await asyncio.sleep(0)
            return request.respond(status, body, headers)

    handler = Async if form == "async" else Plain
    options: dict[str, Any] = {"executor": "threads"} if form == "threads" else {}
    async with asyncio.timeout(5), serving(handler, "http://127.0.0.1:0", **options) as server:
        assert (await get(server)).startswith(b"HTTP/1.1 500 ")
        assert server.statistics().total.handler_errors == 1
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert server.urls[0] in errors[0].getMessage()


@pytest.mark.parametrize("answer", [5, "yes", ("respond",), (1, 2), object(), [], b"x"])
async def test_what_is_not_a_response_is_an_error_too(
    answer: object, caplog: pytest.LogCaptureFixture
) -> None:
    class Wrong(vespiary.Handler):
        def on_request(self, request: vespiary.Request) -> Any:
            return answer

    async with serving(Wrong, "http://127.0.0.1:0") as server:
        assert (await get(server)).startswith(b"HTTP/1.1 500 ")
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1
