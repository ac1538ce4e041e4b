"""Reconnection: what is tried again, what is not, and how it ends. Waits are virtual."""

import asyncio
import base64
import contextlib
import hashlib
import logging
import socket
from collections.abc import Callable

import pytest

import vespiary
from tests.addresses import free_port
from tests.logs import lines
from vespiary.client import Connecting

from .kit import TCP, Echo, Recorder, serving, turns, until


class Waits:
    """Takes the place of sleeping: remembers each wait, and does something in its stead."""

    def __init__(self, act: Callable[[], object] = lambda: None) -> None:
        self.seconds: list[float] = []
        self.act = act

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)
        self.act()


def virtual(connecting: Connecting, waits: Waits) -> Connecting:
    connecting._sleep = waits  # type: ignore[assignment]
    return connecting


class Once(vespiary.Handler):
    """Says which connection it is, and closes."""

    def __init__(self, code: int = 1001) -> None:
        self.code = code
        self.count = 0

    def on_open(self, connection: vespiary.Connection) -> None:
        self.count += 1
        connection.send(str(self.count))
        connection.close(self.code)


@pytest.mark.requirement("rfc6455/7.2.3/1")
async def test_each_connection_is_followed_by_the_next() -> None:
    waits = Waits()
    heard = []
    async with serving(Once) as server:
        async for connection in virtual(vespiary.connect(server.urls[0]), waits):
            heard += [message async for message in connection]
            if len(heard) == 5:
                break
    assert heard == ["1", "2", "3", "4", "5"]
    assert len(waits.seconds) == 4
    assert 0 <= waits.seconds[0] <= 5 <= waits.seconds[1] <= 10 <= waits.seconds[2] <= 20


async def test_an_end_in_disorder_continues_too() -> None:
    class Cut(Once):
        def on_open(self, connection: vespiary.Connection) -> None:
            self.count += 1

        def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
            connection.abort()

    handler = Cut()
    async with serving(handler) as server:
        async for connection in virtual(vespiary.connect(server.urls[0]), Waits()):
            connection.send("cut")
            try:
                await connection.receive()
            except vespiary.ConnectionClosed:
                if handler.count < 4:
                    continue
                break
    assert handler.count == 4


async def test_leaving_the_loop_closes_the_connection() -> None:
    recorder = Recorder()
    async with serving(recorder) as server:
        async for _ in vespiary.connect(server.urls[0]):
            break
        await until(lambda: recorder.reasons)
        assert recorder.reasons[0].code == 1000


async def test_an_exception_in_the_loop_closes_the_connection_and_passes_through() -> None:
    recorder = Recorder()
    async with serving(recorder) as server:

        async def use() -> None:
            async for _ in vespiary.connect(server.urls[0]):
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await use()
        await until(lambda: recorder.reasons)
        assert recorder.names.count("open") == 1


async def test_an_await_tries_until_the_server_is_there() -> None:
    port = free_port()
    started: list[asyncio.Future[None]] = []
    server = vespiary.Server()
    server.add(Echo, f"ws://127.0.0.1:{port}")
    waits = Waits()

    def come_up() -> None:
        if len(waits.seconds) == 3:
            started.append(asyncio.ensure_future(server.start()))

    waits.act = come_up
    url = f"ws://127.0.0.1:{port}"
    backoff = vespiary.Backoff(first_seconds=1.0)
    async with virtual(vespiary.connect(url, reconnect=backoff), waits) as connection:
        connection.send("there")
        assert await connection.receive() == "there"
    assert len(waits.seconds) >= 3
    await server.stop()


async def test_without_a_back_off_a_failure_is_reported_at_once() -> None:
    waits = Waits()
    with pytest.raises(ConnectionRefusedError):
        await virtual(vespiary.connect("tcp://127.0.0.1:1"), waits)
    assert waits.seconds == []


