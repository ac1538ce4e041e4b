"""Other threads: sending from them, closing, and asking."""

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pytest

import vespiary
from vespiary.loop import running_core

from .kit import TCP, Echo, Recorder, serving, turns, until


def block(seconds: float) -> None:
    """Keep this thread busy, as a slow handler does."""
    time.sleep(seconds)


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def test_any_thread_may_send_and_each_threads_order_is_kept() -> None:
    recorder = Recorder()
    async with serving(recorder) as server, vespiary.connect(server.urls[0]) as client:
        await until(lambda: recorder.connections)
        connection = recorder.connections[0]

        def send(name: int) -> None:
            for number in range(200):
                connection.send(f"{name} {number}")

        with ThreadPoolExecutor(4) as pool:
            sending = [asyncio.wrap_future(pool.submit(send, name)) for name in range(4)]
            heard: dict[int, list[int]] = {name: [] for name in range(4)}
            for _ in range(800):
                name, number = map(int, (await client.receive()).split())
                heard[name].append(number)
            await asyncio.gather(*sending)
    assert heard == {name: list(range(200)) for name in range(4)}


async def test_a_message_of_a_thread_is_what_it_was_when_it_was_sent() -> None:
    recorder = Recorder()
    async with serving(recorder) as server, vespiary.connect(server.urls[0]) as client:
        await until(lambda: recorder.connections)
        connection = recorder.connections[0]
        # From now on a thread's messages are queued without waiting for the loop.
        await asyncio.to_thread(connection.send, b"first")
        assert await client.receive() == b"first"

        def send() -> None:
            buffer = bytearray(4)
            for number in range(10):
                buffer[:] = number.to_bytes(4, "big")
                connection.send(buffer)
            with memoryview(buffer) as view:
                connection.send(view)
            buffer.clear()
            connection.send(buffer)
            buffer.extend(bytes(100_000))

        with ThreadPoolExecutor(1) as pool:
            pool.submit(send).result(60)  # The loop is blocked meanwhile.
        heard = [await client.receive() for _ in range(12)]
    expected = [number.to_bytes(4, "big") for number in range(10)]
    assert heard == [*expected, expected[-1], b""]


@pytest.mark.slow
async def test_a_call_that_the_loop_does_not_answer_in_time_is_withdrawn() -> None:
    recorder = Recorder()
    async with serving(recorder) as server, vespiary.connect(server.urls[0]) as client:
        await until(lambda: recorder.connections)
        connection = recorder.connections[0]
        connection.subscribe("bees")
        errors: list[Exception] = []

        def ask(call: Callable[[], object]) -> None:
            try:
                call()
            except RuntimeError as error:
                errors.append(error)

        calls: list[Callable[[], object]] = [
            lambda: connection.send(b"late"),
            lambda: server.publish("bees", b"late"),
            lambda: connection.subscribe("more"),
        ]
        with ThreadPoolExecutor(3) as pool:
            waiting = [pool.submit(ask, call) for call in calls]
            for one in waiting:
                one.result(60)  # The loop is blocked until all have failed.
        assert len(errors) == 3
        assert all("this call is cancelled" in str(error) for error in errors)
        connection.send(b"next")
        assert await client.receive() == b"next"
        assert server.publish("more", b"x") == 0


async def test_another_thread_may_close_and_abort() -> None:
    recorder = Recorder()
    async with serving(recorder) as server:
        one = await vespiary.connect(server.urls[0])
        other = await vespiary.connect(server.urls[0])
        await until(lambda: len(recorder.connections) == 2)
        await asyncio.to_thread(recorder.connections[0].close, 4000, "from a thread")
        reason = await one.wait_closed()
        assert (reason.code, reason.text) == (4000, "from a thread")
        await asyncio.to_thread(recorder.connections[1].abort)
        assert (await other.wait_closed()).kind == "broken"


