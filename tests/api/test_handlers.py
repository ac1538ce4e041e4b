"""Handlers: which methods are called, when, and what happens to their exceptions."""

import asyncio
import logging
from typing import Any, ClassVar

import pytest

import vespiary
from tests.logs import records

from .kit import TCP, WS, Echo, Recorder, echo, forever, serving, turns, until


async def test_a_handler_without_any_method_serves_and_ignores() -> None:
    async with serving(vespiary.Handler) as server:
        async with vespiary.connect(server.urls[0]) as client:
            client.send("anybody?")
            client.send(b"no")
            await until(lambda: server.statistics().total.messages_received == 2)
        assert client.close_reason is not None
        assert client.close_reason.kind == "closed"


@pytest.mark.parametrize("url", [WS, TCP])
async def test_methods_are_called_once_each_and_in_order(url: str) -> None:
    recorder = Recorder()
    async with serving(recorder, url) as server:
        assert recorder.calls == [("start", server)]
        async with vespiary.connect(server.urls[0]) as client:
            client.send(b"one")
            await until(lambda: "message" in recorder.names)
        await until(lambda: "close" in recorder.names)
    assert recorder.names == ["start", "open", "message", "close", "stop"]
    assert recorder.calls[2] == ("message", b"one")
    assert recorder.reasons[0].side == "remote"


async def test_text_comes_as_str_and_binary_as_bytes() -> None:
    recorder = Recorder()
    async with serving(recorder) as server, vespiary.connect(server.urls[0]) as client:
        for message in ("text ü 🐝", b"bytes", "", b"", bytearray(b"array"), memoryview(b"view")):
            client.send(message)
        await until(lambda: len(recorder.calls) == 8)
    messages = [call[1] for call in recorder.calls if call[0] == "message"]
    assert messages == ["text ü 🐝", b"bytes", "", b"", b"array", b"view"]
    assert [type(message) for message in messages] == [str, bytes, str, bytes, bytes, bytes]


@pytest.mark.parametrize("url", [WS, TCP])
@pytest.mark.parametrize("size", [4, 1024, 40_000])
async def test_each_message_is_an_object_of_its_own_while_anybody_has_it(
    url: str, size: int
) -> None:
    class Counting(vespiary.Handler):
        """Keeps each message when it first comes, as a key, and looks up those that come again."""

        counts: ClassVar[dict[bytes, int]] = {}

        def on_message(self, connection: vespiary.Connection, message: bytes) -> None:
            self.counts[message] = self.counts.get(message, 0) + 1
            connection.send(message)

    options: dict[str, Any] = {} if url == WS else {"framing": "length"}
    messages = [bytes([number % 7]) * size for number in range(70)]
    async with (
        serving(Counting, url, **options) as server,
        vespiary.connect(server.urls[0], **options) as client,
    ):
        for message in messages:
            client.send(message)
        assert [await client.receive() for _ in messages] == messages
    assert Counting.counts == {bytes([number]) * size: 10 for number in range(7)}


@pytest.mark.parametrize("nothing", [None, 5, ["list"], object()])
async def test_what_is_not_a_message_cannot_be_sent(nothing: object) -> None:
    async with serving(Echo) as server, vespiary.connect(server.urls[0]) as client:
        with pytest.raises(TypeError, match="a message is bytes, str"):
            client.send(nothing)  # type: ignore[arg-type]
        client.send("still open")
        assert await client.receive() == "still open"


async def test_a_lone_surrogate_cannot_be_sent() -> None:
    async with serving(Echo) as server, vespiary.connect(server.urls[0]) as client:
        with pytest.raises(UnicodeEncodeError):
            client.send("\ud800")
        client.send("still open")
        assert await client.receive() == "still open"


async def test_data_is_the_handlers_own_and_none_at_first() -> None:
    class Counting(vespiary.Handler):
        def on_open(self, connection: vespiary.Connection) -> None:
            assert connection.data is None
            connection.data = {"count": 0}

        def on_message(self, connection: vespiary.Connection, message: str) -> None:
            connection.data["count"] += 1
            connection.send(str(connection.data["count"]))

    async with (
        serving(Counting) as server,
        vespiary.connect(server.urls[0]) as one,
        vespiary.connect(server.urls[0]) as other,
    ):
        for expected in ("1", "2"):
            one.send("x")
            assert await one.receive() == expected
        other.send("x")
        assert await other.receive() == "1"


