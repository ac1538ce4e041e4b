"""How long a stop takes when tasks swallow their cancellation. In virtual time."""

import asyncio

import pytest

import vespiary
from tests.logs import lines

from .kit import forever, serving, until, virtual_time

CANCELS_MAX = 5
LATE = 0.2


class Stubborn:
    """Swallows its cancellation, `times` times."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.cancels: list[float] = []

    async def __call__(self, _connection: vespiary.Connection) -> None:
        while self.left > 0:
            try:
                await forever()
            except asyncio.CancelledError:
                self.left -= 1
                self.cancels.append(asyncio.get_running_loop().time())


class Silent(Stubborn):
    """Its peer does not answer the close either, so that it is reset."""

    async def __call__(self, connection: vespiary.Connection) -> None:
        connection.pause_reading()
        await super().__call__(connection)


async def stop(handler: Stubborn, drain_seconds: float, force_after: float | None = None) -> float:
    """Stop a server while the handler runs; how long it took."""
    loop = asyncio.get_running_loop()
    deadlines = vespiary.Deadlines(drain_seconds=drain_seconds)
    server = vespiary.Server()
    server.add(handler, "ws://127.0.0.1:0", deadlines=deadlines)
    await server.start()
    client = await vespiary.connect(server.urls[0])
    if isinstance(handler, Silent):
        client.pause_reading()
    await until(lambda: server.statistics().total.connections_open)
    began = loop.time()
    if force_after is not None:
        loop.call_later(force_after, server.stop_soon)
    await server.stop()
    took = loop.time() - began
    handler.left = 0
    client.abort()
    await client.wait_closed()
    return took


@virtual_time
@pytest.mark.parametrize("drain_seconds", [1, 3, 4, 8, 30])
@pytest.mark.parametrize("kind", [Stubborn, Silent])
async def test_a_task_that_swallows_every_cancellation_is_left_running_at_the_end_of_the_drain(
    kind: type[Stubborn], drain_seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    handler = kind(1000)
    took = await stop(handler, drain_seconds)
    # Close frames get a second at least, and the `on_close` of what was reset another one.
    bound = max(drain_seconds, drain_seconds * 3 / 4 + 1) + (1 if kind is Silent else 0)
    assert bound - 1.1 < took < bound + LATE
    assert len(handler.cancels) == CANCELS_MAX
    assert "Still running after 5 cancellations" in caplog.text


@virtual_time
async def test_the_default_fits_in_the_ten_seconds_that_containers_are_given() -> None:
    seconds = vespiary.Deadlines().drain_seconds
    assert seconds is not None
    assert await stop(Stubborn(1000), seconds) < 9.5
    assert await stop(Silent(1000), seconds) < 9.5


@virtual_time
@pytest.mark.parametrize("times", range(1, CANCELS_MAX))
async def test_a_task_that_swallows_a_few_cancellations_ends_in_time(
    times: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert await stop(Stubborn(times), 8) < 8 + LATE
    assert not any("Still running" in line for line in lines(caplog))


@virtual_time
@pytest.mark.parametrize("force_after", [1, 6.5])
async def test_a_second_request_ends_a_stop_within_a_second(force_after: float) -> None:
    handler = Stubborn(1000)
    assert await stop(handler, 8, force_after) < force_after + 1 + LATE
    assert len(handler.cancels) <= CANCELS_MAX


@virtual_time
async def test_a_task_that_cleans_up_has_a_second_before_it_is_cancelled_again() -> None:
    cleaned = []

    async def cleans(_connection: vespiary.Connection) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.9)
            cleaned.append(True)

    async with serving(cleans) as server:
        client = await vespiary.connect(server.urls[0])
        await until(lambda: server.statistics().total.connections_open)
        await server.stop()
        await client.wait_closed()
    assert cleaned
