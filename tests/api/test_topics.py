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
            assert (handler.reasons[0].kind, handler.reasons[0].code) == ("broken", 1006)
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


def publish_all(server: vespiary.Server, topics: str) -> None:
    for topic in topics.split():
        server.publish(topic, topic)


async def test_a_pattern_subscribes_to_every_topic_that_it_matches() -> None:
    handler = Recorder()
    async with serving(handler) as server, vespiary.connect(server.urls[0]) as client:
        await until(lambda: handler.connections)
        connection = handler.connections[0]
        assert connection.subscribe_pattern("rooms/+/news")
        assert not connection.subscribe_pattern("rooms/+/news")
        assert connection.subscribe_pattern("all/#")
        assert connection.subscribe("rooms/red/news")
        publish_all(server, "rooms/news rooms/red/news rooms/red/blue/news all all/1/2 allies")
        assert [await client.receive() for _ in range(3)] == ["rooms/red/news", "all", "all/1/2"]
        assert server.subscribers("rooms/blue/news") == 1
        assert server.subscribed_connections("rooms/blue/news") == [connection]
        assert connection.unsubscribe_pattern("all/#")
        assert not connection.unsubscribe_pattern("all/#")
        assert not connection.unsubscribe("rooms/+/news")
        assert server.subscribed_connections("all") == []
        topics = server.statistics().topics
        assert (topics.topics, topics.patterns) == (1, 1)
        assert (topics.published, topics.deliveries) == (6, 3)
    assert server.statistics().topics.published == 6


@pytest.mark.parametrize("text", ["a#", "#/a", "a+/b", "/".join("a" * 33)])
async def test_what_is_not_a_pattern_is_refused(text: str) -> None:
    handler = Recorder()
    async with serving(handler) as server, vespiary.connect(server.urls[0]):
        await until(lambda: handler.connections)
        with pytest.raises(vespiary.SendRefused, match="not a pattern of topics"):
            handler.connections[0].subscribe_pattern(text)
        assert handler.connections[0].subscribe(text)


async def test_wildcards_in_a_topics_name_stand_for_themselves() -> None:
    handler = Recorder()
    async with serving(handler) as server, vespiary.connect(server.urls[0]) as client:
        await until(lambda: handler.connections)
        handler.connections[0].subscribe("#")
        publish_all(server, "secret #")
        assert await client.receive() == "#"


@pytest.mark.parametrize("message", ["text", b"bytes"])
async def test_a_retained_message_reaches_those_who_subscribe_later(message: bytes | str) -> None:
    handler = Recorder()
    async with serving(handler) as server, vespiary.connect(server.urls[0]) as client:
        assert server.publish("state/1", "old", retain=True) == 0
        assert server.publish("state/1", message, retain=True) == 0
        assert server.publish("state/2", "two", retain=True) == 0
        assert server.retained("state/1") == message
        await until(lambda: handler.connections)
        handler.connections[0].subscribe("state/1")
        assert await client.receive() == message
        handler.connections[0].subscribe_pattern("state/#")
        assert [await client.receive() for _ in range(2)] == [message, "two"]
        assert server.discard_retained("state/1")
        assert not server.discard_retained("state/1")
        assert server.retained("state/1") is None
        assert server.statistics().topics.retained_messages == 1


async def test_nothing_stays_retained_when_a_server_starts_again() -> None:
    server = vespiary.Server(signals=False)
    server.add(Recorder(), WS)
    for _ in range(2):
        async with server:
            assert server.retained("state") is None
            server.publish("state", "kept", retain=True)
    with pytest.raises(RuntimeError, match="retained"):
        server.retained("state")


async def test_retained_messages_are_bounded() -> None:
    server = vespiary.Server(signals=False, retained_messages_max=1, retained_bytes_max=10)
    server.add(Recorder(), WS)
    async with server:
        server.publish("a", "1", retain=True)
        with pytest.raises(vespiary.SendRefused, match="retained_messages_max"):
            server.publish("b", "1", retain=True)
        with pytest.raises(vespiary.SendRefused, match="retained_bytes_max"):
            server.publish("a", "0123456789", retain=True)
        assert server.retained("a") == "1"
        assert server.statistics().topics.retained_refused == 2


@pytest.mark.parametrize("options", [{"retained_messages_max": 0}, {"retained_bytes_max": "1"}])
def test_the_bounds_of_retained_messages_are_checked(options: dict[str, int]) -> None:
    with pytest.raises(vespiary.ConfigurationError, match="retained_"):
        vespiary.Server(**options)  # type: ignore[arg-type] # That is the mistake.


class Presence(Recorder):
    """Remembers who comes and goes."""

    def __init__(self) -> None:
        super().__init__()
        self.changes: list[str] = []

    def on_subscribe(self, connection: vespiary.Connection, topic: str) -> None:
        self.changes.append(f"+{topic}")

    def on_unsubscribe(self, connection: vespiary.Connection, topic: str) -> None:
        assert connection.close_reason is None or not connection.is_open
        self.changes.append(f"-{topic}")

    def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
        self.changes.append("closed")
        super().on_close(connection, reason)


@pytest.mark.parametrize("executor", [None, "threads"])
async def test_presence_is_reported_as_it_changes(executor: str | None) -> None:
    handler = Presence()
    async with serving(handler, executor=executor) as server:
        async with vespiary.connect(server.urls[0]):
            await until(lambda: handler.connections)
            connection = handler.connections[0]
            connection.subscribe("a")
            connection.subscribe_pattern("b/#")
            connection.unsubscribe("a")
            # Not within the calls.
            assert handler.changes == []
            await until(lambda: len(handler.changes) == 3)
        await until(lambda: handler.reasons)
    assert handler.changes == ["+a", "+b/#", "-a", "-b/#", "closed"]


async def test_subscriptions_of_all_connections_are_bounded_together() -> None:
    handler = Recorder()
    limits = vespiary.Limits(subscriptions_max=2)
    async with (
        serving(handler, limits=limits) as server,
        vespiary.connect(server.urls[0]),
        vespiary.connect(server.urls[0]),
    ):
        await until(lambda: len(handler.connections) == 2)
        one, other = handler.connections
        assert one.subscribe("a")
        assert other.subscribe_pattern("#")
        with pytest.raises(vespiary.SendRefused, match="subscriptions_max"):
            one.subscribe("b")
        assert other.unsubscribe_pattern("#")
        assert one.subscribe("b")
        assert server.statistics().total.limits_reached == {"subscriptions_max": 1}


async def test_publishing_does_not_slow_down_with_patterns_that_do_not_match() -> None:
    handler = Recorder()
    limits = vespiary.Limits(topics_per_connection_max=None)

    def seconds(server: vespiary.Server) -> float:
        began = time.process_time()
        for number in range(2000):
            server.publish(f"news/{number}/last", "x")
        return time.process_time() - began

    async with serving(handler, limits=limits) as server, vespiary.connect(server.urls[0]):
        await until(lambda: handler.connections)
        connection = handler.connections[0]
        connection.subscribe_pattern("other/0/+/x")
        few = min(seconds(server) for _ in range(3))
        for number in range(20_000):
            connection.subscribe_pattern(f"other/{number}/+/x")
        many = min(seconds(server) for _ in range(3))
    # Tried one by one, 20,000 patterns would take some thousand times as long.
    assert many < 20 * few
