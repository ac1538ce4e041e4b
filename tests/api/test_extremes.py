"""Extreme values at every public function: an ordinary error, and a server that goes on."""

import asyncio
import contextlib
import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vespiary
from tests.logs import records
from vespiary.loop import Loop, running_core

from .kit import Echo, Recorder, serving, turns, until

EXTREMES: list[Any] = [
    0,
    -1,
    1,
    125,
    126,
    999,
    1000,
    4001,
    70000,
    (1 << 31) - 1,
    1 << 31,
    (1 << 63) - 1,
    1 << 63,
    -(1 << 63) - 1,
    1 << 200,
    math.inf,
    -math.inf,
    math.nan,
    1e308,
    5e-324,
    "",
    "\0",
    "\ud800",
    "x" * 70_000,
    b"",
    b"\xff" * 70_000,
    bytearray(b"x"),
    memoryview(b"abcd")[::2],
    None,
    True,
    [],
    {},
    (),
    object(),
]

values = st.one_of(
    st.sampled_from(EXTREMES),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
)
arguments = st.tuples(st.lists(values, max_size=3), st.one_of(st.none(), values))
"""Positional arguments, and the keyword one if it is not None."""

CALLS = [
    "send",
    "send_part",
    "ping",
    "close",
    "subscribe",
    "unsubscribe",
    "set_timer",
    "receive",
    "__class_getitem__",
    "_fail",
    "_report",
    "_answer",
    "_call_soon",
]

quick = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)


@contextlib.contextmanager
def ordinary_errors() -> Iterator[None]:
    """Let exceptions pass, except those of a panic."""
    try:
        yield
    except Exception as error:
        if "panic" in str(error).lower():
            raise


def called(target: Any, name: str, arguments: list[Any], keywords: dict[str, Any]) -> None:
    """Call it; anything but an ordinary exception is a failure of the test."""
    result = None
    with ordinary_errors():
        result = getattr(target, name)(*arguments, **keywords)
    if asyncio.iscoroutine(result):
        result.close()


async def survives(server: vespiary.Server) -> bool:
    async with vespiary.connect(server.urls[0]) as client:
        client.send("alive")
        return bool(await client.receive() == "alive")


@pytest.mark.parametrize("name", CALLS)
def test_a_connection_takes_any_argument(name: str, driver: str) -> None:
    @quick
    @given(calls=st.lists(arguments, min_size=1, max_size=10))
    def call_with(calls: list[tuple[list[Any], Any]]) -> None:
        async def main() -> None:
            recorder = EchoingRecorder()
            async with serving(recorder) as server:
                for positional, keyword in calls:
                    async with vespiary.connect(server.urls[0]):
                        await until(lambda: recorder.connections)
                        keywords = {} if keyword is None else {"compress": keyword}
                        called(recorder.connections.pop(), name, positional, keywords)
                        await asyncio.sleep(0)
                assert await survives(server)

        vespiary.run(asyncio.wait_for(main(), 50), driver=driver)

    call_with()


class EchoingRecorder(Recorder):
    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        super().on_message(connection, message)
        connection.send(message)


@pytest.mark.parametrize("name", ["publish", "subscribers", "set_timer", "call_soon_threadsafe"])
async def test_a_core_takes_any_argument(name: str) -> None:
    async with serving(Echo) as server:
        for value in EXTREMES:
            called(running_core(), name, [value], {})
            called(running_core(), name, [value, value], {})
            called(running_core(), name, ["topic", value], {})
        await turns()
        assert await survives(server)


@pytest.mark.parametrize("timeout", EXTREMES)
def test_select_takes_any_timeout(timeout: Any, driver: str) -> None:
    loop = Loop(driver=driver)
    with contextlib.closing(loop), ordinary_errors():
        loop.call_soon(loop.stop)
        loop._selector.select(timeout)


@pytest.mark.parametrize("place", ["on_open", "on_message"])
def test_a_handler_that_runs_the_loop_again_has_failed(
    place: str, driver: str, caplog: pytest.LogCaptureFixture
) -> None:
    def run_again(*_: object) -> None:
        loop: Any = asyncio.get_running_loop()
        loop._selector.select(0)

    async def main() -> None:
        handler: vespiary.Handler = type("Runs", (vespiary.Handler,), {place: run_again})()
        server = vespiary.Server()
        server.add(Echo, "ws://127.0.0.1:0")
        server.add(handler, "ws://127.0.0.1:0")
        async with server:
            client = await vespiary.connect(server.urls[1])
            with contextlib.suppress(vespiary.ConnectionClosed):
                client.send("x")
            assert (await client.wait_closed()).code == 1011
            assert await survives(server)

    # In Vespiary's own loop: others have no selector that is ours.
    vespiary.run(main(), driver=driver)
    assert [record.exc_info is not None for record in records(caplog)] == [True]


@pytest.mark.parametrize("name", ["spin_microseconds"])
@pytest.mark.parametrize("value", EXTREMES)
def test_a_loop_takes_any_option(name: str, value: Any, driver: str) -> None:
    with ordinary_errors():
        Loop(driver=driver, **{name: value}).close()


@pytest.mark.parametrize("option", vespiary.Limits.__dataclass_fields__)
async def test_every_limit_takes_its_extremes(option: str) -> None:
    for value in (1, 2, (1 << 31) - 1, 1 << 32, (1 << 63) - 1):
        try:
            limits = vespiary.Limits(**{option: value})
        except vespiary.LimitsError:
            continue
        try:
            async with (
                asyncio.timeout(5),
                serving(Echo, limits=limits) as server,
                vespiary.connect(server.urls[0], limits=limits) as client,
            ):
                client.send("alive")
                await client.receive()
        except (vespiary.VespiaryError, OSError, TimeoutError, OverflowError):
            pass
