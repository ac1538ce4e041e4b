"""Filters that await something: order, backpressure, ends; and stacks of all kinds of filters."""

import asyncio
import contextlib
import contextvars
import functools
import logging
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import vespiary
from tests.logs import records
from vespiary.filters import Deflate, RateLimit
from vespiary.testing import Faults, check_filter, run

from .kit import TCP, Echo, Recorder, serving, still_waits, until, virtual_time
from .test_filters import Rolling


class Slow(vespiary.Filter):
    """The cipher of `Rolling`, which takes its time, and now and then none."""

    def __init__(self) -> None:
        self._inner = Rolling()
        self._choose = random.Random(1)

    async def received(self, connection: vespiary.Connection, data: bytes) -> bytes:
        await self._pause()
        return self._inner.received(connection, data)

    async def sending(self, connection: vespiary.Connection, data: bytes) -> bytes:
        await self._pause()
        return self._inner.sending(connection, data)

    async def _pause(self) -> None:
        if self._choose.random() < 0.7:
            await asyncio.sleep(self._choose.choice([0, 0, 0.001, 0.1]))


class Gate(vespiary.Filter):
    """Lets bytes pass one after the other, when it is opened."""

    def __init__(self) -> None:
        self.opened_gate = asyncio.Event()
        self.calls: list[tuple[str, int]] = []

    async def received(self, connection: vespiary.Connection, data: bytes) -> bytes:
        return await self._wait("received", data)

    async def sending(self, connection: vespiary.Connection, data: bytes) -> bytes:
        return await self._wait("sending", data)

    async def _wait(self, what: str, data: bytes) -> bytes:
        self.calls.append((what, len(data)))
        try:
            await self.opened_gate.wait()
        except asyncio.CancelledError:
            self.calls.append(("cancelled", 0))
            raise
        return data


def made(kept: list[Gate]) -> Callable[[], Gate]:
    def make() -> Gate:
        kept.append(Gate())
        return kept[-1]

    return make


def test_an_async_filter_satisfies_what_every_filter_does() -> None:
    check_filter(Slow, peer=Slow, seeds=5)
    check_filter(Slow, peer=Rolling, seeds=3)


@virtual_time
@pytest.mark.parametrize("url", ["ws://127.0.0.1:0", TCP])
async def test_what_an_async_filter_passes_on_keeps_its_order(url: str) -> None:
    options: dict[str, Any] = {"filters": [Slow]}
    if url == TCP:
        options["framing"] = "length"
    async with (
        serving(Echo, url, **options) as server,
        vespiary.connect(server.urls[0], **options) as client,
    ):
        messages = [bytes([number]) * number * 20 for number in range(1, 200)]
        for message in messages:
            client.send(message)
        assert [await client.receive() for _ in messages] == messages


async def test_received_bytes_wait_behind_an_async_filter_and_their_peer_is_held_back() -> None:
    gates: list[Gate] = []
    recorder = Recorder()
    async with (
        serving(recorder, TCP, filters=[made(gates)]) as server,
        vespiary.connect(server.urls[0]) as client,
    ):
        client.send(bytes(16 << 20))
        draining = asyncio.ensure_future(client.drain())
        assert await still_waits(draining)
        assert server.statistics().total.bytes_received < 4 << 20
        assert len(gates[0].calls) == 1
        assert not [name for name in recorder.names if name == "message"]
        gates[0].opened_gate.set()
        await draining
        messages = recorder.calls
        await until(lambda: sum(len(it[1]) for it in messages if it[0] == "message") == 16 << 20)


async def test_what_is_sent_waits_in_the_write_queue_while_an_async_filter_works() -> None:
    gates: list[Gate] = []
    recorder = Recorder()
    async with (
        serving(recorder, TCP, framing="line", filters=[made(gates)]) as server,
        vespiary.connect(server.urls[0], framing="line") as client,
    ):
        await until(lambda: recorder.connections)
        connection = recorder.connections[0]
        connection.send(b"first")
        await until(lambda: gates and gates[0].calls == [("sending", 6)])
        connection.send(b"x" * 100_000)
        connection.send(b"last")
        draining = asyncio.ensure_future(connection.drain())
        assert await still_waits(draining)
        assert connection.queued_bytes >= 100_000
        # The end of the connection waits too.
        closing = asyncio.ensure_future(connection.close())
        assert await still_waits(closing)
        gates[0].opened_gate.set()
        assert [await client.receive() for _ in range(3)] == [b"first", b"x" * 100_000, b"last"]
        await closing
        with contextlib.suppress(vespiary.ConnectionClosed):
            await draining


