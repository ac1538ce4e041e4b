"""ASGI's WebSocket messages, on the same address as HTTP."""

import asyncio
import logging
from typing import Any

import pytest

import vespiary
from tests.logs import records
from vespiary.http._messages import ClientGone

from .kit import HTTP, Receive, Send, connected, respond, serving, until


def websocket_url(server: vespiary.Server, path: str = "/") -> str:
    return server.urls[0].replace("http", "ws", 1).rstrip("/") + path


async def echo(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        return await respond(send, b"page")
    assert scope["type"] == "websocket", scope["type"]
    assert await receive() == {"type": "websocket.connect"}
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})
    return None


async def test_texts_and_bytes_are_echoed_on_the_address_of_the_pages() -> None:
    async with serving(vespiary.ASGI(echo), HTTP) as server:
        async with connected(server) as client:
            assert (await client.ask("GET", "/")).body == b"page"
        async with vespiary.connect(websocket_url(server)) as connection:
            for message in ("hello", b"hello", "", b"", "Grüße 🐝", b"x" * 100_000):
                connection.send(message)
                received = await connection.receive()
                assert received == message
                assert type(received) is type(message)


@pytest.mark.parametrize("scheme", ["ws", "http"])
async def test_both_schemes_serve_both(scheme: str) -> None:
    async with serving(vespiary.ASGI(echo), f"{scheme}://127.0.0.1:0") as server:
        async with connected(server) as client:
            assert (await client.ask("GET", "/")).body == b"page"
        url = websocket_url(server) if scheme == "http" else server.urls[0]
        async with vespiary.connect(url) as connection:
            connection.send("hello")
            assert await connection.receive() == "hello"


async def test_the_scope_says_everything_of_a_handshake() -> None:
    found: list[dict[str, Any]] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        found.append(scope)
        await echo(scope, receive, send)

    async with serving(vespiary.ASGI(app, lifespan="off", root_path="/api"), HTTP) as server:
        options: dict[str, Any] = {"subprotocols": ["b", "a"], "headers": {"X-Two": "ä"}}
        url = websocket_url(server, "/caf%C3%A9?x=1")
        async with vespiary.connect(url, **options) as connection:
            assert connection.local_address == found[0]["client"]
            assert connection.peer == found[0]["server"]
    (scope,) = found
    assert scope["type"] == "websocket"
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}
    assert (scope["scheme"], scope["http_version"]) == ("ws", "1.1")
    assert (scope["path"], scope["raw_path"]) == ("/api/café", b"/api/caf%C3%A9")
    assert (scope["root_path"], scope["query_string"]) == ("/api", b"x=1")
    assert scope["subprotocols"] == ["b", "a"]
    assert (b"x-two", "ä".encode("latin-1")) in scope["headers"]
    assert scope["extensions"] == {"websocket.http.response": {}}
    assert scope["state"] == {}
    assert "method" not in scope


async def test_a_subprotocol_and_headers_are_accepted() -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        headers = [(b"x-hive", b"7"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
        await send({"type": "websocket.accept", "subprotocol": "a", "headers": headers})
        await receive()

    async with (
        serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server,
        vespiary.connect(websocket_url(server), subprotocols=["b", "a"]) as connection,
    ):
        assert connection.subprotocol == "a"
        assert connection.response_headers["x-hive"] == "7"
        assert connection.response_headers.get_all("set-cookie") == ["a=1", "b=2"]


async def test_the_application_closes_with_code_and_reason() -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "bye"})
        await send({"type": "websocket.close", "code": 4001, "reason": "enough"})

    async with serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server:
        connection = await vespiary.connect(websocket_url(server))
        assert await connection.receive() == "bye"
        reason = await connection.wait_closed()
        assert (reason.code, reason.text) == (4001, "enough")


async def test_an_application_that_returns_closes_with_1000() -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})

    async with serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server:
        connection = await vespiary.connect(websocket_url(server))
        assert (await connection.wait_closed()).code == 1000


