"""Mistakes of ASGI applications: a clear error in the application, 500 or an end for the client."""

import contextlib
import logging
from typing import Any

import h11
import pytest

import vespiary
from tests.logs import records

from .kit import HTTP, Receive, Send, connected, respond, serving

START: dict[str, Any] = {"type": "http.response.start", "status": 200}
BODY: dict[str, Any] = {"type": "http.response.body"}
MORE: dict[str, Any] = {"type": "http.response.body", "body": b"x", "more_body": True}
TRAILERS: dict[str, Any] = {"type": "http.response.trailers", "headers": []}
HINT: dict[str, Any] = {"type": "http.response.early_hint", "links": []}


class Sender:
    """Sends messages, and remembers the exception of the last."""

    def __init__(self, messages: list[Any]) -> None:
        self.messages = messages
        self.error: BaseException | None = None

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        for message in self.messages[:-1]:
            await send(message)
        try:
            await send(self.messages[-1])
        except BaseException as error:
            self.error = error
            raise


async def sent(*messages: Any) -> tuple[BaseException | None, int | None]:
    """What the last of these messages raised, and the status of the response."""
    app = Sender(list(messages))
    try:
        status = (await ask_quietly(app)).status
    except (h11.RemoteProtocolError, ConnectionError):
        status = None
    return app.error, status


async def ask_quietly(app: Any) -> Any:
    async with (
        serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server,
        connected(server) as client,
    ):
        return await client.ask("GET", "/")


@pytest.mark.parametrize(
    ("messages", "match", "status"),
    [
        ([BODY], "'http.response.body' cannot be sent, because the response has not begun", 500),
        ([TRAILERS], "the response has not begun: send http.response.start", 500),
        ([START, START], "'http.response.start' cannot be sent, because the response has beg", 500),
        ([START, HINT], "send http.response.body", 500),
        ([START, TRAILERS], "because the response has begun", 500),
        ([START, MORE, START], "because the body is not complete", None),
        ([START, BODY, BODY], "because the response is complete", 200),
        ([START, BODY, TRAILERS], "because the response is complete", 200),
        ([{**START, "trailers": True}, BODY, BODY], "send http.response.trailers", None),
        ([{"type": "http.response.strat"}], "'http.response.strat' cannot be sent", 500),
        ([{"type": "websocket.accept"}], "'websocket.accept' cannot be sent", 500),
    ],
)
async def test_messages_in_a_wrong_order_are_errors(
    messages: list[Any], match: str, status: int | None
) -> None:
    error, found = await sent(*messages)
    assert isinstance(error, RuntimeError)
    assert match in str(error)
    assert found == status


@pytest.mark.parametrize(
    ("messages", "match", "status"),
    [
        ([None], "an ASGI message is a dict with a 'type' that is str; got None", 500),
        ([{}], "a dict with a 'type'", 500),
        ([{"type": 5}], "a dict with a 'type'", 500),
        (
            [{"type": "http.response.start"}],
            "'status' of 'http.response.start' must be an int",
            500,
        ),
        ([{**START, "status": "200"}], "must be an int; got '200'", 500),
        ([{**START, "status": True}], "must be an int; got True", 500),
        ([{**START, "headers": 5}], "'headers' of 'http.response.start' must be pairs of byt", 500),
        ([{**START, "headers": [(b"a",)]}, BODY], "must be pairs of bytes", 500),
        ([{**START, "headers": [(b"a", 5)]}, BODY], "pairs of bytes; got (b'a', 5)", 500),
        ([{**START, "headers": [b"a"]}, MORE], "must be pairs of bytes", 500),
        ([START, {**BODY, "body": "text"}], "'body' of 'http.response.body' must be bytes", 500),
        ([START, {**BODY, "body": None}], "must be bytes; got None", 500),
        ([{**HINT, "links": "text"}], "'links' of 'http.response.early_hint'", 500),
        ([START, {"type": "http.response.pathsend"}], "'path' of 'http.response.pathsend'", 500),
    ],
)
async def test_fields_of_wrong_types_are_errors(
    messages: list[Any], match: str, status: int | None
) -> None:
    error, found = await sent(*messages)
    assert isinstance(error, TypeError)
    assert match in str(error)
    assert found == status


@pytest.mark.parametrize(
    "start",
    [
        {**START, "status": 99},
        {**START, "status": 101},
        {**START, "status": 600},
        {**START, "headers": [(b"a b", b"c")]},
        {**START, "headers": [(b"a", b"b\r\nc: d")]},
        {**START, "headers": [(b"", b"b")]},
    ],
)
async def test_values_that_cannot_be_sent_are_errors(start: dict[str, Any]) -> None:
    raised: list[BaseException] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        try:
            await send(start)
            await send(BODY)
        except BaseException as error:
            raised.append(error)
            raise

    assert (await ask_quietly(app)).status == 500
    assert isinstance(raised[0], ValueError)


async def test_an_exception_before_the_response_is_logged_and_answered_500(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send(START)
        raise ZeroDivisionError("planted")

    reply = await ask_quietly(app)
    assert reply.status == 500
    assert reply.header(b"connection") == b"close"
    (record,) = records(caplog, logging.ERROR)
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)


async def test_an_exception_within_the_response_ends_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await send(START)
        await send(MORE)
        raise ZeroDivisionError("planted")

    with pytest.raises((h11.RemoteProtocolError, ConnectionError)):
        await ask_quietly(app)
    assert any("ZeroDivisionError" in (record.exc_text or "") for record in records(caplog))


async def test_an_exception_behind_the_response_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await respond(send, b"hello")
        raise ZeroDivisionError("planted")

    assert (await ask_quietly(app)).body == b"hello"
    assert any("ZeroDivisionError" in (record.exc_text or "") for record in records(caplog))


@pytest.mark.parametrize(
    ("messages", "match", "status"),
    [
        ([], "the application returned without a response", 500),
        ([START], "returned before its response was complete: 'http.response.body'", 500),
        ([START, MORE], "'http.response.body' was not sent", None),
        ([{**START, "trailers": True}, BODY], "'http.response.trailers' was not sent", None),
    ],
)
async def test_a_response_that_is_not_complete_is_an_error(
    messages: list[Any], match: str, status: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    try:
        found = (await ask_quietly(app)).status
    except (h11.RemoteProtocolError, ConnectionError):
        found = None
    assert found == status
    assert any(match in (record.exc_text or "") for record in records(caplog))


async def test_too_many_bytes_for_the_length_are_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    headers = [(b"content-length", b"3")]

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await respond(send, b"hello", 200, headers)

    with contextlib.suppress(h11.RemoteProtocolError, ConnectionError):
        assert (await ask_quietly(app)).status == 500
    assert records(caplog, logging.ERROR)
