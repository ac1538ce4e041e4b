"""The synchronous client: what it does alone, on threads, and against deadlines."""

import asyncio
import queue
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import vespiary
from tests.addresses import OWN_HOST
from tests.waiting import still_waits, wait_until
from vespiary import sync

from .conftest import Serving
from .kit import Echo, Silent, on_a_thread


async def count(connection: vespiary.Connection) -> None:
    for number in range(200):
        connection.send(str(number))
        await connection.drain()


def test_a_script_talks_without_a_loop(serving: Serving) -> None:
    url = serving(Echo).url
    with vespiary.sync.connect(url) as connection:
        for message in ("text ü", b"bytes", "", b"x" * 500_000):
            connection.send(message)
            assert connection.receive() == message
        connection.ping(b"there?")
        assert connection.is_open
        statistics = connection.statistics()
        assert (statistics.messages_sent, statistics.messages_received) == (4, 4)
        assert connection.peer == ("127.0.0.1", int(url.rpartition(":")[2].strip("/")))
    assert connection.close_reason is not None
    assert (connection.close_reason.side, connection.close_reason.code) == ("local", 1000)


def test_a_stream_takes_a_framing(serving: Serving) -> None:
    url = serving(Echo, "tcp://127.0.0.1:0", framing="line").url
    with sync.connect(url, framing="line") as connection:
        connection.send("one")
        connection.send(b"two")
        assert [connection.receive(), connection.receive()] == [b"one", b"two"]


def test_iterating_ends_with_the_connection(serving: Serving) -> None:
    with sync.connect(serving(count).url) as connection:
        assert list(connection) == [str(number) for number in range(200)]
        with pytest.raises(vespiary.RemoteClosed):
            connection.receive()


def test_iterating_reports_an_end_in_disorder(serving: Serving) -> None:
    async def cut(connection: vespiary.Connection) -> None:
        connection.send("one")
        await connection.receive()
        connection.abort()

    with sync.connect(serving(cut).url) as connection:
        messages = iter(connection)
        assert next(messages) == "one"
        connection.send("go")
        with pytest.raises(vespiary.RemoteError):
            next(messages)


def test_a_timeout_leaves_the_connection_as_it_was(serving: Serving) -> None:
    async def late(connection: vespiary.Connection) -> None:
        async for message in connection:
            connection.send(message)

    with sync.connect(serving(late).url) as connection:
        began = time.monotonic()
        with pytest.raises(TimeoutError, match=r"0\.05 s"):
            connection.receive(timeout=0.05)
        assert 0.04 < time.monotonic() - began < 1
        with pytest.raises(TimeoutError):
            connection.receive(timeout=0)
        connection.send("later")
        assert connection.receive(timeout=5) == "later"


def test_a_sender_waits_for_a_peer_that_does_not_read(serving: Serving) -> None:
    release = threading.Event()

    class Stalled(vespiary.Handler):
        def on_open(self, connection: vespiary.Connection) -> None:
            connection.pause_reading()
            connection.data = 0

            def resume() -> None:
                release.wait(10)
                connection.resume_reading()

            threading.Thread(target=resume).start()

        def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
            connection.data += len(message)
            if message == "done":
                connection.send(str(connection.data - 4))

    with sync.connect(serving(Stalled).url) as connection:
        sent = 0

        def flood() -> None:
            nonlocal sent
            while True:
                sent += 100_000
                connection.send(bytes(100_000), timeout=0.2)

        with pytest.raises(TimeoutError):
            flood()
        # The one that was cancelled is queued whole.
        release.set()
        connection.send("done", timeout=10)
        assert connection.receive(timeout=10) == str(sent)


def test_both_ends_may_flood_each_other(serving: Serving) -> None:
    with sync.connect(serving(Echo).url) as connection:
        message = bytes(100_000)

        def send() -> None:
            for _ in range(200):
                connection.send(message)

        with on_a_thread(send):
            assert sum(len(connection.receive(10)) for _ in range(200)) == 200 * len(message)


def test_many_threads_share_a_connection(serving: Serving) -> None:
    with sync.connect(serving(Echo).url) as connection, ThreadPoolExecutor(8) as pool:
        senders = [pool.submit(connection.send, str(number)) for number in range(300)]
        received = [pool.submit(connection.receive, 10) for _ in range(300)]
        for sender in senders:
            sender.result(10)
        assert {int(one.result(10)) for one in received} == set(range(300))


