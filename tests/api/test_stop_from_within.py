"""A server that is stopped, or waited for, by code that its end waits for."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import vespiary
from vespiary.handler import AnyHandler

from .kit import WS, Echo, serving, turns

Stop = Callable[[vespiary.Server], Awaitable[object]]


async def directly(server: vespiary.Server) -> None:
    await server.stop(3600)


async def in_a_task(server: vespiary.Server) -> None:
    await asyncio.create_task(server.stop(3600))


async def within_a_timeout(server: vespiary.Server) -> None:
    await asyncio.wait_for(server.stop(3600), 60)


async def in_a_task_group(server: vespiary.Server) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(server.stop(3600))


class Work:
    """Stops the server, and says when that has returned and what went on behind it."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop
        self.server = vespiary.Server(signals=False)
        self.done: list[str] = []

    async def run(self) -> None:
        await self.stop(self.server)
        self.done.append("returned")
        await turns()
        self.done.append("cleaned up")


def in_a_coroutine(work: Work) -> AnyHandler:
    async def handle(connection: vespiary.Connection) -> None:
        async for _ in connection:
            await work.run()

    return handle


def in_a_finally(work: Work) -> AnyHandler:
    async def handle(connection: vespiary.Connection) -> None:
        try:
            await connection.receive()
        finally:
            await work.run()

    return handle


def in_(hook: str) -> Callable[[Work], AnyHandler]:
    def make(work: Work) -> AnyHandler:
        async def method(self: object, *_: object) -> None:
            await work.run()

        async def on_request(self: object, request: vespiary.Request) -> vespiary.Response:
            await work.run()
            return request.accept()

        body = {hook: on_request if hook == "on_request" else method}
        return type("Stops", (vespiary.Handler,), body)

    make.__name__ = hook
    return make


PLACES = [in_a_coroutine, in_a_finally, *map(in_, ("on_open", "on_message", "on_request"))]


@pytest.mark.parametrize("stop", [directly, in_a_task, within_a_timeout, in_a_task_group])
@pytest.mark.parametrize("make", PLACES, ids=lambda make: make.__name__)
async def test_a_handler_that_stops_the_server_continues_and_is_waited_for(
    make: Callable[[Work], AnyHandler], stop: Stop
) -> None:
    work = Work(stop)
    server = work.server
    server.add(make(work), WS)
    server.add(Echo, WS)
    await server.start()
    other = await vespiary.connect(server.urls[1])
    try:
        client = await vespiary.connect(server.urls[0])
        client.send("stop")
    except vespiary.ConnectionClosed:
        assert make.__name__ == "on_request"
    await server.wait_stopped()
    assert work.done == ["returned", "cleaned up"]
    assert (await other.wait_closed()).code == 1001
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("hook", ["on_shutdown", "on_close"])
async def test_a_hook_of_the_end_may_stop_the_server_once_more(hook: str) -> None:
    work = Work(directly)
    server = work.server
    server.add(in_(hook)(work), WS)
    await server.start()
    client = await vespiary.connect(server.urls[0])
    if hook == "on_close":
        await client.close()
    else:
        stopping = asyncio.ensure_future(server.stop(3600))
        while not work.done:  # noqa: ASYNC110
            await asyncio.sleep(0)
        client.close()
        await stopping
    await server.wait_stopped()
    assert work.done == ["returned", "cleaned up"]


async def test_a_method_on_a_thread_may_wait_for_the_stop_to_begin() -> None:
    loop = asyncio.get_running_loop()
    returned: list[object] = []

    class Stops(vespiary.Handler):
        def on_message(self, connection: vespiary.Connection, message: object) -> None:
            future = asyncio.run_coroutine_threadsafe(server.stop(3600), loop)
            returned.append(future.result(60))

    async with serving(Stops, executor="threads") as server:
        client = await vespiary.connect(server.urls[0])
        client.send("stop")
        await server.wait_stopped()
    assert returned == [None]


async def test_a_handler_of_another_server_waits_for_the_end() -> None:
    """Also where the other server was started by a handler of the first."""
    inner = vespiary.Server(signals=False)
    calls: list[str] = []

    class Inner(vespiary.Handler):
        async def on_stop(self, server: vespiary.Server) -> None:
            await turns()
            calls.append("inner stopped")

    async def outer(connection: vespiary.Connection) -> None:
        inner.add(Inner, WS)
        await inner.start()
        await inner.stop()
        calls.append("goes on")

    async with serving(outer) as server:
        await (await vespiary.connect(server.urls[0])).wait_closed()
    assert calls == ["inner stopped", "goes on"]


async def refused(server: vespiary.Server, errors: list[str]) -> None:
    try:
        await server.wait_stopped()
    except RuntimeError as error:
        errors.append(str(error))


@pytest.mark.parametrize("hook", ["on_start", "on_stop"])
async def test_wait_stopped_in_a_hook_of_the_server_is_an_error(hook: str) -> None:
    errors: list[str] = []

    async def method(self: object, server: vespiary.Server) -> None:
        await refused(server, errors)

    async with serving(type("Waits", (vespiary.Handler,), {hook: method})):
        pass
    assert len(errors) == 1
    assert "wait_stopped() in on_start or on_stop would wait for itself" in errors[0]


async def test_wait_stopped_in_the_on_start_of_an_endpoint_added_later_is_an_error() -> None:
    errors: list[str] = []

    class Waits(vespiary.Handler):
        async def on_start(self, server: vespiary.Server) -> None:
            await refused(server, errors)

    async with serving(Echo) as server:
        server.add(Waits, WS)
        while not errors:  # noqa: ASYNC110
            await asyncio.sleep(0)


HOOKS = ["on_open", "on_message", "on_request", "on_shutdown", "on_close"]


@pytest.mark.parametrize("hook", HOOKS)
async def test_wait_stopped_in_a_handler_is_an_error(hook: str) -> None:
    errors: list[str] = []

    async def method(self: object, *_: object) -> None:
        await refused(server, errors)

    async def on_request(self: object, request: vespiary.Request) -> vespiary.Response:
        await refused(server, errors)
        return request.accept()

    body: Any = {hook: on_request if hook == "on_request" else method}
    async with serving(type("Waits", (vespiary.Handler,), body)) as server:
        client = await vespiary.connect(server.urls[0])
        client.send("x")
        if hook == "on_shutdown":
            server.stop_soon()
        while not errors:
            if hook == "on_close":
                client.close()
            await asyncio.sleep(0)
        client.close()
    assert "wait_stopped() in a handler would wait for itself" in errors[0]


async def test_a_task_that_on_start_has_made_may_wait_for_the_end() -> None:
    class Watches(Echo):
        async def on_start(self, server: vespiary.Server) -> None:
            self.task = asyncio.ensure_future(server.wait_stopped())
            await turns()

    handler = Watches()
    async with serving(handler):
        assert not handler.task.done()
    await handler.task


async def test_every_hook_of_a_connection_runs_in_its_context_also_on_shutdown() -> None:
    """The context tells handlers apart from the program, so none may be called outside it."""

    async def stop(server: vespiary.Server) -> None:
        await server.stop(3600)
        done.append("returned")

    done: list[str] = []

    class Stops(vespiary.Handler):
        def on_shutdown(self, connection: vespiary.Connection) -> None:
            self.task = asyncio.ensure_future(stop(server))
            self.task.add_done_callback(lambda _: connection.close())

    async with serving(Stops) as server:
        client = await vespiary.connect(server.urls[0])
        await server.stop(3600)
        await client.wait_closed()
    assert done == ["returned"]