async def test_a_final_refusal_ends_the_loop_with_its_error() -> None:
    class Refusing(vespiary.Handler):
        def on_request(self, request: vespiary.Request) -> vespiary.Response:
            return request.respond(404, "nothing here")

    waits = Waits()
    async with serving(Refusing) as server:
        connections = virtual(vespiary.connect(server.urls[0]), waits)
        with pytest.raises(vespiary.HandshakeRefused, match="nothing here"):
            await anext(aiter(connections))
    assert waits.seconds == []


async def test_a_server_that_asks_for_patience_gets_it() -> None:
    class Busy(Echo):
        count = 0

        def on_request(self, request: vespiary.Request) -> vespiary.Response | None:
            self.count += 1
            if self.count < 3:
                return request.respond(503, headers=[("Retry-After", "100")])
            return None

    waits = Waits()
    backoff = vespiary.Backoff(first_seconds=2.0)
    async with (
        serving(Busy) as server,
        virtual(vespiary.connect(server.urls[0], reconnect=backoff), waits),
    ):
        assert len(waits.seconds) == 2
        assert all(100 <= seconds <= 102 for seconds in waits.seconds)


async def test_a_server_that_is_full_is_tried_again() -> None:
    waits = Waits()
    async with serving(Echo, limits=vespiary.Limits(connections_max=1)) as server:
        url = server.urls[0]
        first = await vespiary.connect(url)
        waits.act = lambda: first.abort() if len(waits.seconds) == 2 else None
        connecting = vespiary.connect(url, reconnect=vespiary.Backoff(first_seconds=0.0))
        async with virtual(connecting, waits) as connection:
            connection.send("in")
            assert await connection.receive() == "in"
    assert waits.seconds[:2] == [1.0, 1.0]


async def test_a_handler_stays_connected_until_it_closes() -> None:
    class Listener(vespiary.Handler):
        def __init__(self) -> None:
            self.heard: list[str] = []
            self.names: list[str] = []

        def on_open(self, connection: vespiary.Connection) -> None:
            self.names.append("open")

        def on_message(self, connection: vespiary.Connection, message: str) -> None:
            self.heard.append(message)
            if len(self.heard) == 3:
                connection.close(3000, "enough")

        def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
            self.names.append("close")

    class Say(Once):
        def on_open(self, connection: vespiary.Connection) -> None:
            self.count += 1
            connection.send(str(self.count))
            if self.count < 3:
                connection.close(1012)

    listener = Listener()
    waits = Waits()
    async with serving(Say()) as server:
        connecting = vespiary.connect(server.urls[0], listener, reconnect=vespiary.Backoff())
        reason = await virtual(connecting, waits).stay()
    assert (reason.side, reason.code) == ("local", 3000)
    assert listener.heard == ["1", "2", "3"]
    assert listener.names == ["open", "close"] * 3
    assert len(waits.seconds) == 2


async def test_iterating_with_a_handler_waits_for_each_end() -> None:
    recorder = Recorder()
    count = 0
    async with serving(Once()) as server:
        async for _ in virtual(vespiary.connect(server.urls[0], recorder), Waits()):
            count += 1
            if count == 3:
                break
        await until(lambda: len(recorder.reasons) == 3)
    assert recorder.names == ["open", "message", "close"] * 3


async def test_a_coroutine_handler_is_run_for_each_connection() -> None:
    heard: list[str] = []

    async def listen(connection: vespiary.Connection) -> None:
        heard.extend([message async for message in connection])
        if len(heard) == 3:
            raise vespiary.ConfigurationError("enough")

    class ThenSilent(Once):
        def on_open(self, connection: vespiary.Connection) -> None:
            super().on_open(connection)

    async with serving(ThenSilent()) as server:
        staying = asyncio.ensure_future(
            virtual(vespiary.connect(server.urls[0], listen), Waits()).stay()
        )
        await until(lambda: len(heard) >= 3)
        staying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await staying


