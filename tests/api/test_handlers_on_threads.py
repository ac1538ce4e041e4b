"""Handlers that run on threads: `executor="threads"`."""

import asyncio
import gc
import logging
import threading
import weakref

import pytest

import vespiary
from tests.logs import records

from .kit import TCP, Echo, echo, send_until_full, serving, turns, until, wait_until


class Blocking(vespiary.Handler):
    """Sleeps in its thread, and remembers where it ran."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.calls: list[tuple[object, str]] = []
        self.threads: set[str] = set()
        self.running = 0
        self.together = 0
        self.all_clients = threading.Barrier(4)

    def note(self, connection: vespiary.Connection, what: str) -> None:
        with self.lock:
            self.calls.append((connection, what))
            self.threads.add(threading.current_thread().name)

    def on_open(self, connection: vespiary.Connection) -> None:
        self.note(connection, "open")

    def on_message(self, connection: vespiary.Connection, message: str) -> None:
        with self.lock:
            self.running += 1
            self.together = max(self.together, self.running)
        if message == "0":
            self.all_clients.wait(30)
        self.note(connection, message)
        connection.send(message)
        with self.lock:
            self.running -= 1

    def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
        self.note(connection, "close")


async def test_handlers_on_threads_keep_each_connections_order_and_run_together() -> None:
    handler = Blocking()
    async with serving(handler, executor="threads") as server:
        clients = [await vespiary.connect(server.urls[0]) for _ in range(4)]
        for number in range(10):
            for client in clients:
                client.send(str(number))
        for client in clients:
            for number in range(10):
                assert await client.receive() == str(number)
            client.close()
        await until(lambda: len(handler.calls) == 48)
    expected = ["open", *map(str, range(10)), "close"]
    for connection in {id(it): it for it, _ in handler.calls}.values():
        assert [what for it, what in handler.calls if it is connection] == expected
    assert handler.together == 4
    assert threading.current_thread().name not in handler.threads


async def test_a_blocking_handler_on_threads_does_not_hold_up_the_loop() -> None:
    released = threading.Event()

    class Stuck(vespiary.Handler):
        def on_message(self, connection: vespiary.Connection, message: str) -> None:
            released.wait(10)
            connection.send(message)

    server = vespiary.Server()
    server.add(Stuck, "ws://127.0.0.1:0", executor="threads")
    server.add(Echo, "ws://127.0.0.1:0")
    async with server:
        stuck = await vespiary.connect(server.urls[0])
        stuck.send("later")
        async with vespiary.connect(server.urls[1]) as lively:
            lively.send("now")
            assert await lively.receive() == "now"
        released.set()
        assert await stuck.receive() == "later"
        stuck.close()


async def test_messages_that_wait_for_a_thread_are_bounded() -> None:
    released = threading.Event()

    class Stuck(vespiary.Handler):
        def on_message(self, connection: vespiary.Connection, message: bytes) -> None:
            released.wait(10)

    limits = vespiary.Limits(inbox_messages_max=4)
    async with (
        serving(Stuck, executor="threads", limits=limits) as server,
        vespiary.connect(server.urls[0]) as client,
    ):
        sent = await send_until_full(client, bytes(32 << 10), most=2000)
        assert server.statistics().total.messages_received <= 32
        released.set()
        await until(lambda: server.statistics().total.messages_received == sent)


async def test_an_exception_on_a_thread_closes_its_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Bad(vespiary.Handler):
        def on_message(self, connection: vespiary.Connection, message: str) -> None:
            raise ZeroDivisionError

    async with serving(Bad, executor="threads") as server:
        client = await vespiary.connect(server.urls[0])
        client.send("x")
        assert (await client.wait_closed()).code == 1011
        await until(lambda: server.statistics().total.handler_errors == 1)
    assert [it.exc_info is not None for it in records(caplog, logging.ERROR)] == [True]


async def test_async_handlers_are_not_for_threads() -> None:
    with pytest.raises(vespiary.ConfigurationError, match="to_thread"):
        vespiary.Server().add(echo, TCP, executor="threads")
    with pytest.raises(vespiary.ConfigurationError, match="executor"):
        vespiary.Server().add(Echo, TCP, executor="processes")  # type: ignore[arg-type]


def path_of(connection: vespiary.Connection) -> str:
    request = connection.request
    assert request is not None
    return request.path


class Everything(vespiary.Handler):
    """Does on its threads what a handler does on the loop."""

    keep_request = True

    def __init__(self) -> None:
        self.seen: dict[str, object] = {}
        self.thread = threading.get_ident()

    def on_request(self, request: vespiary.Request) -> vespiary.Response | None:
        assert threading.get_ident() != self.thread
        return None if request.path == "/in" else request.respond(403)

    def on_open(self, connection: vespiary.Connection) -> None:
        self.seen["path"] = path_of(connection)
        self.seen["peer"] = connection.peer
        self.seen["subscribed"] = connection.subscribe("all")
        connection.ping(b"hello")
        connection.set_timer(0.001, self.timer_due)
        connection.send("open")

    def timer_due(self, connection: vespiary.Connection) -> None:
        assert threading.get_ident() != self.thread
        connection.send("timer")

    def on_message(self, connection: vespiary.Connection, message: str) -> None:
        self.seen["statistics"] = connection.statistics().messages_received
        connection.unsubscribe("all")
        connection.send_part(message, last=True)

    def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
        self.seen["reason"] = connection.close_reason
        self.seen["peer at the end"] = connection.peer


async def test_a_handler_on_threads_may_do_everything() -> None:
    handler = Everything()
    async with serving(handler, executor="threads") as server:
        url = server.urls[0].rstrip("/")
        with pytest.raises(vespiary.HandshakeRefused):
            await vespiary.connect(f"{url}/out")
        async with vespiary.connect(f"{url}/in") as client:
            assert {await client.receive(), await client.receive()} == {"open", "timer"}
            client.send("x")
            assert await client.receive() == "x"
        await until(lambda: "peer at the end" in handler.seen)
    assert handler.seen["path"] == "/in"
    assert handler.seen["peer"] is not None
    assert handler.seen["peer"] == handler.seen["peer at the end"]
    assert handler.seen["statistics"] == 1
    assert isinstance(handler.seen["reason"], vespiary.CloseReason)


async def test_a_request_that_blocks_its_thread_holds_up_nobody() -> None:
    released = threading.Event()

    class Slow(vespiary.Handler):
        def on_request(self, request: vespiary.Request) -> vespiary.Response:
            if request.path == "/slow":
                released.wait(10)
            return request.respond(200, request.path)

    async with serving(Slow, "http://127.0.0.1:0", executor="threads") as server:
        slow = asyncio.ensure_future(http_get(server, "/slow"))
        assert b"/quick" in await http_get(server, "/quick")
        assert not slow.done()
        released.set()
        assert b"/slow" in await slow


async def test_a_request_that_opens_no_connection_leaves_nothing_behind() -> None:
    asked: weakref.WeakSet[vespiary.Connection] = weakref.WeakSet()

    class Page(vespiary.Handler):
        def on_request(self, request: vespiary.Request) -> vespiary.Response:
            asked.add(request.connection)
            return request.respond(200, "hello")

    async with serving(Page, "http://127.0.0.1:0", executor="threads") as server:
        for _ in range(5):
            assert b"hello" in await http_get(server, "/")

        def is_gone() -> bool:
            gc.collect()
            return not asked

        await until(is_gone)


async def test_what_a_handler_pauses_stays_paused_whatever_waits_for_its_threads() -> None:
    class Pausing(vespiary.Handler):
        def __init__(self) -> None:
            self.messages: list[bytes] = []

        def on_message(self, connection: vespiary.Connection, message: bytes) -> None:
            self.messages.append(message)
            if message == b"pause":
                connection.pause_reading()

    handler = Pausing()
    limits = vespiary.Limits(inbox_messages_max=2)
    options = {"executor": "threads", "framing": "line", "limits": limits}
    async with (
        serving(handler, TCP, **options) as server,
        vespiary.connect(server.urls[0], framing="line") as connection,
    ):
        for message in (b"1", b"2", b"3", b"pause"):
            connection.send(message)
        await until(lambda: b"pause" in handler.messages)
        connection.send(b"late")
        await turns()
        assert b"late" not in handler.messages
        connection.abort()


async def http_get(server: vespiary.Server, path: str) -> bytes:
    port = int(server.urls[0].split(":")[2].split("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("driver", ["uring"], indirect=True)
async def test_a_thread_that_fails_while_the_loop_is_blocked_is_free_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The queue of calls is full by then, and stays so for as long as the loop is blocked."""
    errors: list[BaseException] = []
    failed = threading.Event()

    class Flood(vespiary.Handler):
        def on_message(self, connection: vespiary.Connection, message: bytes) -> None:
            try:
                while True:
                    connection.send(b"x" * 10)
            except vespiary.ThreadCallsFull as error:
                errors.append(error)
                failed.set()
                raise

    async with serving(Flood, TCP, framing="line", executor="threads") as server:
        client = await vespiary.connect(server.urls[0], framing="line")
        client.send("go")
        # The first send asks the loop, and the others need no answer.
        await client.receive()
        # Longer than the thread waits for room.
        assert failed.wait(15)
        threads = server._sites[0].threads
        assert threads is not None
        # The loop is still blocked.
        wait_until(lambda: not threads.is_busy)
        client.abort()
        await until(lambda: server.statistics().total.connections_open == 0)
    assert len(errors) == 1
    assert len(records(caplog, logging.ERROR)) == 1