async def test_async_methods_run_in_order_and_may_await() -> None:
    calls = []

    class Slow(vespiary.Handler):
        async def on_open(self, connection: vespiary.Connection) -> None:
            await turns()
            calls.append("open")

        async def on_message(self, connection: vespiary.Connection, message: str) -> None:
            await turns(5 if message == "0" else 0)
            calls.append(message)
            connection.send(message)

        async def on_close(
            self, connection: vespiary.Connection, reason: vespiary.CloseReason
        ) -> None:
            await asyncio.sleep(0)
            calls.append("close")

    async with serving(Slow) as server:
        async with vespiary.connect(server.urls[0]) as client:
            for number in range(5):
                client.send(str(number))
            for number in range(5):
                assert await client.receive() == str(number)
        await until(lambda: "close" in calls)
    assert calls == ["open", "0", "1", "2", "3", "4", "close"]


async def test_on_part_beside_async_methods_is_refused() -> None:
    class Both(vespiary.Handler):
        async def on_open(self, connection: vespiary.Connection) -> None:
            """Makes the handler async."""

        def on_part(
            self, connection: vespiary.Connection, part: bytes, last: bool, text: bool
        ) -> None:
            """Cannot stand beside it."""

    with pytest.raises(vespiary.ConfigurationError, match="on_part"):
        vespiary.Server().add(Both, WS)


async def test_on_end_beside_async_methods_is_refused_because_it_would_not_be_called() -> None:
    class Both(vespiary.Handler):
        async def on_message(self, connection: vespiary.Connection, message: bytes) -> None:
            """Makes the handler async."""

        def on_end(self, connection: vespiary.Connection) -> None:
            """Cannot stand beside it."""

    with pytest.raises(vespiary.ConfigurationError, match="on_end"):
        vespiary.Server().add(Both, TCP)


@pytest.mark.parametrize("handler", [5, "echo", lambda connection: None, object(), None])
async def test_what_is_not_a_handler_is_refused(handler: object) -> None:
    with pytest.raises(vespiary.ConfigurationError, match="handler"):
        vespiary.Server().add(handler, WS)  # type: ignore[arg-type]