@pytest.mark.parametrize("moment", ["waiting", "connecting", "connected"])
async def test_a_cancel_leaves_nothing_behind(moment: str) -> None:
    recorder = Recorder()
    asleep = asyncio.Event()

    async def sleep(_seconds: float) -> None:
        asleep.set()
        await asyncio.Event().wait()

    release = asyncio.Event()

    class Slow(Recorder):
        async def on_request(self, request: vespiary.Request) -> vespiary.Response | None:
            asleep.set()
            await release.wait()
            return None

    server_handler = Slow() if moment == "connecting" else Recorder()
    async with serving(server_handler) as server:
        url = "tcp://127.0.0.1:1" if moment == "waiting" else server.urls[0]
        connecting = vespiary.connect(url, recorder, reconnect=vespiary.Backoff())
        connecting._sleep = sleep  # type: ignore[assignment]
        staying = asyncio.ensure_future(connecting.stay())
        if moment == "connected":
            await until(lambda: recorder.connections)
            # The task that stays learns of the connection a little later than its handler.
            await turns()
        else:
            await asleep.wait()
        staying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await staying
        await until(lambda: server.statistics().total.handshakes_pending == 0)
        await until(lambda: server.statistics().total.connections_open == 0)
        if moment == "connected":
            assert recorder.reasons[0].code == 1000


async def test_the_log_says_what_failed_when_the_next_attempt_is_and_that_it_succeeded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "vespiary")
    backoff = vespiary.Backoff(attempts_max=2)
    with pytest.raises(ConnectionRefusedError):
        await virtual(vespiary.connect("tcp://127.0.0.1:1", reconnect=backoff), Waits())
    assert "Connecting to tcp://127.0.0.1:1 again in" in caplog.text
    assert (
        "attempt 1 failed: cannot connect to tcp://127.0.0.1:1: Connection refused" in caplog.text
    )

    class Second(Echo):
        requests = 0

        def on_request(self, request: vespiary.Request) -> vespiary.Response | None:
            self.requests += 1
            return request.respond(503, "later") if self.requests == 1 else None

    async with serving(Second()) as server:
        url = server.urls[0]
        connecting = vespiary.connect(f"{url}?token=secret", reconnect=vespiary.Backoff())
        connection = await virtual(connecting, Waits())
        connection.close()
    assert f"Connecting to {url} again in" in caplog.text
    assert f"Connected to {url} in attempt 2" in caplog.text
    assert "secret" not in " ".join(lines(caplog))


