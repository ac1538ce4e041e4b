"""In asyncio's debug mode slow methods are named as the program's own."""

import asyncio
import time
from typing import Any

import pytest

import vespiary

from .kit import WS, until

SLOW = 0.02


def block() -> None:
    time.sleep(SLOW)


class Plain(vespiary.Handler):
    def on_request(self, request: vespiary.Request) -> None:
        block()

    def on_open(self, connection: vespiary.Connection) -> None:
        block()
        connection.set_timer(0, self.ticks)

    def ticks(self, connection: vespiary.Connection) -> None:
        block()

    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        block()
        connection.send(message)

    def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
        block()


class Async(vespiary.Handler):
    async def on_start(self, server: vespiary.Server) -> None:
        block()

    async def on_request(self, request: vespiary.Request) -> None:
        block()

    async def on_open(self, connection: vespiary.Connection) -> None:
        block()

    async def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        await asyncio.sleep(0)
        block()
        connection.send(message)


async def function(connection: vespiary.Connection) -> None:
    async for message in connection:
        await asyncio.sleep(0)
        block()
        connection.send(message)


async def woken(connection: vespiary.Connection) -> None:
    async for message in connection:
        block()
        connection.send(message)


async def receives(connection: vespiary.Connection) -> None:
    while True:
        message = await connection.receive()
        block()
        connection.send(message)


class Woken(vespiary.Handler):
    async def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        block()
        connection.send(message)


@pytest.mark.parametrize("handler", [woken, receives, Woken])
async def test_a_slow_step_of_a_task_that_a_message_wakes_is_logged(
    handler: Any, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = SLOW / 2
    server = vespiary.Server()
    server.add(handler, WS)
    async with server, vespiary.connect(server.urls[0]) as client:
        for _ in range(2):
            client.send("hello")
            await client.receive()
        name = handler.__name__
        await until(
            lambda: any(
                line.startswith("Executing <Task") and f"{name}" in line and "took 0." in line
                for line in caplog.messages
            )
        )
    loop.set_debug(False)


async def test_a_slow_step_of_a_client_that_a_message_wakes_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = SLOW / 2
    server = vespiary.Server()
    server.add(Echoes, WS)

    async def asks_and_blocks() -> None:
        async with vespiary.connect(server.urls[0]) as client:
            await asyncio.sleep(0.01)
            client.send("hello")
            await client.receive()
            block()

    async with server:
        await asyncio.create_task(asks_and_blocks())
        lines = [line for line in caplog.messages if "asks_and_blocks" in line]
        assert any(line.startswith("Executing <Task") for line in lines), lines
    loop.set_debug(False)


class Echoes(vespiary.Handler):
    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        connection.send(message)


@pytest.mark.parametrize(
    ("handler", "names"),
    [
        (Plain, ["on_request", "on_open", "ticks", "on_message", "on_close"]),
        (Async, ["on_start", "on_request", "on_open", "on_message"]),
        (function, []),
    ],
)
async def test_a_slow_method_is_logged_with_its_name_and_its_file(
    handler: Any, names: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = SLOW / 2
    wanted = [f"{handler.__name__}.{name}()" for name in names] or ["function()"]
    server = vespiary.Server()
    server.add(handler, WS)
    async with server:
        async with vespiary.connect(server.urls[0]) as client:
            client.send("hello")
            await client.receive()
        await until(lambda: server.statistics().total.connections_open == 0)
    loop.set_debug(False)
    lines = [line for line in caplog.messages if line.startswith("Executing")]
    for name in wanted:
        assert any(name in line and __file__ in line for line in lines), (name, lines)
    assert not any(
        "vespiary/_" in line.partition(" took ")[0].partition(" created at")[0]
        for line in lines
        if "Guest" not in line
    ), lines


async def test_a_slow_timer_of_the_server_is_logged_with_its_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = SLOW / 2
    done = asyncio.Event()

    def ticks() -> None:
        block()
        done.set()

    async with vespiary.Server() as server:
        server.set_timer(0, ticks)
        await done.wait()
        await until(lambda: "ticks() at" in caplog.text)
    loop.set_debug(False)