async def test_another_thread_may_pause_and_resume_reading() -> None:
    recorder = Recorder()
    async with serving(recorder) as server, vespiary.connect(server.urls[0]) as client:
        await until(lambda: recorder.connections)
        await asyncio.to_thread(recorder.connections[0].pause_reading)
        await turns()
        client.send("held back")
        await turns()
        assert "message" not in recorder.names
        await asyncio.to_thread(recorder.connections[0].resume_reading)
        await until(lambda: "message" in recorder.names)


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (lambda it: it.subscribe("topic"), True),
        (lambda it: it.unsubscribe("none"), False),
        (lambda it: it.send_part(b"", last=True), None),
        (lambda it: it.ping(), None),
        (lambda it: it.statistics().messages_received, 0),
        (lambda it: it.is_open, True),
        (lambda it: it.is_shutting_down, False),
        (lambda it: it.peer[0], "127.0.0.1"),
        (lambda it: it.local_address[0], "127.0.0.1"),
        (lambda it: it.queued_bytes, 0),
        (lambda it: it.subprotocol, None),
        (lambda it: it.version, 13),
        (lambda it: it.extensions, []),
        (lambda it: it.close_reason, None),
        (lambda it: it.request.path, "/"),
        (lambda it: it.set_timer(60, print).cancel(), True),
    ],
)
async def test_what_gives_a_value_is_answered_by_the_loop(
    ask: Callable[[vespiary.Connection], object], expected: object
) -> None:
    class Asked(Recorder):
        keep_request = True

    recorder = Asked()
    async with serving(recorder) as server, vespiary.connect(server.urls[0]):
        await until(lambda: recorder.connections)
        answer = await asyncio.to_thread(ask, recorder.connections[0])
        if expected is not None:
            assert answer == expected
        await asyncio.to_thread(repr, recorder.connections[0])
        await asyncio.to_thread(setattr, recorder.connections[0], "data", "set elsewhere")
        assert recorder.connections[0].data == "set elsewhere"


@pytest.mark.parametrize("ask", [lambda it: it.drain(), lambda it: it.wait_closed()])
async def test_what_is_awaited_names_the_way_to_the_loop(
    ask: Callable[[vespiary.Connection], object],
) -> None:
    recorder = Recorder()
    async with serving(recorder) as server, vespiary.connect(server.urls[0]):
        await until(lambda: recorder.connections)
        with pytest.raises(RuntimeError, match=r"call_soon_threadsafe\(\) of the loop"):
            await asyncio.to_thread(ask, recorder.connections[0])


async def test_a_server_answers_every_thread() -> None:
    recorder = Recorder()
    async with serving(recorder) as server, vespiary.connect(server.urls[0]) as client:
        await until(lambda: recorder.connections)
        recorder.connections[0].subscribe("news")
        core = running_core()
        assert await asyncio.to_thread(server.publish, "news", "told by a thread") == 1
        assert await client.receive() == "told by a thread"
        assert await asyncio.to_thread(server.subscribers, "news") == 1
        statistics = await asyncio.to_thread(core.port_statistics)
        assert statistics["turns"] > 0
        fired = asyncio.Event()
        await asyncio.to_thread(core.set_timer, 0.001, fired.set)
        await fired.wait()
        called: list[object] = []
        await asyncio.to_thread(core.call_soon_threadsafe, called.append, 1)
        await until(lambda: called)


async def test_a_message_of_a_thread_for_a_connection_that_has_ended_is_refused() -> None:
    recorder = Recorder()
    async with serving(recorder) as server:
        async with vespiary.connect(server.urls[0]):
            await until(lambda: recorder.connections)
        await until(lambda: recorder.reasons)
        ended = recorder.connections[0]
        with pytest.raises(vespiary.ConnectionClosed):
            await asyncio.to_thread(ended.send, "too late")
        await asyncio.to_thread(ended.close)
        async with vespiary.connect(server.urls[0]):
            await until(lambda: len(recorder.connections) == 2)