async def test_an_application_that_raises_closes_with_1011(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        raise ZeroDivisionError("planted")

    async with serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server:
        connection = await vespiary.connect(websocket_url(server))
        assert (await connection.wait_closed()).code == 1011
    assert any("ZeroDivisionError" in (record.exc_text or "") for record in records(caplog))


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "gone"), (4000, "own")])
async def test_the_clients_close_is_received(code: int, reason: str) -> None:
    received: list[dict[str, Any]] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        received.extend([await receive(), await receive()])

    async with serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server:
        connection = await vespiary.connect(websocket_url(server))
        await connection.close(code, reason)
        await until(lambda: len(received) == 2)
    assert received == [{"type": "websocket.disconnect", "code": code, "reason": reason}] * 2


async def test_a_reset_is_received_as_1006() -> None:
    received: list[dict[str, Any]] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        received.append(await receive())

    async with serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server:
        connection = await vespiary.connect(websocket_url(server))
        connection.abort()
        await until(lambda: received)
    assert received[0]["code"] == 1006


async def test_a_message_may_be_awaited_before_the_accept() -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        await send({"type": "websocket.accept"})
        message = await waiting
        await send({"type": "websocket.send", "text": message["text"]})

    async with (
        serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server,
        vespiary.connect(websocket_url(server)) as connection,
    ):
        connection.send("hello")
        assert await connection.receive() == "hello"


async def test_sending_to_a_client_that_has_gone_is_an_os_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    raised: list[BaseException] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        assert (await receive())["type"] == "websocket.disconnect"
        try:
            await send({"type": "websocket.send", "text": "late"})
        except BaseException as error:
            raised.append(error)
            raise

    async with serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server:
        connection = await vespiary.connect(websocket_url(server))
        await connection.close()
        await until(lambda: raised)
    assert isinstance(raised[0], OSError)
    assert not records(caplog, logging.ERROR)


async def refusal(app: Any) -> vespiary.HandshakeRefused:
    async with serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server:
        with pytest.raises(vespiary.HandshakeRefused) as raised:
            await vespiary.connect(websocket_url(server))
    return raised.value


async def test_a_close_before_the_accept_is_403() -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 1008})

    assert (await refusal(app)).status == 403


async def test_a_response_of_the_applications_own_refuses_the_handshake() -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        headers = [(b"www-authenticate", b"Basic")]
        await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b"who ", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"are you?"})

    refused = await refusal(app)
    assert (refused.status, refused.body) == (401, b"who are you?")
    assert refused.headers["www-authenticate"] == "Basic"


