"""A stop while `on_start` is under way: the start is undone, and what has begun is cleaned up."""

import asyncio
import signal
from collections.abc import Callable

import pytest

import vespiary
from vespiary._signals import Signals

from .kit import OWN_TCP, OWN_WS, TCP, WS, Echo, Recorder, forever, serving, turns
from .test_stop import stop_in_a_task, stop_soon, stops


@stops
async def test_a_server_that_is_stopped_in_its_on_start_does_not_come_up(
    stop: Callable[..., object],
) -> None:
    calls: list[str] = []

    class Stops(Echo):
        async def on_start(self, server: vespiary.Server) -> None:
            await stop(server)  # type: ignore[misc]
            await turns()
            calls.append("started")

        def on_stop(self, server: vespiary.Server) -> None:
            calls.append("stopped")

    class Never(Echo):
        def on_start(self, server: vespiary.Server) -> None:
            calls.append("never")

    server = vespiary.Server()
    server.add(Stops, OWN_WS)
    server.add(Never, OWN_TCP)
    async with server:
        assert calls == ["started", "stopped"]
        await server.wait_stopped()
        for url in server.urls:
            with pytest.raises(ConnectionRefusedError):
                await vespiary.connect(url)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_plain_on_start_may_stop_the_server() -> None:
    class Stops(Recorder):
        def on_start(self, server: vespiary.Server) -> None:
            super().on_start(server)
            server.stop_soon()

    handler = Stops()
    server = vespiary.Server()
    server.add(handler, WS)
    await server.start()
    assert handler.names == ["start", "stop"]
    await server.wait_stopped()


class Starts(Recorder):
    """Its `on_start` takes until it is cancelled, and then some more."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()
        self.ends: list[str] = []

    async def on_start(self, server: vespiary.Server) -> None:  # type: ignore[override]
        self.begun.set()
        try:
            await forever()
        finally:
            self.ends.append("cancelled")
            await turns()
            self.ends.append("cleaned up")


async def _stop_twice(server: vespiary.Server) -> None:
    server.stop_soon()
    server.stop_soon()


@pytest.mark.parametrize("stop", [stop_soon, stop_in_a_task, _stop_twice])
async def test_an_on_start_in_progress_is_cancelled_at_once_and_cleans_up(
    stop: Callable[..., object], caplog: pytest.LogCaptureFixture
) -> None:
    before, starts = Recorder(), Starts()
    server = vespiary.Server()
    server.add(before, TCP)
    server.add(starts, WS, deadlines=vespiary.Deadlines(drain_seconds=3600))
    starting = asyncio.ensure_future(server.start())
    await starts.begun.wait()
    await stop(server)  # type: ignore[misc]
    await server.wait_stopped()
    # A second request cuts the cleanup short.
    assert starts.ends == ["cancelled", "cleaned up"][: 1 if stop is _stop_twice else 2]
    await starting
    assert (before.names, starts.names) == (["start", "stop"], [])
    assert "Cancelling on_start on ws://" in caplog.text


async def test_an_on_start_that_does_not_end_is_cancelled_again_after_the_drain(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun = asyncio.Event()
    cancels: list[str] = []

    class Waits(Recorder):
        async def on_start(self, server: vespiary.Server) -> None:  # type: ignore[override]
            begun.set()
            for name in ("first", "second"):
                try:
                    await forever()
                except asyncio.CancelledError:
                    cancels.append(name)

    server = vespiary.Server()
    server.add(Waits, WS)
    starting = asyncio.ensure_future(server.start())
    await begun.wait()
    await server.stop(0.01)
    await starting
    assert cancels == ["first", "second"]
    assert caplog.text.count("Cancelling on_start") == 1


async def test_a_signal_that_interrupts_on_start_itself_cancels_it_at_once() -> None:
    """Whose code a signal interrupts does not matter: `on_start` has not asked for the stop."""

    class Interrupted(Starts):
        async def on_start(self, server: vespiary.Server) -> None:  # type: ignore[override]
            signal.raise_signal(signal.SIGUSR1)
            await super().on_start(server)

    handler = Interrupted()
    server = vespiary.Server(signals=False)
    server.add(handler, WS, deadlines=vespiary.Deadlines(drain_seconds=3600))
    signals = Signals(asyncio.get_running_loop())
    signals.join(server)
    before = signal.signal(signal.SIGUSR1, lambda number, _: signals.receive(signal.SIGINT))
    try:
        await server.start()
    finally:
        signal.signal(signal.SIGUSR1, before)
        signals.leave(server, is_awaited=True)
    assert handler.ends == ["cancelled", "cleaned up"]


async def test_a_start_that_is_cancelled_is_undone() -> None:
    begun = asyncio.Event()

    class Waits(Echo):
        async def on_start(self, server: vespiary.Server) -> None:
            begun.set()
            await forever()

    before = Recorder()
    server = vespiary.Server()
    server.add(before, OWN_TCP)
    server.add(Waits, OWN_WS)
    starting = asyncio.ensure_future(server.start())
    await begun.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert before.names == ["start", "stop"]
    for url in server.urls:
        with pytest.raises(ConnectionRefusedError):
            await vespiary.connect(url)


async def test_the_on_start_of_an_endpoint_added_later_is_cancelled_and_awaited() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    class Waits(Echo):
        async def on_start(self, server: vespiary.Server) -> None:
            try:
                begun.set()
                await forever()
            finally:
                await turns()
                ended.set()

    async with serving(Echo) as server:
        server.add(Waits, TCP)
        await begun.wait()
    assert ended.is_set()
    assert asyncio.all_tasks() == {asyncio.current_task()}
