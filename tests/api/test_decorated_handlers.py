"""Hooks whose coroutine comes out of a plain function: it is awaited, or is an error."""

import contextlib
import functools
import logging
from collections.abc import Callable
from typing import Any

import pytest

import vespiary
from tests.logs import records

from .kit import TCP, WS, serving, until


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap an async function as decorators for logging and tracing do: in a plain function."""

    @functools.wraps(function)
    def wrapper(*arguments: Any) -> Any:
        return function(*arguments)

    return wrapper


def unmarked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same without `functools.wraps`, so that nothing says what is in it."""
    return lambda *arguments: function(*arguments)


def handler_with(name: str, method: Callable[..., Any]) -> type[vespiary.Handler]:
    def on_message(self: object, connection: vespiary.Connection, message: str) -> None:
        connection.send(message)

    return type("Decorated", (vespiary.Handler,), {"on_message": on_message, name: method})


@pytest.mark.parametrize("name", ["on_open", "on_message", "on_shutdown", "on_close"])
async def test_a_decorated_async_method_runs(name: str) -> None:
    ran = []

    async def hook(self: object, connection: vespiary.Connection, *details: object) -> None:
        ran.append(name)
        if name in ("on_message", "on_shutdown"):
            connection.close()

    async with serving(handler_with(name, decorated(hook))) as server:
        client = await vespiary.connect(server.urls[0])
        client.send("x")
        if name == "on_close":
            client.close()
        elif name == "on_shutdown":
            assert await client.receive() == "x"
            await server.stop()
        await until(lambda: ran)
        client.close()
        await client.wait_closed()
        await until(lambda: server.statistics().total.connections_open == 0)
        assert server.statistics().total.handler_errors == 0
    assert ran == [name]


async def test_a_decorated_async_function_is_a_handler() -> None:
    @decorated
    async def echo(connection: vespiary.Connection) -> None:
        async for message in connection:
            connection.send(message)

    async with serving(echo) as server, vespiary.connect(server.urls[0]) as client:
        client.send("x")
        assert await client.receive() == "x"


def test_threads_are_not_for_decorated_async_methods() -> None:
    async def hook(self: object, connection: vespiary.Connection, message: str) -> None:
        """Never runs."""

    handler = handler_with("on_message", decorated(hook))
    with pytest.raises(vespiary.ConfigurationError, match="plain methods"):
        vespiary.Server().add(handler, WS, executor="threads")


@pytest.mark.parametrize("executor", [None, "threads"])
async def test_a_decorated_async_on_request_is_awaited(executor: Any) -> None:
    async def hook(self: object, request: vespiary.Request) -> vespiary.Response:
        return request.respond(403, "no")

    handler = handler_with("on_request", decorated(hook))
    async with serving(handler, executor=executor) as server:
        with pytest.raises(vespiary.HandshakeRefused) as refused:
            await vespiary.connect(server.urls[0])
        assert refused.value.status == 403


@pytest.mark.parametrize("executor", [None, "threads"])
@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
@pytest.mark.parametrize(
    "name", ["on_open", "on_message", "on_part", "on_drain", "on_end", "on_close"]
)
async def test_a_coroutine_that_nobody_awaits_is_an_error(
    name: str, level: int, executor: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(level, logger="vespiary")

    async def later(self: object, connection: vespiary.Connection, *details: object) -> None:
        raise AssertionError("nobody awaits it")

    handler = handler_with(name, unmarked(later))
    if name == "on_part":
        handler.on_message = vespiary.Handler.on_message  # type: ignore[method-assign]
    if name == "on_drain":

        def on_open(self: object, connection: vespiary.Connection) -> None:
            connection.send(bytes(1_000_000))

        handler.on_open = on_open  # type: ignore[method-assign]
    url = TCP if name == "on_end" else WS
    async with serving(handler, url, executor=executor) as server:
        options: Any = {"framing": "line"} if url == TCP else {}
        client = await vespiary.connect(
            server.urls[0], limits=vespiary.Limits(message_bytes_max=None), **options
        )
        if name == "on_end":
            client.send_end()
        elif name == "on_close":
            client.close()
        else:
            # The connection may have failed in on_open.
            with contextlib.suppress(vespiary.ConnectionClosed):
                client.send("x")
        reason = await client.wait_closed()
        if url == WS and name != "on_close":
            assert reason.code == 1011
        await until(lambda: server.statistics().total.handler_errors == 1)
    (record,) = records(caplog, logging.ERROR)
    assert record.exc_info is not None
    assert "returned the coroutine" in str(record.exc_info[1])
    assert "which nobody awaits" in str(record.exc_info[1])


async def test_on_limit_that_returns_a_coroutine_is_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def later(self: object, name: str, value: float) -> None:
        raise AssertionError("nobody awaits it")

    handler = handler_with("on_limit", unmarked(later))
    limits = vespiary.Limits(message_bytes_max=10)
    async with serving(handler, limits=limits) as server:
        client = await vespiary.connect(server.urls[0])
        client.send("x" * 100)
        assert (await client.wait_closed()).code == 1009
    assert "which nobody awaits" in caplog.text


async def test_a_hook_may_return_what_need_not_be_awaited() -> None:
    class Sends(vespiary.Handler):
        def on_open(self, connection: vespiary.Connection) -> Any:
            return connection.send("hello")

        def on_message(self, connection: vespiary.Connection, message: str) -> Any:
            return connection.close()

    async with serving(Sends) as server, vespiary.connect(server.urls[0]) as client:
        assert await client.receive() == "hello"
        client.send("x")
        assert (await client.wait_closed()).code == 1000
        assert server.statistics().total.handler_errors == 0
