"""A loop that is closed while a server runs in it ends the server, quietly."""

import asyncio
import logging
import socket
import threading
from collections.abc import Awaitable, Callable

import pytest

import vespiary
from tests.logs import records

from .kit import TCP, Echo, forever, until

Loops = Callable[[], asyncio.AbstractEventLoop]

loops = pytest.mark.parametrize(
    "make_loop", [vespiary.loop.new_event_loop, asyncio.new_event_loop], ids=["own", "guest"]
)


async def in_receive(connection: vespiary.Connection) -> None:
    async for _ in connection:
        pass


async def in_wait_closed(connection: vespiary.Connection) -> None:
    await connection.wait_closed()


async def in_drain(connection: vespiary.Connection) -> None:
    await connection.send(b"x" * 10_000_000)


async def in_receive_with_a_timeout(connection: vespiary.Connection) -> None:
    while True:
        await connection.receive(timeout=3600)


class InOnMessage(vespiary.Handler):
    async def on_message(self, connection: vespiary.Connection, message: object) -> None:
        await forever()


class InOnClose(vespiary.Handler):
    async def on_close(self, connection: vespiary.Connection, reason: object) -> None:
        await forever()


HANDLERS: list[Callable[[vespiary.Connection], Awaitable[None]] | type[vespiary.Handler]] = [
    in_receive,
    in_wait_closed,
    in_drain,
    in_receive_with_a_timeout,
    InOnMessage,
    InOnClose,
    Echo,
]


def left_open(
    make_loop: Loops, handler: object
) -> tuple[vespiary.Server, asyncio.AbstractEventLoop, socket.socket]:
    """A server with a connection, in a loop that has stopped and is not closed yet."""
    server = vespiary.Server(signals=False)
    server.add(handler, TCP)  # type: ignore[arg-type]
    loop = make_loop()

    async def begin() -> socket.socket:
        await server.start()
        host, port = server.urls[0].removeprefix("tcp://").split(":")
        client = socket.create_connection((host, int(port)))
        client.sendall(b"hello")
        # One that has filled its write queue reads nothing.
        is_reading = handler is not in_drain
        await until(
            lambda: (
                server.statistics().total.messages_received
                if is_reading
                else server.statistics().total.connections_open
            )
        )
        server.publish("topic", "x")
        for _ in range(20):
            await asyncio.sleep(0)
        return client

    return server, loop, loop.run_until_complete(begin())


@loops
@pytest.mark.parametrize("handler", HANDLERS, ids=lambda it: it.__name__)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_close_of_a_loop_logs_no_error_of_the_server(
    make_loop: Loops, handler: object, caplog: pytest.LogCaptureFixture
) -> None:
    server, loop, client = left_open(make_loop, handler)
    with client, caplog.at_level(logging.INFO, "vespiary"):
        loop.close()
        server.stop_soon()
    errors = records(caplog, logging.WARNING)
    assert not errors


@loops
@pytest.mark.parametrize("is_elsewhere", [False, True])
@pytest.mark.parametrize("is_asked_first", [False, True])
@pytest.mark.filterwarnings("error")
def test_a_server_whose_loop_was_closed_has_stopped(
    make_loop: Loops, is_elsewhere: bool, is_asked_first: bool
) -> None:
    server, loop, client = left_open(make_loop, Echo)
    with client:
        loop.close()

    def ask() -> None:
        if is_asked_first:
            server.stop_soon()
            server.stop_soon()
        after = server.statistics()
        assert after.running_seconds == 0
        assert (after.total.messages_received, after.total.connections_open) == (1, 0)
        assert after.port.turns > 0
        assert after.topics.published == 1
        with pytest.raises(RuntimeError, match="the server does not run"):
            server.publish("topic", "x")

        async def end() -> None:
            await server.stop()
            await server.wait_stopped()
            async with server, vespiary.connect(server.urls[0]) as again:
                again.send(b"hello")
                assert await again.receive() == b"hello"

        asyncio.run(end())
        done.append(True)

    done: list[bool] = []
    if is_elsewhere:
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    else:
        ask()
    assert done


def test_statistics_are_answered_without_a_loop_before_and_after_a_run() -> None:
    server = vespiary.Server(signals=False)
    server.add(Echo, TCP)
    assert server.statistics().total.connections_accepted == 0

    async def main() -> None:
        async with server, vespiary.connect(server.urls[0]) as client:
            client.send(b"hello")
            await client.receive()

    asyncio.run(main())
    after = server.statistics()
    assert (after.total.connections_accepted, after.total.connections_open) == (1, 0)
    assert after.port.turns > 0

    async def elsewhere() -> None:
        assert server.statistics() == after

    asyncio.run(elsewhere())
