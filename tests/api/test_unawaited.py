"""What a connection returns to be awaited, and nobody awaits."""

import asyncio
import gc
import warnings

import pytest

import vespiary

from .kit import Recorder, serving, until


def never_awaited(caught: list[warnings.WarningMessage]) -> list[str]:
    return [str(one.message) for one in caught if "never awaited" in str(one.message)]


async def test_a_wait_for_the_end_that_nobody_awaits_is_a_warning() -> None:
    async with serving(Recorder) as server, vespiary.connect(server.urls[0]) as client:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            client.wait_closed()  # type: ignore[unused-coroutine]
            gc.collect()
        assert never_awaited(caught) == ["connection.wait_closed() was never awaited"]
        assert caught[0].category is RuntimeWarning


async def test_a_drain_that_nobody_awaits_is_a_warning_where_it_would_wait() -> None:
    class Unread(vespiary.Handler):
        def on_open(self, connection: vespiary.Connection) -> None:
            connection.pause_reading()

    limits = vespiary.Limits(write_high_bytes=2, write_low_bytes=1)
    async with (
        serving(Unread) as server,
        vespiary.connect(server.urls[0], limits=limits) as client,
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            client.drain()  # type: ignore[unused-coroutine]
            client.send(bytes(1 << 20))
            client.drain()  # type: ignore[unused-coroutine]
            gc.collect()
        assert never_awaited(caught) == ["connection.drain() was never awaited"]
        client.abort()


async def test_what_may_be_ignored_and_what_was_awaited_gives_no_warning() -> None:
    recorder = Recorder()
    async with serving(recorder) as server:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            async with vespiary.connect(server.urls[0]) as client:
                client.ping()
                client.send("a message")
                client.receive()  # type: ignore[unused-coroutine]
                waiting = asyncio.create_task(client.wait_closed())
                cancelled = asyncio.create_task(client.wait_closed())
                cancelled.cancel()
                await asyncio.wait([cancelled])
                client.close()
                await waiting
                await client.wait_closed()
            await until(lambda: recorder.reasons)
            del client, waiting, cancelled
            gc.collect()
        assert never_awaited(caught) == []


def test_a_warning_that_is_an_error_does_not_disturb_an_exception_in_progress() -> None:
    async def main() -> None:
        async with serving(Recorder) as server, vespiary.connect(server.urls[0]) as client:

            def fails() -> None:
                waiting = client.wait_closed()
                assert waiting is not None
                raise KeyError("the program's own")

            with pytest.raises(KeyError):
                fails()
            gc.collect()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vespiary.run(main())
