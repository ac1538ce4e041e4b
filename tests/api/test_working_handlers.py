"""A connection that has ended while its handler works on counts for the limits on connections."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

import vespiary

from .kit import WS, AnyHandler, Echo, serving, turns, until


class Work:
    """What handlers wait for, on the loop or on threads."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.done = asyncio.Event()
        self.done_on_threads = threading.Event()

    def finish(self) -> None:
        self.done.set()
        self.done_on_threads.set()


def coroutine(work: Work) -> tuple[AnyHandler, dict[str, Any]]:
    async def handle(connection: vespiary.Connection) -> None:
        async for _ in connection:
            await work.done.wait()

    return handle, {}


def methods(work: Work) -> tuple[AnyHandler, dict[str, Any]]:
    class Handler(vespiary.Handler):
        async def on_message(self, connection: vespiary.Connection, message: str) -> None:
            await work.done.wait()

    return Handler, {}


def goodbye(work: Work) -> tuple[AnyHandler, dict[str, Any]]:
    class Handler(vespiary.Handler):
        async def on_close(
            self, connection: vespiary.Connection, reason: vespiary.CloseReason
        ) -> None:
            await work.done.wait()

    return Handler, {}


def threads(work: Work) -> tuple[AnyHandler, dict[str, Any]]:
    class Handler(vespiary.Handler):
        def on_message(self, connection: vespiary.Connection, message: str) -> None:
            work.done_on_threads.wait()

    return Handler, {"executor": "threads"}


FORMS = [coroutine, methods, goodbye, threads]


def of(server: vespiary.Server) -> vespiary.EndpointStatistics:
    return server.statistics().total


async def refused(url: str) -> bool:
    try:
        async with vespiary.connect(url):
            return False
    except vespiary.HandshakeRefused as error:
        return error.status == 503


@pytest.mark.parametrize("limit", ["connections_max", "connections_per_address_max"])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
async def test_a_handler_that_works_on_after_the_end_keeps_its_connections_place(
    form: Callable[[Work], tuple[AnyHandler, dict[str, Any]]], limit: str
) -> None:
    work = Work()
    handler, options = form(work)
    limits = vespiary.Limits(**{limit: 2})
    async with serving(handler, limits=limits, **options) as server:
        try:
            for number in (1, 2):
                connection = await vespiary.connect(server.urls[0])
                connection.send("work")
                await until(lambda: of(server).messages_received == number)  # noqa: B023
                connection.abort()
            await until(lambda: of(server).connections_finishing == 2)
            assert of(server).connections_open == 0
            # The place does not count at once.
            while not await refused(server.urls[0]):
                await turns()
            assert dict(of(server).limits_reached) == {limit: 1}
        finally:
            work.finish()
        await until(lambda: of(server).connections_finishing == 0)
        assert not await refused(server.urls[0])


async def test_peers_that_come_back_at_once_find_a_place() -> None:
    limits = vespiary.Limits(connections_max=1, connections_per_address_max=1)

    class Handler(Echo):
        async def on_close(
            self, connection: vespiary.Connection, reason: vespiary.CloseReason
        ) -> None:
            for _ in range(10):
                await asyncio.sleep(0)

    async with serving(Handler, WS, limits=limits) as server:
        for _ in range(100):
            async with vespiary.connect(server.urls[0]) as connection:
                connection.send("there")
                assert await connection.receive() == "there"
        assert dict(of(server).limits_reached) == {}


async def test_a_request_on_threads_whose_client_has_left_keeps_its_place() -> None:
    work = Work()

    class Handler(vespiary.Handler):
        def on_request(self, request: vespiary.Request) -> vespiary.Response | None:
            work.done_on_threads.wait()
            return None

    limits = vespiary.Limits(connections_max=1)
    async with serving(Handler, WS, limits=limits, executor="threads") as server:
        try:
            connecting = asyncio.ensure_future(vespiary.connect(server.urls[0]).__aenter__())
            await until(lambda: of(server).handshakes_pending == 1)
            connecting.cancel()
            await until(lambda: of(server).connections_finishing == 1)
        finally:
            work.finish()
        await until(lambda: of(server).connections_finishing == 0)
