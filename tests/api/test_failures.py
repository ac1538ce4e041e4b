"""Exceptions of every class, at every place: each fails its connection and nothing else."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

import vespiary
from tests.logs import records

from .kit import TCP, Echo, forever, serving, until


class Own(BaseException):
    """Derived from BaseException directly."""


KINDS: list[Any] = [
    ValueError,
    asyncio.CancelledError,
    GeneratorExit,
    StopIteration,
    RecursionError,
    MemoryError,
    Own,
]


def cancelled_elsewhere() -> object:
    """CancelledError as it comes out of somebody else's future."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.cancel()
    return future.result()


def failing(place: str, kind: type[BaseException], *, is_async: bool = False) -> vespiary.Handler:
    def fail(*_: object) -> Any:
        raise kind("on purpose")

    async def fail_async(*_: object) -> Any:
        raise kind("on purpose")

    methods: dict[str, Any] = {"on_message": Echo.on_message}
    if place == "timer":
        methods["on_message"] = lambda self, connection, message: None
        methods["on_open"] = lambda self, connection: connection.set_timer(0, fail) and None
    else:
        methods[place] = fail_async if is_async else fail
    handler: vespiary.Handler = type("Failing", (vespiary.Handler,), methods)()
    return handler


async def survives(server: vespiary.Server) -> bool:
    """Whether the server's other endpoint still answers."""
    async with vespiary.connect(server.urls[1]) as client:
        client.send("alive")
        return bool(await client.receive() == "alive")


async def provoke(server: vespiary.Server) -> None:
    """Run into the failure, wherever it is."""
    try:
        async with asyncio.timeout(10), vespiary.connect(server.urls[0]) as client:
            client.send("x")
            await client.receive()
    except (vespiary.ConnectionClosed, vespiary.HandshakeRefused):
        pass