async def test_an_async_filter_is_cancelled_when_its_connection_is_reset() -> None:
    gates: list[Gate] = []
    recorder = Recorder()
    async with serving(recorder, TCP, filters=[made(gates)]) as server:
        client = await vespiary.connect(server.urls[0])
        client.send(b"x")
        await until(lambda: gates and gates[0].calls)
        client.abort()
        await until(lambda: ("cancelled", 0) in gates[0].calls)
        await until(lambda: "close" in recorder.names)


async def test_an_async_filter_that_raises_resets_its_connection_and_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(vespiary.Filter):
        async def received(self, connection: vespiary.Connection, data: bytes) -> bytes:
            await asyncio.sleep(0)
            if b"bad" in data:
                raise ValueError("this filter is broken")
            return data

    async with (
        serving(Echo, TCP, framing="line", filters=[Broken]) as server,
        vespiary.connect(server.urls[0], framing="line") as good,
    ):
        bad = await vespiary.connect(server.urls[0], framing="line")
        bad.send(b"bad")
        reason = await bad.wait_closed()
        assert reason.kind == "broken"
        good.send(b"good")
        assert await good.receive() == b"good"
        assert server.statistics().total.handler_errors == 1
    assert len(records(caplog, logging.ERROR)) == 1


async def test_an_async_filter_runs_in_the_context_of_its_connection() -> None:
    name = contextvars.ContextVar("name", default="outside")
    seen: list[str] = []

    class Sees(vespiary.Filter):
        def opened(self, connection: vespiary.Connection) -> None:
            name.set("of the connection")

        async def received(self, connection: vespiary.Connection, data: bytes) -> bytes:
            await asyncio.sleep(0)
            seen.append(name.get())
            return data

    async with (
        serving(Echo, TCP, framing="line", filters=[Sees]) as server,
        vespiary.connect(server.urls[0], framing="line") as client,
    ):
        client.send(b"x")
        assert await client.receive() == b"x"
    assert seen == ["of the connection"]


class Shift(vespiary.Filter):
    """Adds a number to each byte; its opposite takes it away."""

    def __init__(self, number: int) -> None:
        self._number = number

    def received(self, connection: vespiary.Connection, data: bytes) -> bytes:
        return bytes((byte - self._number) & 0xFF for byte in data)

    def sending(self, connection: vespiary.Connection, data: bytes) -> bytes:
        return bytes((byte + self._number) & 0xFF for byte in data)


FILTERS = st.sampled_from(
    [
        Rolling,
        Slow,
        functools.partial(Shift, 7),
        functools.partial(Shift, 200),
        Deflate,
        functools.partial(RateLimit, received=1e6, sent=1e6),
    ]
)
"""Each undoes itself at the other end."""

LINES = st.lists(
    st.binary(max_size=300).map(lambda it: it.replace(b"\n", b"").replace(b"\r", b"")),
    min_size=1,
    max_size=5,
)


@example(stack=[Slow], lines=[bytes(2), bytes(7)], seed=4777)  # Ready while others are sent.
@given(stack=st.lists(FILTERS, max_size=5), lines=LINES, seed=st.integers(0, 1 << 30))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_stack_of_filters_passes_everything_on_however_the_stream_is_cut(
    stack: list[Callable[[], vespiary.Filter]], lines: list[bytes], seed: int
) -> None:
    # A connection has one rate limit at most.
    limits = [one for one in stack if isinstance(one(), RateLimit)]
    chain = [one for one in stack if one not in limits[1:]]

    async def main() -> list[bytes | str]:
        server = vespiary.Server()
        server.add(Echo, "tcp://127.0.0.1:7", framing="line", filters=chain)
        async with (
            server,
            vespiary.connect(server.urls[0], framing="line", filters=chain) as client,
        ):
            for line in lines:
                client.send(line)
            return [await client.receive() for _ in lines]

    choose = random.Random(seed)
    faults = Faults(
        read_bytes_max=choose.choice([1, 7, 64, 5000]), short_reads=0.5, short_writes=0.5
    )
    assert run(main(), seed=seed, faults=faults) == lines
