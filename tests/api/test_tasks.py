"""What a connection's methods return, in asyncio's functions for coroutines and tasks."""

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

import vespiary

from .kit import WS, Echo, serving, until

Method = Callable[[vespiary.Connection], Coroutine[Any, Any, Any]]
METHODS: dict[str, Method] = {
    "receive": lambda it: it.receive(),
    "receive within": lambda it: it.receive(timeout=60),
    "ping": lambda it: it.ping(),
    "drain": lambda it: it.drain(),
    "close": lambda it: it.close(),
    "wait_closed": lambda it: it.wait_closed(),
}


@pytest.mark.parametrize("name", METHODS)
async def test_each_may_be_a_task_and_stand_in_gather_shield_and_wait_for(name: str) -> None:
    method = METHODS[name]
    async with serving(Echo) as server:
        runs: list[Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]]] = [
            asyncio.create_task,
            asyncio.ensure_future,
            asyncio.shield,
            asyncio.gather,
            lambda it: asyncio.wait_for(it, 60),
        ]
        for run in runs:
            connection = await vespiary.connect(server.urls[0])
            connection.send("hello")
            waiting = run(method(connection))
            if name == "wait_closed":
                asyncio.get_running_loop().call_soon(connection.close)
            outcome = await waiting
            if run is asyncio.gather:
                [outcome] = outcome
            if name in ("close", "wait_closed"):
                assert outcome.code == 1000
            if name.startswith("receive"):
                assert outcome == "hello"
            await connection.close()


@pytest.mark.parametrize("name", ["receive", "wait_closed", "ping", "drain"])
async def test_a_task_of_it_can_be_cancelled(name: str) -> None:
    class Deaf(vespiary.Handler):
        def on_open(self, connection: vespiary.Connection) -> None:
            connection.pause_reading()

    async with serving(Deaf, deadlines=vespiary.Deadlines(close_seconds=0.1)) as server:
        connection = await vespiary.connect(
            server.urls[0], deadlines=vespiary.Deadlines(close_seconds=0.1)
        )
        if name == "drain":
            for _ in range(100):
                connection.send(bytes(100_000))
        task = asyncio.create_task(METHODS[name](connection))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert connection.is_open
        connection.abort()


async def test_what_nobody_awaits_is_silent(whole_log: pytest.LogCaptureFixture) -> None:
    async with serving(Echo) as server:
        connection = await vespiary.connect(server.urls[0])
        connection.ping()
        _ = connection.drain()
        with pytest.warns(RuntimeWarning, match="never awaited"):
            connection.wait_closed()  # type: ignore[unused-coroutine]
        connection.abort()
        connection.close()
        await connection.wait_closed()
    assert [it for it in whole_log.records if it.levelno > logging.INFO] == []


@pytest.mark.parametrize("levels", [1, 3])
async def test_a_group_of_nothing_but_the_end_does_not_count_as_an_error_of_the_handler(
    levels: int,
) -> None:
    ended = asyncio.Event()

    async def talk(connection: vespiary.Connection, level: int = levels) -> None:
        async def read() -> None:
            while True:
                await connection.receive()

        async def write() -> None:
            while True:
                connection.send("tick")
                await asyncio.sleep(0)

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(read())
                group.create_task(write())
                if level > 1:
                    group.create_task(connection.wait_closed())
                    group.create_task(talk_again(connection, level - 1))
        finally:
            if level == levels:
                ended.set()

    async def talk_again(connection: vespiary.Connection, level: int) -> None:
        async with asyncio.TaskGroup() as group:
            if level > 1:
                group.create_task(talk_again(connection, level - 1))
            reason = await connection.wait_closed()
            raise vespiary.ConnectionClosed.from_reason(reason)

    async with serving(talk) as server:
        client = await vespiary.connect(server.urls[0])
        await client.receive()
        client.abort()
        await ended.wait()
        await until(lambda: server.statistics().total.connections_open == 0)
        assert server.statistics().total.handler_errors == 0


async def test_a_group_with_another_error_is_one() -> None:
    async def talk(connection: vespiary.Connection) -> None:
        reason = await connection.wait_closed()
        closed = vespiary.ConnectionClosed.from_reason(reason)
        raise ExceptionGroup("both", [closed, ExceptionGroup("inner", [ValueError("mine")])])

    async with serving(talk) as server:
        client = await vespiary.connect(server.urls[0])
        client.abort()
        await until(lambda: server.statistics().total.handler_errors == 1)


async def test_functions_that_would_never_run_are_refused_at_once() -> None:
    async def later(*_: object) -> None:
        raise AssertionError("nobody awaits it")

    class Object:
        async def __call__(self, *_: object) -> None: ...

    server = vespiary.Server()
    server.add(Echo, WS)
    async with server:
        connection = await vespiary.connect(server.urls[0])
        takers: list[Callable[[Any], object]] = [
            lambda it: connection.set_timer(0, it),
            lambda it: server.set_timer(0, it),
            server.call_soon_threadsafe,
        ]
        for take in takers:
            for function in (later, functools.partial(later, 1), Object(), Object().__call__):
                with pytest.raises(TypeError, match="async, so it would never"):
                    take(function)
            for value in (None, "function"):
                with pytest.raises(TypeError, match="takes a function"):
                    take(value)
        await connection.close()
    with pytest.raises(vespiary.ConfigurationError, match="is_final takes a plain function"):
        vespiary.Backoff(is_final=later)  # type: ignore[arg-type]
    with pytest.raises(vespiary.ConfigurationError, match="on_serving= takes a plain function"):
        server.run(on_serving=later)
    with pytest.raises(vespiary.ConfigurationError, match="plain functions"):
        vespiary.connect(WS, filters=[later])  # type: ignore[list-item]


async def test_the_errors_for_arguments_of_a_wrong_type_say_what_is_wanted() -> None:
    async with serving(Echo) as server:
        connection = await vespiary.connect(server.urls[0])
        wrong: dict[str, Callable[[], object]] = {
            "a message is bytes, str": lambda: connection.send(5),  # type: ignore[arg-type]
            "a ping carries bytes": lambda: connection.ping("x"),  # type: ignore[arg-type]
            "a close code is an int": lambda: connection.close("x"),  # type: ignore[arg-type]
            "a close reason is a text": lambda: connection.close(1000, 5),  # type: ignore[arg-type]
            "a topic is a text": lambda: connection.subscribe(5),  # type: ignore[arg-type]
            "a timer needs a number": lambda: connection.set_timer(
                "x",  # type: ignore[arg-type]
                print,
            ),
        }
        for words, call in wrong.items():
            with pytest.raises(TypeError, match=words):
                call()
        more: list[Callable[[], object]] = [
            lambda: connection.unsubscribe(5),  # type: ignore[arg-type]
            lambda: server.publish(5, "x"),  # type: ignore[arg-type]
            lambda: server.subscribers(5),  # type: ignore[arg-type]
        ]
        for call in more:
            with pytest.raises(TypeError, match="a topic is a text"):
                call()
        with pytest.raises(vespiary.ConfigurationError, match="timeout must be a number"):
            await connection.receive(timeout="x")  # type: ignore[arg-type]
        assert connection.is_open
        await connection.close()