def failures(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return records(caplog, logging.ERROR)


PLACES = ["on_request", "on_open", "on_message", "on_close", "timer"]


@pytest.mark.parametrize("executor", [None, "threads"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", KINDS)
async def test_an_exception_of_any_class_fails_its_connection_and_is_logged_once(
    kind: type[BaseException],
    place: str,
    executor: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = vespiary.Server()
    server.add(failing(place, kind), "ws://127.0.0.1:0", executor=executor)
    server.add(Echo, "ws://127.0.0.1:0")
    async with server:
        await provoke(server)
        await until(lambda: failures(caplog))
        assert await survives(server)
        assert server.statistics().endpoints[0].handler_errors == 1
    [record] = failures(caplog)
    # A future takes no StopIteration: it becomes a RuntimeError (PEP 479).
    is_converted = kind is StopIteration and place == "on_request" and executor == "threads"
    expected = RuntimeError if is_converted else kind
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], expected)
    assert record.exc_info[2] is not None
    assert server.urls[0] in record.getMessage()
    assert "127.0.0.1:" in record.getMessage().split(", peer ")[1]


@pytest.mark.parametrize("place", ["on_request", "on_open", "on_message", "on_close"])
@pytest.mark.parametrize("kind", KINDS)
async def test_the_same_in_async_methods(
    kind: type[BaseException], place: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = vespiary.Server()
    server.add(failing(place, kind, is_async=True), "ws://127.0.0.1:0")
    server.add(Echo, "ws://127.0.0.1:0")
    async with server:
        await provoke(server)
        await until(lambda: failures(caplog))
        assert await survives(server)
        assert len(asyncio.all_tasks()) == 1
    [record] = failures(caplog)
    # StopIteration cannot leave a coroutine: Python makes a RuntimeError of it.
    expected = RuntimeError if kind is StopIteration else kind
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], expected)


def noting(place: str, kind: type[BaseException]) -> tuple[vespiary.Handler, list[int | None]]:
    """A handler that fails at a place, and the codes that its `on_close` is called with."""
    codes: list[int | None] = []

    class Noting(type(failing(place, kind, is_async=True))):  # type: ignore[misc]
        async def on_close(
            self, connection: vespiary.Connection, reason: vespiary.CloseReason
        ) -> None:
            codes.append(reason.code)

    return Noting(), codes


@pytest.mark.parametrize("place", ["on_open", "on_message", "on_shutdown"])
@pytest.mark.parametrize("kind", KINDS)
async def test_an_async_method_that_fails_beside_on_close_closes_with_1011(
    kind: type[BaseException], place: str, caplog: pytest.LogCaptureFixture
) -> None:
    handler, codes = noting(place, kind)
    server = vespiary.Server()
    server.add(handler, "ws://127.0.0.1:0")
    async with server:
        client = await vespiary.connect(server.urls[0])
        if place != "on_open":
            client.send("x")
        await client.receive() if place == "on_shutdown" else await client.wait_closed()
    assert (await client.wait_closed()).code == 1011
    assert codes == [1011]
    assert len(failures(caplog)) == 1
    assert server.statistics().total.handler_errors == 1


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_a_program_fails_the_connection_of_an_async_method_too(
    kind: type[BaseException], driver: str
) -> None:
    handler, codes = noting("on_message", kind)

    async def main() -> None:
        server = vespiary.Server()
        server.add(handler, "ws://127.0.0.1:0")
        async with server:
            await provoke(server)
            await forever()

    with pytest.raises(kind):
        vespiary.run(main(), driver=driver)
    assert codes == [1011]


@pytest.mark.parametrize("fail", [cancelled_elsewhere, lambda: exec("raise GeneratorExit")])
async def test_a_coroutine_that_raises_what_asyncio_uses_itself_has_failed(
    fail: Callable[[], object], caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(connection: vespiary.Connection) -> None:
        await connection.receive()
        fail()

    server = vespiary.Server()
    server.add(handler, "ws://127.0.0.1:0")
    server.add(Echo, "ws://127.0.0.1:0")
    async with server:
        client = await vespiary.connect(server.urls[0])
        client.send("x")
        assert (await client.wait_closed()).code == 1011
        assert await survives(server)
    assert len(failures(caplog)) == 1


@pytest.mark.parametrize("direction", ["received", "sending"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_filter_that_raises_resets_its_connection(
    kind: type[BaseException], direction: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> bytes:
        raise kind("on purpose")

    filter_class = type("Failing", (vespiary.Filter,), {direction: fail})
    server = vespiary.Server()
    server.add(Echo, TCP, filters=[filter_class])
    server.add(Echo, "ws://127.0.0.1:0")
    async with server:
        client = await vespiary.connect(server.urls[0])
        client.send(b"x")
        assert (await client.wait_closed()).kind == "broken"
        assert await survives(server)
    [record] = failures(caplog)
    assert server.urls[0] in record.getMessage()


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("place", ["on_open", "on_message", "timer"])
@pytest.mark.parametrize("executor", [None, "threads"])
def test_only_what_ends_a_program_stops_the_server_and_that_gracefully(
    kind: type[BaseException], place: str, executor: Any, driver: str
) -> None:
    stopped: list[str] = []
    farewells: list[int | None] = []

    class Other(vespiary.Handler):
        def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
            farewells.append(reason.code)

        def on_stop(self, server: vespiary.Server) -> None:
            stopped.append("stopped")

    async def main() -> None:
        server = vespiary.Server()
        server.add(failing(place, kind), "ws://127.0.0.1:0", executor=executor)
        server.add(Other, "ws://127.0.0.1:0")
        async with server:
            client = await vespiary.connect(server.urls[1])
            assert client.is_open
            await provoke(server)
            await forever()

    with pytest.raises(kind):
        vespiary.run(main(), driver=driver)
    assert stopped == ["stopped"]
    assert farewells == [1001]


class FailsAfterHalf(vespiary.Handler):
    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        connection.send("half an ans")
        raise LookupError


class FailsAsync(vespiary.Handler):
    async def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        connection.send("half an ans")
        await asyncio.sleep(0)
        raise LookupError


async def fails(connection: vespiary.Connection) -> None:
    async for _ in connection:
        connection.send("half an ans")
        await asyncio.sleep(0)
        raise LookupError


@pytest.mark.parametrize("framing", ["raw", "line", "length"])
@pytest.mark.parametrize(
    ("handler", "options"),
    [
        (FailsAfterHalf, {}),
        (FailsAfterHalf, {"executor": "threads"}),
        (FailsAsync, {}),
        (fails, {}),
    ],
)
async def test_a_stream_whose_handler_failed_is_reset(
    handler: Any, options: dict[str, Any], framing: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(handler, TCP, framing=framing, **options) as server:
        async with vespiary.connect(server.urls[0], framing=framing) as client:
            client.send("a")
            reason = await client.wait_closed()
        assert (reason.side, reason.kind) == ("remote", "broken")
        assert server.statistics().total.connections_broken == 1
    assert "LookupError" in caplog.text
