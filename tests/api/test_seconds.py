"""Numbers of seconds: what is not one is refused by name, before anything happens."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import vespiary

from .kit import Echo, serving

NOT_SECONDS = [float("nan"), float("inf"), -1, "5", b"1", True, 10**400, object(), [1]]

bad_seconds = pytest.mark.parametrize("bad", NOT_SECONDS, ids=lambda bad: f"{bad!r:.12}")


@bad_seconds
async def test_stop_refuses_what_is_not_a_number_of_seconds_and_the_server_continues(
    bad: Any,
) -> None:
    async with serving(Echo) as server:
        client = await vespiary.connect(server.urls[0])
        with pytest.raises(vespiary.ConfigurationError, match="drain_seconds must be a number of"):
            await server.stop(bad)
        client.send("still there?")
        assert await client.receive(timeout=5) == "still there?"


@bad_seconds
async def test_receive_refuses_what_is_not_a_number_of_seconds(bad: Any) -> None:
    async with serving(Echo) as server:
        client = await vespiary.connect(server.urls[0])
        with pytest.raises(vespiary.ConfigurationError, match="timeout must be a number of"):
            await client.receive(timeout=bad)


async def test_receive_without_time_times_out_at_once() -> None:
    async with serving(Echo) as server:
        client = await vespiary.connect(server.urls[0])
        with pytest.raises(TimeoutError):
            await client.receive(timeout=0)


@bad_seconds
async def test_the_synchronous_client_refuses_what_is_not_a_number_of_seconds(bad: Any) -> None:
    def use(url: str) -> None:
        with pytest.raises(vespiary.ConfigurationError, match="timeout must be a number of"):
            vespiary.sync.connect(url, timeout=bad)
        with vespiary.sync.connect(url, timeout=30) as client:
            calls: list[Callable[[], object]] = [
                lambda: client.receive(timeout=bad),
                lambda: client.send("x", timeout=bad),
                lambda: client.send_part("x", last=True, timeout=bad),
                lambda: client.send_end(timeout=bad),
                lambda: client.ping(timeout=bad),
                lambda: client.close(timeout=bad),
                lambda: client.wait_closed(timeout=bad),
            ]
            for call in calls:
                with pytest.raises(vespiary.ConfigurationError, match="timeout must be a number"):
                    call()
            client.send("hello", timeout=30)
            assert client.receive(timeout=30) == "hello"

    async with serving(Echo) as server:
        await asyncio.to_thread(use, server.urls[0])


@bad_seconds
def test_deadlines_and_backoff_refuse_it_in_the_same_words(bad: Any) -> None:
    words = "must be a number of seconds, .* and at most ten years"
    with pytest.raises(vespiary.ConfigurationError, match=words):
        vespiary.Deadlines(drain_seconds=bad)
    with pytest.raises(vespiary.ConfigurationError, match=words):
        vespiary.Backoff(budget_seconds=bad)