async def test_no_log_line_and_no_error_of_an_open_connection_shows_the_query(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A query is often a token."""

    class Fails(vespiary.Handler):
        def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
            raise ValueError("no such message")

    async with serving(Echo) as server:
        url = server.urls[0]
        connection = await vespiary.connect(f"{url}?token=secret", Fails())
        connection.send("hello")
        reason = await connection.wait_closed()
    assert f"Handler failed, connection closed, on {url}" in caplog.text
    assert "secret" not in " ".join((*lines(caplog), str(reason)))

    with pytest.raises(ConnectionRefusedError) as refused:
        await vespiary.connect("ws://127.0.0.1:1/feed?token=secret")
    assert "cannot connect to ws://127.0.0.1:1/feed: Connection refused" in str(refused.value)


async def test_streams_are_reconnected_too() -> None:
    async def once(connection: vespiary.Connection) -> None:
        connection.send(b"line\n")

    heard = []
    async with serving(once, TCP) as server:
        connecting = vespiary.connect(server.urls[0], framing="line")
        async for connection in virtual(connecting, Waits()):
            heard += [message async for message in connection]
            if len(heard) == 3:
                break
    assert heard == [b"line"] * 3


HOSTILE = "\x1b[2K\n2026-01-01 ERROR forged\r\u2028".encode()


@pytest.mark.parametrize("what", ["body", "reason phrase", "close reason"])
async def test_no_server_writes_lines_or_escapes_into_the_log(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    def reply(head: bytes) -> bytes:
        if what == "body":
            length = str(len(HOSTILE)).encode()
            fields = b"Content-Type: text/plain\r\nContent-Length: " + length
            return b"HTTP/1.1 503 no\r\n" + fields + b"\r\n\r\n" + HOSTILE
        if what == "reason phrase":
            return b"HTTP/1.1 503 a\x9b31m\x85forged\r\nContent-Length: 0\r\n\r\n"
        before = head.lower().partition(b"sec-websocket-key: ")[0]
        key = head[len(before) :].split(b"\r\n")[0].split(b": ")[1]
        accept = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        payload = (4001).to_bytes(2, "big") + HOSTILE
        return (
            (
                b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + base64.b64encode(accept.digest()) + b"\r\n\r\n"
            )
            + bytes([0x88, len(payload)])
            + payload
        )

    def answer(listener: socket.socket) -> None:
        for _ in range(2):
            peer, _ = listener.accept()
            with peer:
                peer.sendall(reply(peer.recv(65536)))

    waits = Waits()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answering = asyncio.create_task(asyncio.to_thread(answer, listener))
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}"
        with caplog.at_level(logging.INFO, "vespiary"):
            task = asyncio.create_task(virtual(vespiary.connect(url), waits).stay())
            await until(lambda: len(waits.seconds) >= 2)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await answering
    found = lines(caplog)
    assert any("forged" in line for line in found)
    assert all(line.isprintable() for line in found)


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_function_gives_each_attempt_its_own_header_fields(is_async: bool) -> None:
    seen: list[str | None] = []
    made: list[str] = []

    class Counts(vespiary.Handler):
        def on_request(self, request: vespiary.Request) -> vespiary.Response:
            seen.append(request.headers.get("authorization"))
            if len(seen) == 2:
                return request.respond(503)
            return request.accept(headers=[("X-Kept", request.headers.get("x-fixed", ""))])

        def on_open(self, connection: vespiary.Connection) -> None:
            connection.close(1012)

    def token() -> dict[str, str]:
        made.append(f"Bearer {len(made)}")
        return {"Authorization": made[-1]}

    async def token_later() -> dict[str, str]:
        await asyncio.sleep(0)
        return token()

    websocket = vespiary.WebSocket(headers=[("X-Fixed", "yes")])
    async with serving(Counts) as server:
        connecting = vespiary.connect(
            server.urls[0], headers=token_later if is_async else token, websocket=websocket
        )
        count = 0
        async for connection in virtual(connecting, Waits()):
            assert connection.response_headers["x-kept"] == "yes"
            # 1012 ends an iteration as 1001 does.
            assert [message async for message in connection] == []
            count += 1
            if count == 3:
                break
    assert seen == made == ["Bearer 0", "Bearer 1", "Bearer 2", "Bearer 3"]


async def test_a_function_that_fails_or_gives_what_cannot_be_sent_fails_the_attempt() -> None:
    async def broken() -> dict[str, str]:
        raise LookupError("no token")

    with pytest.raises(LookupError, match="no token"):
        await vespiary.connect("ws://127.0.0.1:1", headers=broken)
    with pytest.raises(vespiary.ConfigurationError, match="pairs"):
        await vespiary.connect("ws://127.0.0.1:1", headers=lambda: [5])  # type: ignore[list-item]
    with pytest.raises(vespiary.ConfigurationError, match="a function without arguments"):
        vespiary.connect("ws://127.0.0.1:1", headers=len)  # type: ignore[arg-type]
    with pytest.raises(vespiary.ConfigurationError, match="X-A"):
        await vespiary.connect("ws://127.0.0.1:1", headers=lambda: {"X-A": "a\nb"})
    with pytest.raises(vespiary.ConfigurationError, match="give them once") as raised:
        await vespiary.connect(
            "ws://user:secret@127.0.0.1:1", headers=lambda: {"Authorization": "Bearer x"}
        )
    assert "secret" not in str(raised.value)
