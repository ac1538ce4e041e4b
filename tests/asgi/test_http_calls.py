"""What a call of an application is made of: its header fields, its awaitables, its task."""

import asyncio
import contextvars
import gc
import logging
import weakref
from typing import Any

import pytest

import vespiary

from .kit import HTTP, Receive, Send, ask, connected, respond, serving, until

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def test_header_fields_of_many_requests_are_their_own() -> None:
    found: list[list[tuple[bytes, bytes]]] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        found.append(scope["headers"])
        # The application may change the list, for itself.
        scope["headers"].append((b"added", b"1"))
        await respond(send)

    expected = []
    names = [*(f"X-Field-{number}" for number in range(700)), "Cookie", "Authorization"]
    async with (
        serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server,
        connected(server) as client,
    ):
        for turn in range(2):
            for at in range(0, len(names), 50):
                # In the second turn every other field has another value.
                some = {name: str(turn * (at % 2)) for name in names[at : at + 50]}
                some["X-Long"] = "long" * 100
                some["X-Empty"] = ""
                await client.ask("GET", "/", None, **some)
                fields = [(name.lower().encode(), value.encode()) for name, value in some.items()]
                expected.append([(b"host", b"a"), *fields, (b"added", b"1")])
    assert found == expected


async def test_a_message_is_sent_when_it_is_awaited_and_only_once() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        start = send({"type": "http.response.start", "status": 200, "headers": []})
        wrong = send({"type": "http.response.body", "body": "text"})
        await start
        with pytest.raises(RuntimeError, match="already awaited"):
            await start
        with pytest.raises(TypeError, match="must be bytes"):
            await wrong
        # It is a coroutine, for those who make a task of it.
        received: Any = receive()
        seen.append((await asyncio.create_task(received))["type"])
        sent: Any = send({"type": "http.response.body", "body": b"sent"})
        await asyncio.create_task(sent)
        never: Any = send({"type": "http.response.body", "body": b"never"})
        never.close()

    assert (await ask(app)).body == b"sent"
    assert seen == ["http.request"]


async def test_an_exception_can_be_raised_where_a_message_waits() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        try:
            async with asyncio.timeout(0.01):
                await receive()
        except TimeoutError:
            seen.append("timeout")
        received: Any = receive()
        waiting = asyncio.create_task(received)
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await respond(send, b"done")

    assert (await ask(app)).body == b"done"
    assert seen == ["timeout"]


async def test_a_call_has_a_task_a_name_and_a_context_of_its_own() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        seen.append(variable.get())
        variable.set("set")
        if scope["path"] == "/slow":
            await asyncio.sleep(0)
            assert asyncio.current_task() is task
            coroutine: Any = task.get_coro()
            seen.append((variable.get(), coroutine.__name__, coroutine.cr_code is not None))
        await respond(send)

    async with (
        serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server,
        connected(server) as client,
    ):
        for path in ("/", "/slow", "/"):
            assert (await client.ask("GET", path)).status == 200
    assert seen == ["unset", "unset", ("set", "app", True), "unset"]


async def test_an_application_may_be_any_callable_that_returns_an_awaitable() -> None:
    class Answer:
        def __init__(self, send: Send) -> None:
            self.send = send

        def __await__(self) -> Any:
            return respond(self.send, b"awaited").__await__()

    def app(scope: Any, receive: Receive, send: Send) -> Any:
        return Answer(send)

    assert (await ask(app)).body == b"awaited"


async def test_messages_may_be_other_mappings_than_dicts() -> None:
    from collections import ChainMap, UserDict

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 201, "headers": ((b"a", b"b"),)}
        body: list[Any] = [{"type": "http.response.body"}, {"body": bytearray(b"x")}]
        messages: list[Any] = [UserDict(start), ChainMap(*body)]
        for message in messages:
            await send(message)

    reply = await ask(app)
    assert (reply.status, reply.header(b"a"), reply.body) == (201, b"b", b"x")


async def test_nothing_of_a_call_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    # A record of the exception would keep its traceback.
    caplog.set_level(logging.CRITICAL, "vespiary")
    kept: list[weakref.ref[Any]] = []

    class Marked(dict[str, Any]):
        pass

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        mark = Marked(type="http.response.body", body=b"x")
        kept.append(weakref.ref(mark))
        if scope["path"] == "/fails":
            raise ValueError(scope["path"])
        if scope["path"] == "/waits":
            await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send(mark)

    async with (
        serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server,
        connected(server) as client,
    ):
        for path in ("/", "/waits"):
            assert (await client.ask("GET", path)).status == 200
        await until(lambda: kept[0]() is None and kept[1]() is None)
        assert (await client.ask("GET", "/fails")).status == 500
    gc.collect()
    assert [mark() for mark in kept] == [None] * 3


async def test_a_factory_of_the_loop_makes_the_tasks_of_calls() -> None:
    loop = asyncio.get_running_loop()
    made: list[Any] = []

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        task = asyncio.Task(coroutine, loop=loop, **options)
        made.append(task)
        return task

    seen: list[bool] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        seen.append(asyncio.current_task() in made)
        if scope["path"] == "/slow":
            await asyncio.sleep(0)
        await respond(send, scope["path"].encode())

    async with (
        serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server,
        connected(server) as client,
    ):
        loop.set_task_factory(factory)
        try:
            for path in ("/quick", "/slow"):
                assert (await client.ask("GET", path)).body == path.encode()
        finally:
            loop.set_task_factory(None)
    assert seen == [True, True]