async def test_a_thread_that_has_closed_a_connection_sends_nothing_more() -> None:
    recorder = Recorder()
    async with serving(recorder) as server, vespiary.connect(server.urls[0]):
        await until(lambda: recorder.connections)
        connection = recorder.connections[0]

        def close_and_send(close: Callable[[], object]) -> None:
            close()
            assert not connection.is_open
            with pytest.raises(vespiary.ConnectionClosed):
                connection.send("after the end")

        await asyncio.to_thread(close_and_send, connection.close)
        await until(lambda: recorder.reasons)


async def test_a_thread_that_is_ahead_of_the_loop_waits_for_it() -> None:
    recorder = Recorder()
    async with serving(recorder) as server, vespiary.connect(server.urls[0]) as client:
        await until(lambda: recorder.connections)
        connection = recorder.connections[0]
        before = resident_bytes()
        most = 0

        def flood() -> None:
            for _ in range(800):
                connection.send(bytes(64 << 10))
            connection.close()

        async def read() -> int:
            return sum([len(message) async for message in client])

        reading = asyncio.ensure_future(read())
        flooding = asyncio.ensure_future(asyncio.to_thread(flood))
        while not flooding.done():
            # The loop's thread is busy for a while, as with a slow handler.
            block(0.001)
            most = max(most, resident_bytes() - before)
            await asyncio.sleep(0)
        assert await reading == 800 * (64 << 10)
    # 52 MB were sent; a part of 16 MiB waits for the loop, and another for the peer.
    assert most < 32 << 20


def test_two_loops_in_two_threads_do_not_meet(driver: str) -> None:
    async def main(name: str) -> list[str]:
        async with serving(Echo) as server, vespiary.connect(server.urls[0]) as client:
            heard = []
            for number in range(200):
                client.send(f"{name} {number}")
                heard.append(await client.receive())
            return heard

    def run(name: str) -> list[str]:
        return vespiary.run(main(name), driver=driver)

    with ThreadPoolExecutor(2) as pool:
        for name, heard in zip("ab", pool.map(run, "ab"), strict=True):
            assert heard == [f"{name} {number}" for number in range(200)]