class Finishing(vespiary.Handler):
    """Answers when it is released."""

    def __init__(self) -> None:
        self.going = threading.Event()
        self.working = threading.Semaphore(0)

    def on_message(self, connection: vespiary.Connection, message: str) -> None:
        self.working.release()
        self.going.wait(60)
        connection.send(f"finished {message}")


class Polite(Finishing):
    def on_shutdown(self, connection: vespiary.Connection) -> None:
        connection.send("goodbye")
        connection.close(1012)


@pytest.mark.parametrize(
    ("kind", "words", "code"),
    [(Finishing, [], 1001), (Polite, ["goodbye"], 1012)],
)
async def test_a_stop_waits_for_calls_in_progress_and_their_answers_arrive(
    kind: type[Finishing], words: list[str], code: int
) -> None:
    handler = kind()
    async with serving(handler, executor="threads") as server:
        busy = [await vespiary.connect(server.urls[0]) for _ in range(3)]
        idle = await vespiary.connect(server.urls[0])
        for client in busy:
            client.send("1")
            client.send("2")
        for _ in busy:
            await asyncio.to_thread(handler.working.acquire)
        stopping = asyncio.create_task(server.stop())
        if kind is Finishing:
            assert (await idle.wait_closed()).code == code
        assert all(client.is_open for client in busy)
        handler.going.set()
        for client in busy:
            assert [message async for message in client] == ["finished 1", "finished 2", *words]
            assert client.close_reason is not None
            assert client.close_reason.code == code
        await stopping


