"""Context variables: a copy of the start's context for each connection, and no leak of it."""

import asyncio
import contextvars
import ctypes
import threading
from typing import Any

import pytest

import vespiary

from .kit import TCP, WS, serving, until

NAME: contextvars.ContextVar[str] = contextvars.ContextVar("NAME", default="nobody")


class Sees(vespiary.Handler):
    """Says what it sees of the variable, and sets it to what it is sent."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def on_request(self, request: vespiary.Request) -> None:
        self.seen.append(("request", NAME.get()))

    def on_open(self, connection: vespiary.Connection) -> None:
        self.seen.append(("open", NAME.get()))

    def on_message(self, connection: vespiary.Connection, message: str) -> None:
        connection.send(NAME.get())
        NAME.set(message)
        connection.set_timer(0, self.timer_due)

    def timer_due(self, connection: vespiary.Connection) -> None:
        self.seen.append(("timer", NAME.get()))

    def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
        self.seen.append(("close", NAME.get()))


class SeesAsync(Sees):
    async def on_message(  # type: ignore[override]
        self, connection: vespiary.Connection, message: str
    ) -> None:
        super().on_message(connection, message)


FORMS: list[Any] = [
    pytest.param(Sees, {}, id="plain"),
    pytest.param(SeesAsync, {}, id="async"),
    pytest.param(Sees, {"executor": "threads"}, id="threads"),
]


@pytest.mark.parametrize(("form", "options"), FORMS)
async def test_handlers_run_in_a_copy_of_the_context_of_the_start(
    form: type[Sees], options: dict[str, Any]
) -> None:
    handler = form()
    NAME.set("started")
    async with serving(handler, **options) as server:
        NAME.set("changed since")
        async with (
            vespiary.connect(server.urls[0]) as one,
            vespiary.connect(server.urls[0]) as other,
        ):
            one.send("one")
            assert await one.receive() == "started"
            other.send("other")
            assert await other.receive() == "started"
            one.send("once more")
            assert await one.receive() == "one"
            await until(lambda: ("timer", "once more") in handler.seen)
        await until(lambda: [what for what, _ in handler.seen].count("close") == 2)
    assert handler.seen.count(("open", "started")) == 2
    assert handler.seen.count(("request", "started")) == 2
    assert {name for what, name in handler.seen if what == "close"} == {"once more", "other"}
    assert NAME.get() == "changed since"


async def test_a_coroutine_and_its_tasks_run_in_the_connections_context() -> None:
    async def inner() -> str:
        return NAME.get()

    async def handler(connection: vespiary.Connection) -> None:
        async for message in connection:
            connection.send(await asyncio.create_task(inner()))
            NAME.set(message)

    NAME.set("started")
    async with (
        serving(handler) as server,
        vespiary.connect(server.urls[0]) as one,
        vespiary.connect(server.urls[0]) as other,
    ):
        for client, sent, expected in (
            (one, "1", "started"),
            (other, "2", "started"),
            (one, "3", "1"),
        ):
            client.send(sent)
            assert await client.receive() == expected
    assert NAME.get() == "started"


async def test_filters_see_the_connections_context() -> None:
    seen: list[str] = []

    class Filter(vespiary.Filter):
        def received(self, connection: vespiary.Connection, data: bytes) -> bytes:
            seen.append(NAME.get())
            return data

        def sending(self, connection: vespiary.Connection, data: bytes) -> bytes:
            seen.append(NAME.get())
            return data

    class Named(vespiary.Handler):
        def on_open(self, connection: vespiary.Connection) -> None:
            NAME.set("named by on_open")

        def on_message(self, connection: vespiary.Connection, message: bytes) -> None:
            connection.send(message)

    NAME.set("started")
    async with (
        serving(Named, TCP, filters=[Filter]) as server,
        vespiary.connect(server.urls[0]) as client,
    ):
        client.send(b"x")
        assert await client.receive() == b"x"
    assert seen == ["named by on_open", "named by on_open"]


async def test_a_clients_handler_runs_in_a_copy_of_the_context_of_connect() -> None:
    seen: list[str] = []

    class Client(vespiary.Handler):
        def on_open(self, connection: vespiary.Connection) -> None:
            seen.append(NAME.get())
            NAME.set("the client's own")

    NAME.set("the server's")
    async with serving(Sees()) as server:
        NAME.set("the client's")
        async with vespiary.connect(server.urls[0], Client()):
            assert seen == ["the client's"]
    assert NAME.get() == "the client's"


async def test_a_timer_of_the_server_runs_in_the_context_in_which_it_was_set() -> None:
    seen: list[str] = []
    async with serving(Sees()) as server:
        NAME.set("when it was set")
        server.set_timer(0.001, lambda: seen.append(NAME.get()))
        NAME.set("later")
        await until(lambda: seen)
    assert seen == ["when it was set"]


async def test_on_limit_does_not_leak_what_it_sets() -> None:
    seen: list[str] = []

    class Limited(vespiary.Handler):
        def on_limit(self, name: str, value: float) -> None:
            seen.append(NAME.get())
            NAME.set("leaked")

    NAME.set("started")
    limits = vespiary.Limits(message_bytes_max=10)
    async with serving(Limited, WS, limits=limits) as server:
        for _ in range(2):
            async with vespiary.connect(server.urls[0]) as client:
                client.send("x" * 100)
                await client.wait_closed()
    assert seen == ["started", "started"]


class Starts(vespiary.Handler):
    """Sets the variable when the server starts, and says what it sees of it later."""

    def __init__(self) -> None:
        self.at_stop = ""
        self.at_shutdown: list[str] = []

    def on_start(self, server: vespiary.Server) -> Any:
        NAME.set("from on_start")

    def on_message(self, connection: vespiary.Connection, message: str) -> None:
        connection.send(NAME.get())
        NAME.set(message)

    def on_shutdown(self, connection: vespiary.Connection) -> None:
        self.at_shutdown.append(NAME.get())
        connection.close()

    def on_stop(self, server: vespiary.Server) -> Any:
        self.at_stop = NAME.get()


class StartsAsync(Starts):
    async def on_start(self, server: vespiary.Server) -> None:
        await asyncio.sleep(0)
        NAME.set("from on_start")

    async def on_stop(self, server: vespiary.Server) -> None:
        await asyncio.sleep(0)
        self.at_stop = NAME.get()


@pytest.mark.parametrize("form", [Starts, StartsAsync])
@pytest.mark.parametrize("options", [{}, {"executor": "threads"}], ids=["loop", "threads"])
async def test_handlers_see_what_on_start_sets_and_its_caller_does_not(
    form: type[Starts], options: dict[str, Any]
) -> None:
    handler, added = form(), form()
    NAME.set("caller")
    async with serving(handler, **options) as server:
        server.add(added, WS, **options)
        assert NAME.get() == "caller"
        clients = [await vespiary.connect(url) for url in server.urls]
        for client in clients:
            client.send("the client's own")
            assert await client.receive() == "from on_start"
    for client in clients:
        await client.wait_closed()
    assert (handler.at_stop, added.at_stop) == ("from on_start", "from on_start")
    assert handler.at_shutdown == added.at_shutdown == ["the client's own"]
    assert NAME.get() == "caller"


async def test_an_on_start_may_add_endpoints_whose_on_start_sees_what_it_set() -> None:
    """Before the start and while the server runs: the context is entered already then."""
    seen: list[str] = []

    class Sees(vespiary.Handler):
        def on_start(self, server: vespiary.Server) -> None:
            seen.append(NAME.get())

    class Adds(vespiary.Handler):
        def __init__(self, name: str) -> None:
            self.name = name

        async def on_start(self, server: vespiary.Server) -> None:
            NAME.set(self.name)
            server.add(Sees(), WS)

    async with serving(Adds("first")) as server:
        server.add(Adds("second"), WS)
        await until(lambda: len(seen) == 2)
    assert seen == ["first", "second"]


@pytest.mark.parametrize("options", [{}, {"executor": "threads"}], ids=["plain", "threads"])
async def test_calls_in_a_row_run_in_the_context_of_their_connection_alone(
    options: dict[str, Any],
) -> None:
    """Many connections in one batch, with failures, inner contexts, timers and tasks between."""
    scheduled: list[str] = []
    wrong: list[tuple[str, str, str]] = []

    def check(where: str, connection: vespiary.Connection) -> None:
        if NAME.get() != connection.data:
            wrong.append((where, NAME.get(), connection.data))

    class Checks(vespiary.Handler):
        def on_open(self, connection: vespiary.Connection) -> None:
            NAME.set("")
            connection.data = ""

        def on_message(self, connection: vespiary.Connection, message: str) -> None:
            check("message", connection)
            connection.data += message
            NAME.set(connection.data)
            contextvars.copy_context().run(NAME.set, "inner")
            loop.call_soon_threadsafe(lambda: scheduled.append(NAME.get()))
            connection.set_timer(0, lambda it: check("timer", it))
            if message == "fail":
                raise ValueError(message)
            connection.send(NAME.get())

        def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
            check("close", connection)

    async def watch() -> None:
        while True:
            if NAME.get() != "outside":
                wrong.append(("task", NAME.get(), "outside"))
            await asyncio.sleep(0)

    NAME.set("outside")
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(watch())
    async with serving(Checks, **options) as server:
        clients = [await vespiary.connect(server.urls[0]) for _ in range(5)]
        for number, client in enumerate(clients):
            for _ in range(16):
                client.send(str(number))
            if number == 2:
                client.send("fail")
        for number, client in enumerate(clients):
            for count in range(1, 17):
                assert await client.receive() == str(number) * count
        await until(lambda: len(scheduled) == 81)
        for client in clients:
            client.close()
        await until(lambda: server.statistics().total.connections_open == 0)
        # On threads a method may still be under way.
        await until(lambda: server.statistics().total.handler_errors == 1)
    task.cancel()
    assert not wrong
    assert all(len(set(name.removesuffix("fail"))) == 1 for name in scheduled)
    assert NAME.get() == "outside"


def test_a_handler_that_leaves_another_context_entered_fails_its_own_connection_alone(
    driver: str, caplog: pytest.LogCaptureFixture
) -> None:
    enter = ctypes.pythonapi.PyContext_Enter
    enter.argtypes = [ctypes.py_object]
    seen: list[tuple[str, str]] = []

    class Leaves(vespiary.Handler):
        def on_message(self, connection: vespiary.Connection, message: str) -> None:
            NAME.set(message)
            if message == "leave":
                stray = contextvars.copy_context()
                stray.run(NAME.set, "stray")
                enter(stray)
            connection.send(message)

        def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
            seen.append((NAME.get(), reason.text))

    async def exchange() -> None:
        async with serving(Leaves) as server:
            other = await vespiary.connect(server.urls[0])
            other.send("other")
            assert await other.receive() == "other"
            async with vespiary.connect(server.urls[0]) as client:
                client.send("leave")
                reason = await client.wait_closed()
                assert reason.code == vespiary.CloseCode.INTERNAL_ERROR
            other.send("once more")
            assert await other.receive() == "once more"
            other.close()
            await until(lambda: len(seen) == 2)

    # The context stays entered in the thread, so the thread has to end.
    errors: list[BaseException] = []

    def run() -> None:
        try:
            vespiary.run(asyncio.wait_for(exchange(), 20), driver=driver)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not errors
    assert seen == [("leave", "the handler failed"), ("once more", "")]
    assert "different context object" in caplog.text
