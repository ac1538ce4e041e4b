"""Other threads: sending from them, and handlers that run on them."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import vespiary

from .kit import TCP, Echo, Recorder, echo, serving, until


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
        await asyncio.sleep(0.02)
        client.send("held back")
        await asyncio.sleep(0.05)
        assert "message" not in recorder.names
        await asyncio.to_thread(recorder.connections[0].resume_reading)
        await until(lambda: "message" in recorder.names)


@pytest.mark.parametrize(
    "verb",
    [
        lambda it: it.subscribe("topic"),
        lambda it: it.send_part(b""),
        lambda it: it.ping(),
        lambda it: it.drain(),
        lambda it: it.statistics(),
        lambda it: it.is_open,
        lambda it: it.peer,
    ],
)
async def test_the_rest_is_refused_to_other_threads(verb: object) -> None:
    recorder = Recorder()
    async with serving(recorder) as server, vespiary.connect(server.urls[0]):
        await until(lambda: recorder.connections)
        with pytest.raises(RuntimeError, match="thread"):
            await asyncio.to_thread(verb, recorder.connections[0])  # type: ignore[arg-type]
        await asyncio.to_thread(repr, recorder.connections[0])
        await asyncio.to_thread(setattr, recorder.connections[0], "data", "set elsewhere")
        assert recorder.connections[0].data == "set elsewhere"


async def test_sending_from_a_thread_to_a_closed_connection_harms_nobody() -> None:
    recorder = Recorder()
    async with serving(recorder) as server:
        async with vespiary.connect(server.urls[0]):
            await until(lambda: recorder.connections)
        await until(lambda: recorder.reasons)
        await asyncio.to_thread(recorder.connections[0].send, "too late")
        await asyncio.to_thread(recorder.connections[0].close)
        await asyncio.sleep(0.01)
        async with vespiary.connect(server.urls[0]):
            await until(lambda: len(recorder.connections) == 2)


class Blocking(vespiary.Handler):
    """Sleeps in its thread, and remembers where it ran."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.calls: list[tuple[object, str]] = []
        self.threads: set[str] = set()
        self.running = 0
        self.together = 0

    def note(self, connection: vespiary.Connection, what: str) -> None:
        with self.lock:
            self.calls.append((connection, what))
            self.threads.add(threading.current_thread().name)

    def on_open(self, connection: vespiary.Connection) -> None:
        self.note(connection, "open")

    def on_message(self, connection: vespiary.Connection, message: str) -> None:
        with self.lock:
            self.running += 1
            self.together = max(self.together, self.running)
        time.sleep(0.01)
        self.note(connection, message)
        connection.send(message)
        with self.lock:
            self.running -= 1

    def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
        self.note(connection, "close")


async def test_handlers_on_threads_keep_each_connections_order_and_run_together() -> None:
    handler = Blocking()
    async with serving(handler, executor="threads") as server:
        clients = [await vespiary.connect(server.urls[0]) for _ in range(4)]
        for number in range(10):
            for client in clients:
                client.send(str(number))
        for client in clients:
            for number in range(10):
                assert await client.receive() == str(number)
            client.close()
        await until(lambda: len(handler.calls) == 48)
    expected = ["open", *map(str, range(10)), "close"]
    for connection in {id(it): it for it, _ in handler.calls}.values():
        assert [what for it, what in handler.calls if it is connection] == expected
    assert handler.together > 1
    assert threading.current_thread().name not in handler.threads


async def test_a_blocking_handler_on_threads_does_not_hold_up_the_loop() -> None:
    released = threading.Event()

    class Stuck(vespiary.Handler):
        def on_message(self, connection: vespiary.Connection, message: str) -> None:
            released.wait(10)
            connection.send(message)

    server = vespiary.Server()
    server.add(Stuck, "ws://127.0.0.1:0", executor="threads")
    server.add(Echo, "ws://127.0.0.1:0")
    async with server:
        stuck = await vespiary.connect(server.urls[0])
        stuck.send("later")
        async with vespiary.connect(server.urls[1]) as lively:
            lively.send("now")
            assert await lively.receive() == "now"
        released.set()
        assert await stuck.receive() == "later"
        stuck.close()