def loop_threads() -> set[threading.Thread]:
    """The threads of loops of the synchronous client; other tests may have one in this process."""
    return {thread for thread in threading.enumerate() if thread.name == "vespiary-sync"}


def test_many_connections_share_one_thread(serving: Serving) -> None:
    url = serving(Echo).url
    before = loop_threads()

    def talk(number: int) -> str:
        with sync.connect(url) as connection:
            connection.send(str(number))
            return str(connection.receive(10))

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(talk, range(100))) == [str(number) for number in range(100)]
    assert len(loop_threads() - before) == 1


def test_closing_ends_a_receive_of_another_thread(serving: Serving) -> None:
    connection = sync.connect(serving(Silent).url)
    ends: list[vespiary.ConnectionClosed] = []

    def receive() -> None:
        try:
            connection.receive()
        except vespiary.ConnectionClosed as error:
            ends.append(error)

    with on_a_thread(receive):
        time.sleep(0.05)
        reason = connection.close(3001, "enough")
    assert reason.code == 3001
    assert [type(error) for error in ends] == [vespiary.LocalClosed]
    with pytest.raises(vespiary.LocalClosed):
        connection.send("x")
    assert connection.close() == reason


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (1000, vespiary.RemoteClosed),
        (1001, vespiary.RemoteClosed),
        (1008, vespiary.RemoteError),
        (1011, vespiary.RemoteError),
        (1013, vespiary.RemoteError),
        (4000, vespiary.RemoteError),
    ],
)
def test_the_servers_close_is_raised_behind_its_messages(
    serving: Serving, code: int, error: type[vespiary.ConnectionClosed]
) -> None:
    async def goodbye(connection: vespiary.Connection) -> None:
        connection.send("last")
        connection.close(code, "that was all")

    url = serving(goodbye).url
    connection = sync.connect(url)
    assert connection.wait_closed(10).code == code
    assert connection.receive() == "last"
    with pytest.raises(error, match="that was all"):
        connection.receive()
    with sync.connect(url) as second:
        if error is vespiary.RemoteClosed:
            assert list(second) == ["last"]
        else:
            with pytest.raises(error):
                list(second)


def test_a_peer_that_is_not_listened_to_is_held_back(serving: Serving) -> None:
    is_held_back, sent = threading.Event(), threading.Event()

    async def flood(connection: vespiary.Connection) -> None:
        for _ in range(400):
            connection.send(bytes(100_000))
            draining = asyncio.ensure_future(connection.drain())
            if not is_held_back.is_set() and await still_waits(draining):
                is_held_back.set()
            await draining
        sent.set()

    limits = vespiary.Limits(inbox_bytes_max=200_000)
    with sync.connect(serving(flood).url, limits=limits) as connection:
        assert is_held_back.wait(60)
        assert not sent.is_set()
        assert connection.statistics().bytes_received < 20_000_000
        assert sum(len(message) for message in connection) == 40_000_000


def test_parts_arrive_as_they_come(serving: Serving) -> None:
    class InParts(vespiary.Handler):
        def on_open(self, connection: vespiary.Connection) -> None:
            connection.send_part("one ")
            connection.send_part("two", last=True)

        def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
            connection.send(message)

    with sync.connect(serving(InParts).url, parts=True) as connection:
        assert connection.receive() == sync.Part(b"one ", last=False, text=True)
        assert connection.receive() == sync.Part(b"two", last=True, text=True)
        connection.send_part(b"three ")
        connection.send_part(b"four", last=True)
        assert connection.receive() == sync.Part(b"three four", last=True, text=False)
        connection.send_part(b"five")
        with pytest.raises(vespiary.SendRefused):
            connection.send("in between")


def test_a_message_that_can_never_fit_is_reported(serving: Serving) -> None:
    limits = vespiary.Limits(write_bytes_max=100_000)
    with sync.connect(serving(Echo).url, limits=limits) as connection:
        with pytest.raises(vespiary.WriteQueueFull, match="send_part"):
            connection.send(bytes(200_000))
        with pytest.raises(TypeError):
            connection.send(5)  # type: ignore[arg-type]
        connection.send("still here")
        assert connection.receive(10) == "still here"


def test_a_half_closed_stream_continues_sending(serving: Serving) -> None:
    # The server hears it after the client has closed, on its own thread.
    heard: queue.Queue[str | bytes] = queue.Queue()

    async def listener(connection: vespiary.Connection) -> None:
        connection.send_end()
        heard.put(await connection.receive())

    url = serving(listener, "tcp://127.0.0.1:0").url
    with sync.connect(url, half_close=True) as connection:
        with pytest.raises(vespiary.RemoteClosed, match="finished sending"):
            connection.receive(10)
        connection.send(b"still sending")
    assert heard.get(timeout=10) == b"still sending"


