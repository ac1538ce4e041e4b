"""Context variables: a copy of the start's context for each connection, and no leak of it."""

import asyncio
import contextvars
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
        for url in server.urls:
            client = await vespiary.connect(url)
            client.send("the client's own")
            assert await client.receive() == "from on_start"
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