@pytest.mark.parametrize("framing", ["raw", "length"])
@pytest.mark.parametrize("is_in_parts", [False, True])
@pytest.mark.parametrize("size", [1_000, 50_000])
async def test_a_thread_waits_for_room_and_loses_nothing(
    framing: Literal["raw", "length"], is_in_parts: bool, size: int
) -> None:
    recorder = Recorder()
    limits = vespiary.Limits(write_bytes_max=300_000, write_high_bytes=100_000)
    count = 20_000_000 // size
    if is_in_parts and framing == "length":
        return  # It has no parts.
    async with (
        serving(recorder, TCP, framing=framing, limits=limits) as server,
        vespiary.connect(server.urls[0], framing=framing) as client,
    ):
        client.pause_reading()
        await until(lambda: recorder.connections)
        connection = recorder.connections[0]
        sent = 0

        def flood() -> None:
            nonlocal sent
            for number in range(count):
                piece = number.to_bytes(4, "big") * (size // 4)
                if is_in_parts:
                    connection.send_part(piece)
                else:
                    connection.send(piece)
                sent += 1
            connection.close()

        flooding = asyncio.ensure_future(asyncio.to_thread(flood))
        await until(lambda: connection.queued_bytes > 100_000)
        # Some credit is used before the thread waits.
        assert connection.queued_bytes <= 2 * 300_000
        assert not flooding.done()
        client.resume_reading()
        received = b"".join([message async for message in client])
        await flooding
        assert received == b"".join(n.to_bytes(4, "big") * (size // 4) for n in range(count))
        assert server.statistics().total.messages_dropped == 0


async def test_a_thread_that_waits_for_room_gets_the_end_of_the_connection() -> None:
    recorder = Recorder()
    limits = vespiary.Limits(write_bytes_max=300_000, write_high_bytes=100_000)
    async with (
        serving(recorder, limits=limits) as server,
        vespiary.connect(server.urls[0]) as client,
    ):
        client.pause_reading()
        await until(lambda: recorder.connections)
        connection = recorder.connections[0]

        def flood() -> None:
            while True:
                connection.send(bytes(10_000))

        flooding = asyncio.ensure_future(asyncio.to_thread(flood))
        await until(lambda: connection.queued_bytes > 100_000)
        client.abort()
        with pytest.raises(vespiary.ConnectionClosed):
            await flooding


async def test_a_handler_on_threads_waits_for_room() -> None:
    class Download(vespiary.Handler):
        def on_message(self, connection: vespiary.Connection, message: bytes) -> None:
            for number in range(2000):
                connection.send(number.to_bytes(4, "big") * 4096)
            connection.close()

    limits = vespiary.Limits(write_bytes_max=300_000, write_high_bytes=100_000)
    async with (
        serving(Download, TCP, executor="threads", limits=limits) as server,
        vespiary.connect(server.urls[0]) as client,
    ):
        client.send("go")
        received = b"".join([piece async for piece in client])
        assert received == b"".join(n.to_bytes(4, "big") * 4096 for n in range(2000))


async def test_a_message_that_never_fits_is_refused_to_the_thread() -> None:
    recorder = Recorder()
    limits = vespiary.Limits(write_bytes_max=1000, write_high_bytes=1000, write_low_bytes=1000)
    async with serving(recorder, limits=limits) as server, vespiary.connect(server.urls[0]):
        await until(lambda: recorder.connections)
        with pytest.raises(vespiary.WriteQueueFull, match="more than may ever wait"):
            await asyncio.to_thread(recorder.connections[0].send, bytes(2000))


async def test_what_was_dropped_is_still_counted_when_the_connection_has_ended() -> None:
    counts: list[int] = []

    class Counting(Recorder):
        def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
            counts.append(connection.statistics().messages_dropped)

    handler = Counting()
    limits = vespiary.Limits(write_bytes_max=300_000, write_high_bytes=100_000)
    async with (
        serving(handler, executor="threads", slow_consumer="drop-newest", limits=limits) as server,
        vespiary.connect(server.urls[0]) as client,
    ):
        client.pause_reading()
        await until(lambda: handler.connections)
        connection = handler.connections[0]
        while not connection.statistics().messages_dropped:
            connection.send(bytes(50_000))
        client.abort()
        await until(lambda: counts)
        assert counts == [server.statistics().total.messages_dropped]


async def test_a_policy_for_slow_consumers_holds_for_threads_too() -> None:
    recorder = Recorder()
    limits = vespiary.Limits(write_bytes_max=1000, write_high_bytes=1000, write_low_bytes=1000)
    async with (
        serving(recorder, limits=limits, slow_consumer="disconnect") as server,
        vespiary.connect(server.urls[0]),
    ):
        await until(lambda: recorder.connections)
        with pytest.raises(vespiary.ConnectionClosed, match="does not read"):
            await asyncio.to_thread(recorder.connections[0].send, bytes(2000))
        await until(lambda: recorder.reasons)
        assert "does not read" in recorder.reasons[0].text
        assert server.statistics().total.messages_dropped == 0


async def test_what_is_not_a_message_is_reported_to_the_thread_that_sends_it() -> None:
    recorder = Recorder()
    async with serving(recorder) as server, vespiary.connect(server.urls[0]):
        await until(lambda: recorder.connections)
        with pytest.raises(TypeError, match="a message is bytes"):
            await asyncio.to_thread(recorder.connections[0].send, 5)  # type: ignore[arg-type]


async def test_a_send_of_a_thread_out_of_turn_is_refused_or_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    recorder = Recorder()
    async with serving(recorder) as server, vespiary.connect(server.urls[0]) as client:
        await until(lambda: recorder.connections)
        connection = recorder.connections[0]
        connection.send_part("one ")
        # The first message of a thread waits for the answer.
        with pytest.raises(vespiary.SendRefused, match="in parts"):
            await asyncio.to_thread(connection.send, "in between")
        await asyncio.to_thread(connection.send, "in between again")
        await until(lambda: "could not be sent" in caplog.text)
        connection.send_part("two", last=True)
        assert await client.receive() == "one two"
