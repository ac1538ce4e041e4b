"""Topics: who is subscribed hears what is published, once."""

import asyncio
import time

import pytest

import vespiary

from .kit import TCP, WS, Recorder, serving, until


class Subscribers(Recorder):
    """Subscribes everybody to a topic."""

    def on_open(self, connection: vespiary.Connection) -> None:
        super().on_open(connection)
        assert connection.subscribe("news")


@pytest.mark.parametrize(("url", "message"), [(WS, "text"), (WS, b"bytes"), (TCP, b"bytes")])
async def test_everybody_hears_what_is_published(url: str, message: bytes | str) -> None:
    handler = Subscribers()
    async with serving(handler, url) as server:
        clients = [await vespiary.connect(server.urls[0]) for _ in range(20)]
        await until(lambda: server.subscribers("news") == 20)
        assert server.publish("news", message) == 20
        for client in clients:
            assert await client.receive() == message
        assert server.publish("news", message, exclude=handler.connections[0]) == 19
        assert server.publish("nothing", message) == 0
        for client in clients:
            client.close()


async def test_messages_of_all_sizes_arrive_in_order() -> None:
    handler = Subscribers()
    sizes = [0, 1, 125, 126, 2047, 2048, 2049, 65535, 65536, 300_000]
    limits = vespiary.Limits(message_bytes_max=None)
    async with (
        serving(handler) as server,
        vespiary.connect(server.urls[0], limits=limits) as client,
    ):
        await until(lambda: handler.connections)
        for size in sizes:
            assert server.publish("news", bytes(size)) == 1
            handler.connections[0].send(str(size))
        for size in sizes:
            assert await client.receive() == bytes(size)
            assert await client.receive() == str(size)


async def test_subscribing_says_whether_it_changed_anything() -> None:
    handler = Recorder()
    async with serving(handler) as server, vespiary.connect(server.urls[0]) as client:
        await until(lambda: handler.connections)
        connection = handler.connections[0]
        assert connection.subscribe("a")
        assert not connection.subscribe("a")
        assert server.publish("a", "once") == 1
        assert await client.receive() == "once"
        assert connection.unsubscribe("a")
        assert not connection.unsubscribe("a")
        assert not connection.unsubscribe("never")
        assert server.publish("a", "nobody") == 0


async def test_a_connection_that_ended_is_in_no_topic() -> None:
    handler = Subscribers()
    async with serving(handler) as server:
        async with vespiary.connect(server.urls[0]):
            await until(lambda: server.subscribers("news") == 1)
        await until(lambda: handler.reasons)
        assert server.subscribers("news") == 0
        with pytest.raises(vespiary.ConnectionClosed):
            handler.connections[0].subscribe("news")
        assert not handler.connections[0].unsubscribe("news")


async def test_servers_of_one_loop_do_not_share_topics() -> None:
    first, second = Subscribers(), Subscribers()
    async with (
        serving(first) as one,
        serving(second) as other,
        vespiary.connect(one.urls[0]) as of_one,
        vespiary.connect(other.urls[0]) as of_other,
    ):
        await until(lambda: one.subscribers("news") == 1 and other.subscribers("news") == 1)
        assert one.publish("news", "from one") == 1
        assert other.publish("news", "from the other") == 1
        assert other.publish("news", "again", exclude=first.connections[0]) == 1
        assert await of_one.receive() == "from one"
        assert await of_other.receive() == "from the other"
        assert await of_other.receive() == "again"
        of_one.close()
        await until(lambda: one.subscribers("news") == 0)
        assert other.subscribers("news") == 1


async def test_a_server_that_starts_again_has_no_old_subscribers() -> None:
    handler = Subscribers()
    server = vespiary.Server(signals=False)
    server.add(handler, WS)
    for _ in range(2):
        async with server:
            assert server.subscribers("news") == 0
            async with vespiary.connect(server.urls[0]) as client:
                await until(lambda: server.subscribers("news") == 1)
                assert server.publish("news", "hello") == 1
                assert await client.receive() == "hello"


async def test_a_client_cannot_subscribe() -> None:
    async with serving(Recorder()) as server, vespiary.connect(server.urls[0]) as client:
        with pytest.raises(vespiary.SendRefused, match="topics belong to a server"):
            client.subscribe("news")
        assert not client.unsubscribe("news")