class Failing(vespiary.Handler):
    """Raises in the given method."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.closed: list[vespiary.CloseReason] = []

    def fail(self, here: str) -> None:
        if here == self.where:
            raise ZeroDivisionError(f"in on_{here}")

    def on_start(self, server: vespiary.Server) -> None:
        self.fail("start")

    def on_request(self, request: vespiary.Request) -> None:
        self.fail("request")

    def on_open(self, connection: vespiary.Connection) -> None:
        self.fail("open")

    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        self.fail("message")
        connection.send(message)

    def on_drain(self, connection: vespiary.Connection) -> None:
        self.fail("drain")

    def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
        self.closed.append(reason)
        self.fail("close")

    def on_stop(self, server: vespiary.Server) -> None:
        self.fail("stop")


def failures(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return records(caplog, logging.ERROR)


@pytest.mark.parametrize("where", ["open", "message"])
async def test_an_exception_closes_its_connection_with_1011_and_no_other(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Failing("")
    async with serving(handler) as server, vespiary.connect(server.urls[0]) as neighbour:
        neighbour.send("before")
        assert await neighbour.receive() == "before"
        handler.where = where
        client = await vespiary.connect(server.urls[0])
        if where == "message":
            client.send("go")
        reason = await client.wait_closed()
        assert (reason.side, reason.code) == ("remote", 1011)
        handler.where = ""
        neighbour.send("after")
        assert await neighbour.receive() == "after"
        await until(lambda: handler.closed)
        assert handler.closed[0].kind == "broken"
        assert server.statistics().total.handler_errors == 1
    (record,) = failures(caplog)
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)
    assert record.exc_info[2] is not None


async def test_an_exception_on_a_stream_closes_it(caplog: pytest.LogCaptureFixture) -> None:
    class FailingStream(Failing):
        on_request = vespiary.Handler.on_request  # type: ignore[assignment]

    async with serving(FailingStream("message"), TCP) as server:
        client = await vespiary.connect(server.urls[0])
        client.send("go")
        assert (await client.wait_closed()).side == "remote"
        assert server.statistics().total.handler_errors == 1
    assert len(failures(caplog)) == 1


def test_on_request_on_a_stream_is_an_error_as_it_would_never_be_called() -> None:
    with pytest.raises(vespiary.ConfigurationError, match="on_request would never be called"):
        vespiary.Server().add(Failing("request"), TCP)


async def test_an_exception_in_on_request_is_answered_with_500(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(Failing("request")) as server:
        with pytest.raises(vespiary.HandshakeRefused) as refused:
            await vespiary.connect(server.urls[0])
        assert refused.value.status == 500
        assert "in on_request" not in refused.value.reason
        assert server.statistics().total.handler_errors == 1
    assert len(failures(caplog)) == 1


async def test_an_exception_in_on_drain_closes_its_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handler = Failing("drain")
    async with serving(handler) as server:
        client = await vespiary.connect(
            server.urls[0], limits=vespiary.Limits(message_bytes_max=None)
        )
        client.send(bytes(1_000_000))
        assert (await client.wait_closed()).code == 1011
        assert server.statistics().total.handler_errors == 1
    assert len(failures(caplog)) == 1


@pytest.mark.parametrize("where", ["close", "stop"])
async def test_an_exception_where_nothing_can_be_closed_is_logged(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(Failing(where)) as server:
        async with vespiary.connect(server.urls[0]) as client:
            client.send("x")
            assert await client.receive() == "x"
        await until(lambda: server.statistics().total.connections_open == 0)
        assert server.statistics().total.handler_errors == (1 if where == "close" else 0)
    (record,) = failures(caplog)
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)


async def test_an_exception_of_a_coroutine_closes_with_1011(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def failing(connection: vespiary.Connection) -> None:
        await connection.receive()
        await asyncio.sleep(0)
        raise ZeroDivisionError

    async with serving(failing) as server:
        client = await vespiary.connect(server.urls[0])
        client.send("go")
        assert (await client.wait_closed()).code == 1011
        assert server.statistics().total.handler_errors == 1
    assert len(failures(caplog)) == 1


async def test_an_exception_of_an_async_method_closes_with_1011(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Bad(vespiary.Handler):
        async def on_message(self, connection: vespiary.Connection, message: str) -> None:
            raise ZeroDivisionError

    async with serving(Bad) as server:
        client = await vespiary.connect(server.urls[0])
        client.send("go")
        assert (await client.wait_closed()).code == 1011
        assert server.statistics().total.handler_errors == 1
    assert len(failures(caplog)) == 1


async def test_a_coroutine_that_lets_its_connections_end_through_has_not_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def receiving(connection: vespiary.Connection) -> None:
        while True:
            connection.send(await connection.receive())

    async with serving(receiving) as server:
        async with vespiary.connect(server.urls[0]) as client:
            client.send("x")
            assert await client.receive() == "x"
        (await vespiary.connect(server.urls[0])).abort()
        await until(lambda: server.statistics().total.connections_closed == 2)
        await turns()
        assert server.statistics().total.handler_errors == 0
    assert failures(caplog) == []


async def test_keyboard_interrupt_in_a_handler_ends_the_loop(driver: str) -> None:
    class Interrupting(vespiary.Handler):
        def on_message(self, connection: vespiary.Connection, message: str) -> None:
            raise KeyboardInterrupt

    async def main() -> None:
        async with serving(Interrupting) as server:
            client = await vespiary.connect(server.urls[0])
            client.send("x")
            await forever()

    def run() -> None:
        with pytest.raises(KeyboardInterrupt):
            vespiary.run(main(), driver=driver)

    await asyncio.to_thread(run)


async def test_one_handler_serves_many_endpoints() -> None:
    server = vespiary.Server()
    handler = Echo()
    for url, framing in ((WS, None), (TCP, "line"), (TCP, "crlf"), (TCP, "length"), (TCP, None)):
        server.add(handler, url, framing=framing)  # type: ignore[arg-type]
    server.add(echo, WS)
    async with server:
        framings = [None, "line", "crlf", "length", None, None]
        for url, framing in zip(server.urls, framings, strict=True):
            async with vespiary.connect(url, framing=framing) as client:  # type: ignore[arg-type]
                client.send(b"hello")
                assert await client.receive() == b"hello"
    assert server.statistics().total.messages_received == 6


async def test_a_message_after_the_end_is_refused() -> None:
    recorder = Recorder()
    async with serving(recorder) as server:
        for end in ("abort", "close"):
            client = await vespiary.connect(server.urls[0])
            getattr(client, end)()
            with pytest.raises(vespiary.ConnectionClosed):
                client.send("after the end")
            await client.wait_closed()
            with pytest.raises(vespiary.ConnectionClosed):
                client.send("long after the end")
