"""on_request: accept, refuse, choose a subprotocol, answer later, serve a page."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import websockets.asyncio.client
from websockets.typing import Subprotocol

import vespiary
from tests.logs import records

from .kit import Echo, forever, serving, until

HTTP = "http://127.0.0.1:0"


def answering(
    answer: Callable[[vespiary.Request], vespiary.Response | None],
) -> type[vespiary.Handler]:
    class Answering(Echo):
        def on_request(self, request: vespiary.Request) -> vespiary.Response | None:
            return answer(request)

    return Answering


async def test_a_request_says_what_was_asked() -> None:
    asked: list[vespiary.Request] = []

    def note(request: vespiary.Request) -> None:
        asked.append(request)

    async with serving(answering(note), "ws://127.0.0.1:0/") as server:
        url = server.urls[0] + "a%20b?c=d&e"
        headers = [("X-One", "1"), ("x-two", "2"), ("X-Two", "3"), ("Origin", "http://there")]
        async with vespiary.connect(url, headers=headers, subprotocols=["a", "b"]) as client:
            client.send("accepted")
            assert await client.receive() == "accepted"
    (request,) = asked
    assert (request.method, request.target) == ("GET", "/a%20b?c=d&e")
    assert (request.path, request.query) == ("/a b", "c=d&e")
    assert request.is_upgrade
    assert request.origin == "http://there"
    assert request.subprotocols == ["a", "b"]
    assert request.headers["X-ONE"] == "1"
    assert request.headers.get_all("x-two") == ["2", "3"]
    assert request.headers["host"] == server.urls[0].split("/")[2]
    assert "nothing" not in request.headers
    with pytest.raises(KeyError):
        request.headers["nothing"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
async def test_a_refusal_reaches_the_client_with_its_status_and_body(status: int) -> None:
    handler = answering(lambda request: request.respond(status, "not today\n"))
    async with serving(handler) as server:
        with pytest.raises(vespiary.HandshakeRefused) as refused:
            await vespiary.connect(server.urls[0])
        assert refused.value.status == status
        assert refused.value.reason == "not today"
        assert refused.value.headers["Content-Length"] == "10"
        await until(lambda: server.statistics().total.handshakes_pending == 0)
        total = server.statistics().total
        assert total.connections_refused == {f"status_{status}": 1}
        assert total.connections_closed == 0


async def test_a_subprotocol_is_chosen_from_those_offered() -> None:
    handler = answering(lambda request: request.accept("second"))
    async with serving(handler) as server:
        offered = [Subprotocol("first"), Subprotocol("second")]
        async with vespiary.connect(server.urls[0], subprotocols=offered) as client:
            assert client.subprotocol == "second"
        async with websockets.asyncio.client.connect(server.urls[0], subprotocols=offered) as other:
            assert other.subprotocol == "second"


async def test_a_subprotocol_that_nobody_offered_is_a_fault_of_the_handler(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handler = answering(lambda request: request.accept("unheard of"))
    async with serving(handler) as server:
        with pytest.raises(vespiary.HandshakeRefused) as refused:
            await vespiary.connect(server.urls[0], subprotocols=["first"])
        assert refused.value.status == 500
        assert server.statistics().total.handler_errors == 1
    assert "unheard of" in caplog.text


async def test_headers_of_an_accepting_answer_are_sent() -> None:
    handler = answering(lambda request: request.accept(headers=[("Set-Cookie", "a=b")]))
    async with (
        serving(handler) as server,
        websockets.asyncio.client.connect(server.urls[0]) as client,
    ):
        assert client.response is not None
        assert client.response.headers["Set-Cookie"] == "a=b"


@pytest.mark.parametrize(
    "headers",
    [[("Bad\r\nName", "x")], [("X", "a\r\nInjected: b")], [("", "x")], [("X", "nul\0")]],
)
async def test_headers_that_would_break_the_answer_are_never_sent(
    headers: list[tuple[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    for answer in (
        answering(lambda request: request.accept(headers=headers)),
        answering(lambda request: request.respond(200, "", headers)),
    ):
        async with serving(answer) as server:
            with pytest.raises(vespiary.HandshakeRefused) as refused:
                await vespiary.connect(server.urls[0])
            assert refused.value.status == 500
            assert server.statistics().total.handler_errors == 1
    assert len(records(caplog)) >= 2


async def test_what_is_not_an_answer_is_a_fault_of_the_handler(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handler = answering(lambda request: "yes")  # type: ignore[arg-type, return-value]
    async with serving(handler) as server:
        with pytest.raises(vespiary.HandshakeRefused) as refused:
            await vespiary.connect(server.urls[0])
        assert refused.value.status == 500
    assert "on_request returns" in caplog.text


async def test_answers_may_be_awaited_and_others_continue_meanwhile() -> None:
    release = asyncio.Event()

    class Late(Echo):
        async def on_request(self, request: vespiary.Request) -> vespiary.Response | None:
            if request.path == "/late":
                await release.wait()
            if request.path == "/no":
                await asyncio.sleep(0)
                return request.respond(403, "no")
            return None

    async with serving(Late, "ws://127.0.0.1:0/") as server:
        url = server.urls[0]
        late = asyncio.ensure_future(vespiary.connect(url + "late")._connect())
        async with vespiary.connect(url) as client:
            client.send("x")
            assert await client.receive() == "x"
        with pytest.raises(vespiary.HandshakeRefused):
            await vespiary.connect(url + "no")
        assert not late.done()
        release.set()
        client = await late
        client.send("late")
        assert await client.receive() == "late"
        client.close()


async def test_an_awaited_answer_that_raises_is_500(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(vespiary.Handler):
        async def on_request(self, request: vespiary.Request) -> None:
            await asyncio.sleep(0)
            raise ZeroDivisionError

    async with serving(Failing) as server:
        with pytest.raises(vespiary.HandshakeRefused) as refused:
            await vespiary.connect(server.urls[0])
        assert refused.value.status == 500
        assert server.statistics().total.handler_errors == 1
    assert "ZeroDivisionError" in caplog.text


async def test_an_answer_that_never_comes_ends_at_the_deadline() -> None:
    class Never(vespiary.Handler):
        async def on_request(self, request: vespiary.Request) -> None:
            await forever()

    deadlines = vespiary.Deadlines(handshake_seconds=0.1)
    async with serving(Never, deadlines=deadlines) as server:
        with pytest.raises((vespiary.HandshakeRefused, vespiary.ConnectionClosed)):
            await vespiary.connect(server.urls[0])
        await until(lambda: server.statistics().total.limits_reached)
        assert server.statistics().total.limits_reached == {"handshake_seconds": 1}


async def test_data_set_in_on_request_is_there_in_on_open() -> None:
    class Who(vespiary.Handler):
        def on_request(self, request: vespiary.Request) -> None:
            request.connection.data = request.path

        def on_open(self, connection: vespiary.Connection) -> None:
            connection.send(connection.data)

    async with (
        serving(Who, "ws://127.0.0.1:0/") as server,
        vespiary.connect(server.urls[0] + "name") as client,
    ):
        assert await client.receive() == "/name"


async def test_a_page_is_served_to_an_http_client() -> None:
    def page(request: vespiary.Request) -> vespiary.Response:
        if request.path == "/old":
            return request.redirect("/")
        headers = [("Content-Type", "text/html; charset=utf-8")]
        return request.respond(200, f"<h1>{request.method}</h1>".encode(), headers)

    async with (
        serving(answering(page), "http://127.0.0.1:0/") as server,
        httpx.AsyncClient(
            base_url=server.urls[0], trust_env=False, follow_redirects=True
        ) as client,
    ):
        response = await client.get("/")
        assert response.text == "<h1>GET</h1>"
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert (await client.get("/old")).url == server.urls[0]
        head = await client.head("/")
        assert head.content == b""
        assert head.headers["content-length"] == str(len("<h1>HEAD</h1>"))


async def test_text_is_plain_unless_told() -> None:
    async with (
        serving(answering(lambda it: it.respond(200, "ü")), HTTP) as server,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        response = await client.get(server.urls[0])
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.content == "ü".encode()


async def test_a_plain_request_at_a_websocket_is_reported_to_upgrade() -> None:
    async with serving(Echo) as server, httpx.AsyncClient(trust_env=False) as client:
        response = await client.get(server.urls[0].replace("ws:", "http:"))
        assert response.status_code == 426
        assert response.headers["upgrade"].lower() == "websocket"


async def test_an_http_endpoint_without_on_request_is_refused() -> None:
    with pytest.raises(vespiary.ConfigurationError, match="on_request"):
        vespiary.Server().add(Echo, HTTP)


async def test_a_large_page_comes_whole() -> None:
    body = bytes(range(256)) * 20_000
    async with (
        serving(answering(lambda it: it.respond(200, body)), HTTP) as server,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        assert (await client.get(server.urls[0])).content == body


@pytest.mark.parametrize("who", ["server", "client"])
async def test_an_awaited_answer_is_cancelled_when_its_connection_ends(who: str) -> None:
    given_up = asyncio.Event()
    closed: list[vespiary.CloseReason] = []

    class Never(vespiary.Handler):
        async def on_request(self, request: vespiary.Request) -> vespiary.Response | None:
            try:
                closed.append(await request.connection.wait_closed())
            except asyncio.CancelledError:
                given_up.set()
                raise
            return None

    soon = vespiary.Deadlines(handshake_seconds=1)
    late = vespiary.Deadlines()
    theirs, ours = (soon, late) if who == "server" else (late, soon)
    async with serving(Never, deadlines=theirs) as server:
        with pytest.raises((vespiary.HandshakeRefused, TimeoutError)):
            await vespiary.connect(server.urls[0], deadlines=ours)
        await given_up.wait()
        assert closed == []


async def test_who_waits_for_the_end_of_a_refused_connection_is_notified() -> None:
    reasons: list[vespiary.CloseReason] = []

    class Refusing(vespiary.Handler):
        def on_request(self, request: vespiary.Request) -> vespiary.Response:
            waiting = asyncio.create_task(request.connection.wait_closed())
            waiting.add_done_callback(lambda task: reasons.append(task.result()))
            return request.respond(403)

    async with serving(Refusing) as server:
        with pytest.raises(vespiary.HandshakeRefused):
            await vespiary.connect(server.urls[0])
        await until(lambda: reasons)
        assert reasons[0].status == 403


class AnswersNothing(vespiary.Handler):
    def on_request(self, request: vespiary.Request) -> None:
        pass


class AnswersNothingLater(vespiary.Handler):
    async def on_request(self, request: vespiary.Request) -> None:
        await asyncio.sleep(0)


class Accepts(vespiary.Handler):
    def on_request(self, request: vespiary.Request) -> vespiary.Response:
        return request.accept()


@pytest.mark.parametrize("options", [{}, {"executor": "threads"}])
@pytest.mark.parametrize("handler", [AnswersNothing, AnswersNothingLater, Accepts])
async def test_a_request_of_http_that_is_not_answered_is_a_fault_that_names_the_handler(
    handler: type[vespiary.Handler], options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(handler, "http://127.0.0.1:0", **options) as server:
        _, _, port = server.urls[0].rstrip("/").rpartition(":")
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await reader.readline()).split()[1] == b"500"
        await reader.read()
        writer.close()
        assert server.statistics().total.handler_errors == 1
    assert f"{handler.__name__}.on_request" in caplog.text
    assert "return request.respond(" in caplog.text
