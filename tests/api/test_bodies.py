"""Bodies of HTTP requests: `Request.body`, `json`, `form` and `body_bytes_max`."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

import vespiary

from .kit import Echo, serving, until

HTTP = "http://127.0.0.1:0"
POST = b"POST /a HTTP/1.1\r\nHost: a\r\n"


class Plain(Echo):
    def on_request(self, request: vespiary.Request) -> vespiary.Response:
        return request.respond(200, request.body)


class Later(Echo):
    async def on_request(self, request: vespiary.Request) -> vespiary.Response:
        await asyncio.sleep(0)
        return request.respond(200, request.body)


class Answering(Plain):
    executor = "threads"


@pytest.mark.parametrize("handler", [Plain, Later, Answering])
@pytest.mark.parametrize("url", [HTTP, "ws://127.0.0.1:0"])
async def test_a_handler_gets_the_body(handler: type[vespiary.Handler], url: str) -> None:
    bodies = [b"", b"honey", bytes(range(256)) * 300]
    async with serving(handler, url) as server, httpx.AsyncClient() as client:
        target = server.urls[0].replace("ws://", "http://")
        for body in bodies:
            assert (await client.post(target, content=body)).content == body
            assert (await client.put(target, content=in_chunks(body))).content == body
        assert (await client.get(target)).content == b""
    assert server.statistics().total.connections_accepted == 1


async def in_chunks(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 1000):
        yield body[start : start + 1000]


async def test_json_and_forms_are_decoded() -> None:
    class Decoding(vespiary.Handler):
        def on_request(self, request: vespiary.Request) -> vespiary.Response:
            try:
                if request.path == "/json":
                    return request.respond(200, repr(request.json()))
                form = request.form
                return request.respond(200, repr((form["a"], form.get_all("b"))))
            except ValueError as error:
                return request.respond(400, str(error))

    async with serving(Decoding, HTTP) as server, httpx.AsyncClient() as client:
        url = server.urls[0]
        answer = await client.post(f"{url}json", json={"bees": [1, "ä"]})
        assert answer.text == "{'bees': [1, 'ä']}"
        for wrong in (b"", b"{", b"\xff"):
            assert (await client.post(f"{url}json", content=wrong)).status_code == 400
        answer = await client.post(f"{url}form", data={"a": "ä &", "b": ["1", ""]})
        assert answer.text == "('ä &', ['1', ''])"
        for wrong in (b"\xff", b"a=1&" * 1001):
            assert (await client.post(f"{url}form", content=wrong)).status_code == 400


@pytest.mark.parametrize("limit", [0, 1, 1000])
async def test_a_body_over_the_limit_is_answered_413(limit: int) -> None:
    limits = vespiary.Limits(body_bytes_max=limit)
    async with serving(Plain, HTTP, limits=limits) as server, httpx.AsyncClient() as client:
        url = server.urls[0]
        assert (await client.post(url, content=b"x" * limit)).content == b"x" * limit
        for content in (b"x" * (limit + 1), in_chunks(b"x" * (limit + 1))):
            refused = await client.post(url, content=content)
            assert refused.status_code == 413
            assert refused.headers["connection"] == "close"
        counts = server.statistics().total.limits_reached
    assert counts == {"body_bytes_max": 2}


async def test_a_chunk_over_the_limit_is_refused_before_its_bytes_come() -> None:
    async with serving(Plain, HTTP) as server:
        reader, writer = await opened(server)
        writer.write(POST + b"Transfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 413 ")
        writer.close()


@pytest.mark.parametrize("wrong", [-1, True, "1", 1.5])
def test_a_limit_that_is_not_a_number_of_bytes_is_an_error(wrong: object) -> None:
    with pytest.raises(vespiary.ConfigurationError, match="a whole number of at least 0"):
        vespiary.Limits(body_bytes_max=wrong)  # type: ignore[arg-type]


async def test_a_client_that_waits_for_100_gets_it_before_it_sends_its_body() -> None:
    async with serving(Plain, HTTP) as server:
        reader, writer = await opened(server)
        writer.write(POST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"honey")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert await reader.readexactly(5) == b"honey"
        writer.close()


async def test_a_body_for_a_path_that_nobody_serves_is_not_taken_for_a_request() -> None:
    async with serving(Plain, f"{HTTP}/here") as server:
        reader, writer = await opened(server)
        inner = b"GET /here HTTP/1.1\r\nHost: a\r\n\r\n"
        writer.write(POST + b"Content-Length: %d\r\n\r\n" % len(inner) + inner)
        answers = await reader.read()
        assert answers.startswith(b"HTTP/1.1 404 ")
        assert answers.count(b"HTTP/1.1") == 1
        writer.close()


@pytest.mark.parametrize("handler", [Plain, Later, Answering])
async def test_an_idle_connection_does_not_hold_the_body_of_its_last_request(
    handler: type[vespiary.Handler],
) -> None:
    connections: list[vespiary.Connection] = []

    class Keeping(handler):  # type: ignore[misc, valid-type]
        def on_message(self, connection: vespiary.Connection, message: object) -> None: ...

    original = handler.on_request

    def on_request(self: object, request: vespiary.Request) -> object:
        connections.append(request.connection)
        return original(self, request)  # type: ignore[arg-type]

    Keeping.on_request = on_request
    async with serving(Keeping, HTTP) as server, httpx.AsyncClient() as client:
        assert (await client.post(server.urls[0], content=b"honey")).content == b"honey"
        (connection,) = connections
        try:
            request = connection.request
        except RuntimeError:
            return  # It is not there at all.
        assert request is not None
        assert request.body == b""


async def opened(server: vespiary.Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    port = int(server.urls[0].rpartition(":")[2].split("/")[0])
    return await asyncio.open_connection("127.0.0.1", port)


@pytest.mark.parametrize("begun", [b"", b"G", POST, POST + b"Content-Length: 5\r\n\r\nhon"])
@pytest.mark.parametrize("url", [HTTP, "ws://127.0.0.1:0"])
async def test_a_request_that_has_not_come_whole_is_answered_503_at_a_stop(
    url: str, begun: bytes
) -> None:
    async with serving(Plain, url) as server:
        reader, writer = await opened(server)
        writer.write(begun)
        await until(lambda: server.statistics().total.bytes_received == len(begun))
        await until(lambda: server.statistics().total.handshakes_pending == 1)
        stopping = asyncio.ensure_future(server.stop())
        answer = await reader.read()
        writer.close()
        await stopping
    if begun:
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 1\r\n" in answer
    else:
        assert answer == b"", "a connection that has asked for nothing gets the end, and no reset"