async def test_an_exception_before_the_accept_is_500(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        raise ZeroDivisionError("planted")

    assert (await refusal(app)).status == 500
    assert any("ZeroDivisionError" in (record.exc_text or "") for record in records(caplog))


async def test_an_application_that_returns_before_the_accept_is_500(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()

    assert (await refusal(app)).status == 500
    assert any("answered the handshake" in (record.exc_text or "") for record in records(caplog))


async def test_a_client_that_leaves_before_the_accept_is_received() -> None:
    received: list[dict[str, Any]] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        received.append(await receive())
        received.append(await receive())

    async with serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server:
        async with connected(server) as client:
            client.send(
                b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            await until(lambda: received)
        await until(lambda: len(received) == 2)
    assert [message["type"] for message in received] == [
        "websocket.connect",
        "websocket.disconnect",
    ]
    assert received[1]["code"] == 1006


ACCEPT = {"type": "websocket.accept"}
TEXT = {"type": "websocket.send", "text": "x"}
CLOSE = {"type": "websocket.close"}


@pytest.mark.parametrize(
    ("messages", "cls", "match"),
    [
        ([TEXT], RuntimeError, "because the WebSocket is not accepted yet: send websocket.accept"),
        ([ACCEPT, ACCEPT], RuntimeError, "the WebSocket is open: send websocket.send or"),
        ([CLOSE, TEXT], RuntimeError, "because the WebSocket is closed"),
        ([ACCEPT, CLOSE, CLOSE], RuntimeError, "because the WebSocket is closed"),
        ([{"type": "http.response.start", "status": 200}], RuntimeError, "not accepted yet"),
        ([ACCEPT, {"type": "websocket.send"}], ValueError, "either 'text' or 'bytes'"),
        ([ACCEPT, {**TEXT, "bytes": b"x"}], ValueError, "either 'text' or 'bytes'"),
        ([ACCEPT, {**TEXT, "text": b"x"}], TypeError, "'text' of 'websocket.send' must be a str"),
        ([ACCEPT, {"type": "websocket.send", "bytes": "x"}], TypeError, "must be bytes or None"),
        ([{**ACCEPT, "subprotocol": 5}], TypeError, "'subprotocol' of 'websocket.accept'"),
        ([{**ACCEPT, "subprotocol": "b"}], ValueError, "one that the client offers"),
        ([{**ACCEPT, "headers": [("a", "b")]}], TypeError, "must be pairs of bytes"),
        ([ACCEPT, {**CLOSE, "code": "1000"}], TypeError, "'code' of 'websocket.close' must be"),
        ([ACCEPT, {**CLOSE, "code": 1006}], ValueError, "1006"),
        ([ACCEPT, {**CLOSE, "reason": b"x"}], TypeError, "'reason' of 'websocket.close'"),
        ([None], TypeError, "an ASGI message is a dict"),
    ],
)
async def test_mistakes_are_clear_errors(
    messages: list[Any], cls: type[Exception], match: str
) -> None:
    raised: list[BaseException] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        for message in messages[:-1]:
            await send(message)
        try:
            await send(messages[-1])
        except BaseException as error:
            raised.append(error)

    async with serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server:
        try:
            connection = await vespiary.connect(websocket_url(server))
            await connection.wait_closed()
        except vespiary.HandshakeRefused:
            pass
        await until(lambda: raised)
    assert type(raised[0]) is cls
    assert match in str(raised[0])


async def test_a_close_after_the_client_has_left_does_nothing_and_a_send_raises() -> None:
    raised: list[BaseException | None] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        while (await receive())["type"] != "websocket.disconnect":
            pass
        for message in (CLOSE, TEXT, CLOSE):
            try:
                await send(message)
            except OSError as error:
                raised.append(error)
            else:
                raised.append(None)

    async with serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server:
        connection = await vespiary.connect(websocket_url(server))
        await connection.close()
        await until(lambda: len(raised) == 3)
    assert [type(error) for error in raised] == [type(None), ClientGone, type(None)]


@pytest.mark.parametrize("has_accepted", [False, True])
async def test_a_call_that_is_cancelled_by_the_application_leaves_no_connection(
    has_accepted: bool,
) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        if has_accepted:
            await send(ACCEPT)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    if not has_accepted:
        assert (await refusal(app)).status == 500
        return
    async with serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server:
        connection = await vespiary.connect(websocket_url(server))
        await connection.wait_closed()
    assert connection.close_reason is not None
    assert connection.close_reason.code == 1011


async def test_sending_waits_for_a_client_that_does_not_read() -> None:
    sent = 0

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        nonlocal sent
        await receive()
        await send({"type": "websocket.accept"})
        for _ in range(400):
            await send({"type": "websocket.send", "bytes": b"x" * 100_000})
            sent += 1

    async with serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server:
        connection = await vespiary.connect(websocket_url(server))
        received = 0
        async for message in connection:
            received += len(message)
    assert received == 40_000_000
    assert sent == 400


async def test_a_stop_closes_with_1001_and_waits_for_the_application() -> None:
    received: list[dict[str, Any]] = []
    go_on = asyncio.Event()

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        received.append(await receive())
        await go_on.wait()
        received.append({"type": "ended"})

    async with serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server:
        connection = await vespiary.connect(websocket_url(server))
        stopping = asyncio.create_task(server.stop())
        assert (await connection.wait_closed()).code == 1001
        await until(lambda: received)
        assert not stopping.done()
        go_on.set()
        await stopping
    assert [message["type"] for message in received] == ["websocket.disconnect", "ended"]
    assert received[0]["code"] == 1001


async def test_many_websockets_talk_at_the_same_time() -> None:
    async with serving(vespiary.ASGI(echo), HTTP) as server:

        async def talk(number: int) -> None:
            async with vespiary.connect(websocket_url(server)) as connection:
                for count in range(20):
                    connection.send(f"{number} {count}")
                    assert await connection.receive() == f"{number} {count}"

        await asyncio.gather(*(talk(number) for number in range(50)))
