"""Responses that cannot be sent are the handler's error: 500 at once, and a line in the log."""

import asyncio
import logging
from typing import Any

import pytest

import vespiary
from tests.logs import records

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
    errors = records(caplog, logging.ERROR)
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
    assert len(records(caplog, logging.ERROR)) == 1


@pytest.mark.parametrize("form", ["plain", "async", "threads"])
@pytest.mark.parametrize("url", ["http://127.0.0.1:0", "ws://127.0.0.1:0"])
async def test_the_500_of_a_failed_handler_is_plain_text_and_closes_the_connection(
    form: str, url: str
) -> None:
    class Plain(vespiary.Handler):
        def on_request(self, request: vespiary.Request) -> None:
            raise RuntimeError("failed")

    class Async(vespiary.Handler):
        async def on_request(self, request: vespiary.Request) -> None:
            await asyncio.sleep(0)
            raise RuntimeError("failed")

    options: dict[str, Any] = {"executor": "threads"} if form == "threads" else {}
    async with serving(Async if form == "async" else Plain, url, **options) as server:
        port = int(server.urls[0].split(":")[2].split("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"\r\nConnection: close\r\n" in answer
    assert b"\r\nContent-Type: text/plain; charset=utf-8\r\n" in answer


@pytest.mark.parametrize(
    "arguments",
    [(9999,), (101, "x"), (True,), ("200",), (200, {"a": 1}), (200, 5), (200, b"", 7)],
)
@pytest.mark.parametrize("form", ["plain", "async", "threads"])
async def test_a_wrong_response_has_the_line_that_made_it_in_its_traceback(
    form: str, arguments: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Plain(vespiary.Handler):
        def on_request(self, request: vespiary.Request) -> vespiary.Response:
            return request.respond(*arguments)

    class Async(vespiary.Handler):
        async def on_request(self, request: vespiary.Request) -> vespiary.Response:
            await asyncio.sleep(0)
            return request.respond(*arguments)

    options: dict[str, Any] = {"executor": "threads"} if form == "threads" else {}
    async with serving(Async if form == "async" else Plain, **options) as server:
        with pytest.raises(vespiary.HandshakeRefused) as refused:
            await vespiary.connect(server.urls[0])
    assert refused.value.status == 500
    (error,) = records(caplog, logging.ERROR)
    assert error.exc_info is not None
    traceback = error.exc_info[2]
    frames = []
    while traceback is not None:
        frames.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert "on_request" in frames


@pytest.mark.parametrize("answer", [(401, "no"), ("respond", 200, [], b""), ("accept", None, [])])
async def test_a_tuple_is_not_a_response_of_an_async_method_either(
    answer: object, caplog: pytest.LogCaptureFixture
) -> None:
    class Wrong(vespiary.Handler):
        async def on_request(self, request: vespiary.Request) -> Any:
            return answer

    async with serving(Wrong, "http://127.0.0.1:0") as server:
        assert (await get(server)).startswith(b"HTTP/1.1 500 ")
    assert "on_request returns None, request.accept(...)" in caplog.text


@pytest.mark.parametrize("status", [200, 300, 304, 404, "301"])
async def test_a_redirect_has_the_status_of_one(status: Any) -> None:
    errors: list[str] = []

    class Wrong(vespiary.Handler):
        def on_request(self, request: vespiary.Request) -> vespiary.Response:
            try:
                return request.redirect("/there", status)
            except ValueError as error:
                errors.append(str(error))
                return request.respond(200)

    async with serving(Wrong, "http://127.0.0.1:0") as server:
        await get(server)
    assert "a redirect has status 301" in errors[0]