def test_failures_of_a_connect_are_those_of_the_other_client(serving: Serving) -> None:
    class Refusing(vespiary.Handler):
        def on_request(self, request: vespiary.Request) -> vespiary.Response:
            return request.respond(403, "not you")

    with pytest.raises(vespiary.HandshakeRefused, match="not you"):
        sync.connect(serving(Refusing).url)
    with pytest.raises(vespiary.EndpointError):
        sync.connect("nonsense")
    with socket.create_server((OWN_HOST, 0)) as listener:
        url = f"ws://{OWN_HOST}:{listener.getsockname()[1]}"
        with pytest.raises(TimeoutError, match="too long"):
            sync.connect(url, deadlines=vespiary.Deadlines(handshake_seconds=0.05))
        with pytest.raises(TimeoutError):
            sync.connect(url, timeout=0.05)
    with pytest.raises(ConnectionRefusedError):
        sync.connect(url)


def test_a_connect_may_be_repeated_until_its_timeout() -> None:
    backoff = vespiary.Backoff(first_seconds=0.001, seconds_max=0.002)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        sync.connect("tcp://127.0.0.1:1", reconnect=backoff, timeout=0.1)
    assert 0.09 < time.monotonic() - began < 2


def test_small_messages_keep_their_order_among_large_ones_and_parts(serving: Serving) -> None:
    expected: list[str | bytes] = []
    with sync.connect(serving(Echo).url) as connection:
        for number in range(300):
            # Those that are handed over at once, those that are waited for, and parts.
            message = ("x" * 90_000, "ü", str(number), "y" * 5000)[number % 4]
            connection.send(message)
            expected.append(message)
            if number % 50 == 0:
                connection.send_part("a")
                connection.send_part("b", last=True)
                expected.append("ab")
        assert [connection.receive(10) for _ in expected] == expected


def test_many_threads_that_send_small_messages_are_held_back_by_a_peer_that_does_not_read(
    serving: Serving,
) -> None:
    class Stalled(vespiary.Handler):
        def on_open(self, connection: vespiary.Connection) -> None:
            connection.pause_reading()

    connection = sync.connect(serving(Stalled).url)

    def flood() -> int:
        sent = 0
        try:
            while True:
                connection.send(b"x" * 1000, timeout=0.5)
                sent += 1
        except TimeoutError:
            return sent

    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda _: flood(), range(8)))
    # What the kernel's buffers hold, and a few times write_high_bytes.
    assert sum(counts) * 1000 < 16 << 20
    connection.abort()
    connection.wait_closed(10)


@pytest.mark.parametrize("ends", ["closes", "aborts"])
def test_send_to_a_peer_that_is_gone_raises(serving: Serving, ends: str) -> None:
    class Leaves(vespiary.Handler):
        def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
            if ends == "closes":
                connection.close(1001)
            else:
                connection.abort()

    connection = sync.connect(serving(Leaves).url)
    error = vespiary.RemoteClosed if ends == "closes" else vespiary.RemoteError
    with pytest.raises(error):
        wait_until(lambda: connection.send("x"))
    with pytest.raises(error):
        connection.send("x")


def test_a_ping_gives_the_latency_and_the_answers_header_fields_are_kept(serving: Serving) -> None:
    with sync.connect(serving(Echo).url) as connection:
        assert 0 <= connection.ping(timeout=10) < 10
        assert connection.response_headers["upgrade"].lower() == "websocket"


def test_after_close_send_raises(serving: Serving) -> None:
    connection = sync.connect(serving(Echo).url)
    connection.close()
    with pytest.raises(vespiary.LocalClosed):
        connection.send("x")


def test_parts_of_two_threads_do_not_mix(serving: Serving) -> None:
    with sync.connect(serving(Echo).url) as connection:
        connection.send_part("a")
        refused: list[BaseException] = []

        def send() -> None:
            try:
                connection.send_part("b", last=True)
            except vespiary.SendRefused as error:
                refused.append(error)

        with on_a_thread(send):
            pass
        assert "one thread" in str(refused[0])
        connection.send_part("c", last=True)
        assert connection.receive(10) == "ac"
        with on_a_thread(send):
            pass
        assert connection.receive(10) == "b"
