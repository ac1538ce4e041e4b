"""on_start and on_stop, signals, and what a start that fails leaves behind."""

import asyncio
import os
import signal
import threading

import pytest

import vespiary

from .kit import OWN_HOST, OWN_TCP, TCP, WS, Echo, Recorder, serving


async def test_an_async_on_start_is_awaited_before_anything_is_accepted() -> None:
    free = asyncio.Event()
    order: list[str] = []

    class Prepared(Echo):
        async def on_start(self, server: vespiary.Server) -> None:
            order.append(server.urls[0])
            await free.wait()
            order.append("started")

        def on_open(self, connection: vespiary.Connection) -> None:
            order.append("open")

    server = vespiary.Server()
    server.add(Prepared, TCP)
    starting = asyncio.ensure_future(server.start())
    while not order:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert not order[0].endswith(":0")
    client = await vespiary.connect(order[0])
    for _ in range(50):
        await asyncio.sleep(0)
    assert order[1:] == []
    free.set()
    await starting
    client.send(b"hello")
    assert await client.receive() == b"hello"
    assert order[1:] == ["started", "open"]
    await server.stop()


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_on_start_that_fails_stops_the_start_and_undoes_it(is_async: bool) -> None:
    class Fails(vespiary.Handler):
        def on_start(self, server: vespiary.Server) -> object:  # type: ignore[override]
            async def fail() -> None:
                raise ZeroDivisionError

            if is_async:
                return fail()
            raise ZeroDivisionError

    recorder = Recorder()
    server = vespiary.Server()
    server.add(recorder, OWN_TCP)
    server.add(Fails, OWN_TCP)
    with pytest.raises(ZeroDivisionError) as raised:
        await server.start()
    assert raised.traceback[-1].name in ("fail", "on_start")
    assert recorder.names == ["start", "stop"]
    for url in server.urls:
        with pytest.raises(ConnectionRefusedError):
            await vespiary.connect(url)


async def test_an_async_on_start_of_an_endpoint_added_later_is_awaited_too() -> None:
    free = asyncio.Event()

    class Prepared(Echo):
        async def on_start(self, server: vespiary.Server) -> None:
            await free.wait()

    async with serving(Echo, TCP) as server:
        url = str(server.add(Prepared, TCP))
        client = await vespiary.connect(url)
        client.send(b"hello")
        assert server.statistics().endpoints[1].connections_accepted == 0
        free.set()
        assert await client.receive() == b"hello"


async def test_an_endpoint_added_later_whose_on_start_fails_is_removed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Fails(Echo):
        async def on_start(self, server: vespiary.Server) -> None:
            raise ZeroDivisionError

    async with serving(Echo, OWN_TCP) as server:
        url = str(server.add(Fails, OWN_TCP))
        while len(server.urls) > 1:  # noqa: ASYNC110
            await asyncio.sleep(0)
        with pytest.raises(ConnectionRefusedError):
            await vespiary.connect(url)
    assert f"on_start failed, endpoint removed: tcp://{OWN_HOST}:" in caplog.text
    assert "ZeroDivisionError" in caplog.text


async def test_on_start_may_add_endpoints() -> None:
    class Adds(Echo):
        def on_start(self, server: vespiary.Server) -> None:
            server.add(Echo, TCP)

    async with serving(Adds, TCP) as server:
        assert len(server.urls) == 2
        for url in server.urls:
            async with vespiary.connect(url) as client:
                client.send(b"hello")
                assert await client.receive() == b"hello"


async def test_a_handler_of_several_endpoints_starts_and_stops_once() -> None:
    recorder = Recorder()
    server = vespiary.Server()
    for url in (TCP, WS, TCP):
        server.add(recorder, url)
    async with server:
        assert recorder.names == ["start"]
    assert recorder.names == ["start", "stop"]


async def test_a_signal_stops_an_async_with_and_the_handlers_of_before_come_back() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    server = vespiary.Server()
    server.add(Echo, TCP)
    async with server:
        assert signal.getsignal(signal.SIGTERM) != before[signal.SIGTERM]
        os.kill(os.getpid(), signal.SIGTERM)
        await server.wait_stopped()
    assert {number: signal.getsignal(number) for number in before} == before


async def test_signals_can_be_left_to_the_program() -> None:
    before = signal.getsignal(signal.SIGTERM)
    server = vespiary.Server(signals=False)
    server.add(Echo, TCP)
    async with server:
        assert signal.getsignal(signal.SIGTERM) == before


async def test_a_handler_that_the_loop_has_for_a_signal_stays() -> None:
    got = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, got.set)
    try:
        async with serving(Echo, TCP) as server:
            os.kill(os.getpid(), signal.SIGTERM)
            await got.wait()
            assert server.urls
            async with vespiary.connect(server.urls[0]) as client:
                client.send(b"hello")
                assert await client.receive() == b"hello"
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


async def test_other_threads_reach_the_server_by_call_soon_threadsafe() -> None:
    wrong: list[str] = []
    right = asyncio.Event()

    async with serving(Echo, TCP) as server:

        def work() -> None:
            try:
                server.add(Echo, TCP)
            except RuntimeError as error:
                wrong.append(str(error))
            server.call_soon_threadsafe(server.add, Echo, TCP)
            server.call_soon_threadsafe(right.set)

        thread = threading.Thread(target=work)
        thread.start()
        await right.wait()
        thread.join()
        assert len(server.urls) == 2
        assert "call_soon_threadsafe" in wrong[0]


def test_a_server_that_does_not_run_says_so() -> None:
    server = vespiary.Server()
    for call in (
        lambda: server.publish("topic", "x"),
        lambda: server.subscribers("topic"),
        lambda: server.call_soon_threadsafe(print),
    ):
        with pytest.raises(RuntimeError, match="the server does not run"):
            call()