async def test_messages_that_wait_for_a_thread_are_bounded() -> None:
    released = threading.Event()

    class Stuck(vespiary.Handler):
        def on_message(self, connection: vespiary.Connection, message: bytes) -> None:
            released.wait(10)

    limits = vespiary.Limits(inbox_messages_max=4)
    async with (
        serving(Stuck, executor="threads", limits=limits) as server,
        vespiary.connect(server.urls[0]) as client,
    ):
        sent = 0
        try:
            async with asyncio.timeout(0.4):
                while sent < 2000:
                    client.send(bytes(32 << 10))
                    sent += 1
                    await client.drain()
        except TimeoutError:
            pass
        assert sent < 2000
        assert server.statistics().total.messages_received <= 32
        released.set()
        await until(lambda: server.statistics().total.messages_received == sent)


async def test_an_exception_on_a_thread_closes_its_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Bad(vespiary.Handler):
        def on_message(self, connection: vespiary.Connection, message: str) -> None:
            raise ZeroDivisionError

    async with serving(Bad, executor="threads") as server:
        client = await vespiary.connect(server.urls[0])
        client.send("x")
        assert (await client.wait_closed()).code == 1011
        await until(lambda: server.statistics().total.handler_errors == 1)
    assert [record.exc_info is not None for record in caplog.records if record.levelno >= 40] == [
        True
    ]


async def test_async_handlers_are_not_for_threads() -> None:
    with pytest.raises(vespiary.ConfigurationError, match="to_thread"):
        vespiary.Server().add(echo, TCP, executor="threads")
    with pytest.raises(vespiary.ConfigurationError, match="executor"):
        vespiary.Server().add(Echo, TCP, executor="processes")  # type: ignore[arg-type]


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


async def test_what_a_thread_sends_to_a_full_queue_is_told_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
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
            for _ in range(200):
                connection.send(bytes(50_000))

        await asyncio.to_thread(flood)
        await until(lambda: connection.statistics().messages_dropped)
        await asyncio.sleep(0.05)
        total = server.statistics().total
        taken = connection.statistics().messages_sent
        assert total.messages_dropped == 200 - taken
        assert total.limits_reached == {"write_bytes_max": 200 - taken}
        assert connection.is_open
        client.resume_reading()
        for _ in range(taken):
            await client.receive()
    assert "write_bytes_max (300000)" in caplog.text


async def test_a_handler_hears_of_what_a_thread_could_not_send() -> None:
    events: list[tuple[str, int]] = []

    class Listening(Recorder):
        def on_limit(self, name: str, value: int) -> None:
            events.append((name, value))

    handler = Listening()
    limits = vespiary.Limits(write_bytes_max=1000, write_high_bytes=1000, write_low_bytes=1000)
    async with serving(handler, limits=limits) as server, vespiary.connect(server.urls[0]):
        await until(lambda: handler.connections)
        await asyncio.to_thread(handler.connections[0].send, bytes(2000))
        await until(lambda: events)
        assert events == [("write_bytes_max", 1000)]


async def test_a_policy_for_slow_consumers_holds_for_threads_too() -> None:
    recorder = Recorder()
    limits = vespiary.Limits(write_bytes_max=1000, write_high_bytes=1000, write_low_bytes=1000)
    async with (
        serving(recorder, limits=limits, slow_consumer="disconnect") as server,
        vespiary.connect(server.urls[0]),
    ):
        await until(lambda: recorder.connections)
        await asyncio.to_thread(recorder.connections[0].send, bytes(2000))
        await until(lambda: recorder.reasons)
        assert "does not read" in recorder.reasons[0].text
        assert server.statistics().total.messages_dropped == 0


async def test_what_is_no_message_is_told_to_the_thread_that_sends_it() -> None:
    recorder = Recorder()
    async with serving(recorder) as server, vespiary.connect(server.urls[0]):
        await until(lambda: recorder.connections)
        with pytest.raises(TypeError, match="a message is bytes"):
            await asyncio.to_thread(recorder.connections[0].send, 5)  # type: ignore[arg-type]


async def test_a_send_of_a_thread_out_of_turn_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    async with serving(recorder) as server, vespiary.connect(server.urls[0]) as client:
        await until(lambda: recorder.connections)
        connection = recorder.connections[0]
        connection.send_part("one ")
        await asyncio.to_thread(connection.send, "in between")
        await until(lambda: "was not taken" in caplog.text)
        connection.send_part("two", last=True)
        assert await client.receive() == "one two"