async def test_calls_that_outlast_the_stop_are_one_warning_and_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = set(threading.enumerate())
    handler = Finishing()
    async with serving(handler, executor="threads") as server:
        clients = [await vespiary.connect(server.urls[0]) for _ in range(2)]
        for client in clients:
            client.send("1")
            await asyncio.to_thread(handler.working.acquire)
        await server.stop(drain_seconds=0)
        handler.going.set()
        for client in clients:
            await client.wait_closed()
    # Those of a server that another test has left may end later.
    made = [one for one in set(threading.enumerate()) - before if one.name[:9] == "vespiary_"]
    await until(lambda: not [one for one in made if one.is_alive()])
    found = records(caplog, logging.WARNING)
    assert [record.levelname for record in found] == ["WARNING", "WARNING"]
    assert "The time to finish is over" in found[0].getMessage()
    assert (
        "Still running on threads after the stop: 2 calls of the handler" in found[1].getMessage()
    )
    assert [record.exc_info for record in found] == [None, None]


async def test_a_lack_of_threads_fails_its_own_calls_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("vespiary_"):
            raise RuntimeError("can't start new thread")
        start(thread)

    async with serving(Echo, TCP, executor="threads", framing="line") as server:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            # As many as there may be threads.
            for _ in range(32):
                client = await vespiary.connect(server.urls[0], framing="line")
                client.send("x")
                with pytest.raises(vespiary.ConnectionClosed):
                    await client.receive()
        assert "can't start new thread" in caplog.text
        client = await vespiary.connect(server.urls[0], framing="line")
        client.send("x")
        assert await client.receive() == b"x"