async def test_one_who_does_not_read_delays_nobody() -> None:
    handler = Subscribers()
    limits = vespiary.Limits(write_bytes_max=256 << 10)
    async with serving(handler, limits=limits, slow_consumer="disconnect") as server:
        slow = await vespiary.connect(server.urls[0])
        slow.pause_reading()
        async with vespiary.connect(server.urls[0]) as quick:
            await until(lambda: server.subscribers("news") == 2)
            for _ in range(400):
                server.publish("news", bytes(64 << 10))
                assert len(await quick.receive()) == 64 << 10
            await until(lambda: handler.reasons)
            assert (handler.reasons[0].kind, handler.reasons[0].code) == ("broken", None)
            assert server.subscribers("news") == 1
        slow.abort()


async def test_publishing_from_a_callback_reaches_the_caller_too() -> None:
    class Chat(vespiary.Handler):
        def on_start(self, server: vespiary.Server) -> None:
            self.server = server

        def on_open(self, connection: vespiary.Connection) -> None:
            connection.subscribe("all")

        def on_message(self, connection: vespiary.Connection, message: str) -> None:
            assert self.server.publish("all", message) == 3

    async with serving(Chat) as server:
        clients = [await vespiary.connect(server.urls[0]) for _ in range(3)]
        await until(lambda: server.subscribers("all") == 3)
        clients[0].send("hello")
        assert list(await asyncio.gather(*(it.receive() for it in clients))) == ["hello"] * 3
        for client in clients:
            client.close()


async def test_topics_are_bounded_in_number_and_length() -> None:
    handler = Recorder()
    limits = vespiary.Limits(topics_per_connection_max=3, topic_bytes_max=8)
    async with (
        serving(handler, limits=limits) as server,
        vespiary.connect(server.urls[0]),
    ):
        await until(lambda: handler.connections)
        connection = handler.connections[0]
        with pytest.raises(vespiary.SendRefused, match="topic_bytes_max"):
            connection.subscribe("123456789")
        for topic in "abc":
            assert connection.subscribe(topic)
        assert not connection.subscribe("a")
        with pytest.raises(vespiary.SendRefused, match="topics_per_connection_max"):
            connection.subscribe("d")
        assert server.subscribers("d") == 0
        assert connection.unsubscribe("a")
        assert connection.subscribe("d")
        reached = server.statistics().total.limits_reached
        assert reached == {"topic_bytes_max": 1, "topics_per_connection_max": 1}


async def test_a_connections_topics_take_time_in_proportion_to_their_number() -> None:
    handler = Recorder()
    limits = vespiary.Limits(topics_per_connection_max=None)

    def seconds(connection: vespiary.Connection, count: int) -> float:
        topics = [f"topic {number}" for number in range(count)]
        began = time.process_time()
        for topic in topics:
            connection.subscribe(topic)
        for topic in topics:
            assert connection.unsubscribe(topic)
        return time.process_time() - began

    async with (
        serving(handler, limits=limits) as server,
        vespiary.connect(server.urls[0]),
    ):
        await until(lambda: handler.connections)
        few = min(seconds(handler.connections[0], 2_000) for _ in range(3))
        many = min(seconds(handler.connections[0], 32_000) for _ in range(2))
    # In proportion it is 16 times as much; when each unsubscribe walks the others, 256 times.
    assert many < 80 * few


async def test_a_message_for_many_arrives_once_and_in_order_at_each() -> None:
    handler = Subscribers()
    async with serving(handler) as server:
        clients = [await vespiary.connect(server.urls[0]) for _ in range(100)]
        await until(lambda: server.subscribers("news") == 100)
        for number in range(5):
            assert server.publish("news", str(number)) == 100
        for client in clients:
            assert [await client.receive() for _ in range(5)] == ["0", "1", "2", "3", "4"]
            client.close()


async def test_nothing_is_published_that_a_subscriber_cannot_get() -> None:
    server = vespiary.Server(signals=False)
    handler = Subscribers()
    server.add(handler, WS)
    server.add(handler, TCP, framing="line")
    async with (
        server,
        vespiary.connect(server.urls[0]) as websocket,
        vespiary.connect(server.urls[1], framing="line") as lines,
    ):
        await until(lambda: server.subscribers("news") == 2)
        with pytest.raises(vespiary.SendRefused, match="line break"):
            server.publish("news", "two\nlines")
        assert server.publish("news", "one line") == 2
        assert await websocket.receive() == "one line"
        assert await lines.receive() == b"one line"
