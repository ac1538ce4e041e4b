"""The threads of `executor="threads"`: how many there are, and what is counted."""

import asyncio
import threading

import vespiary

from .kit import TCP, Echo, serving, until


class Blocking(vespiary.Handler):
    """Works on a message until it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def on_message(self, connection: vespiary.Connection, message: bytes) -> None:
        self.released.wait(30)
        connection.send(message)


async def test_threads_grow_with_the_calls_up_to_the_limit_and_end_when_idle() -> None:
    handler = Blocking()
    limits = vespiary.Limits(threads_max=3)
    deadlines = vespiary.Deadlines(thread_idle_seconds=0.05)
    async with serving(
        handler, TCP, framing="line", executor="threads", limits=limits, deadlines=deadlines
    ) as server:

        def threads() -> vespiary.ThreadStatistics:
            return server.statistics().threads

        assert threads().threads == 0
        clients = [await vespiary.connect(server.urls[0], framing="line") for _ in range(5)]
        for client in clients:
            client.send(b"first")
            client.send(b"second")
        await until(lambda: threads().threads_busy == 3 and threads().calls_waiting == 7)
        assert threads().threads == 3
        handler.released.set()
        for client in clients:
            assert [await client.receive(), await client.receive()] == [b"first", b"second"]
        await until(lambda: threads().threads == 0)
        assert threads().calls_waiting == threads().threads_busy == 0
        assert threads().calls_run == 10
        # A thread is started again for what comes later.
        clients[0].send(b"third")
        assert await clients[0].receive() == b"third"
        assert threads().calls_run == 11


async def test_the_longest_wait_for_a_thread_is_counted() -> None:
    handler = Blocking()
    limits = vespiary.Limits(threads_max=1)
    async with serving(handler, TCP, framing="line", executor="threads", limits=limits) as server:
        clients = [await vespiary.connect(server.urls[0], framing="line") for _ in range(2)]
        for client in clients:
            client.send(b"x")
        await until(lambda: server.statistics().threads.calls_waiting == 1)
        began = asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() - began > 0.05)
        handler.released.set()
        for client in clients:
            await client.receive()
        threads = server.statistics().threads
        assert threads.wait_seconds_max >= 0.05
        assert threads.wait_seconds_max <= threads.wait_seconds_total
        assert threads.wait_seconds_mean == threads.wait_seconds_total / threads.calls_run


async def test_each_endpoint_has_its_own_threads_and_the_server_counts_all() -> None:
    server = vespiary.Server()
    for _ in range(2):
        server.add(Echo, TCP, framing="line", executor="threads")
    server.add(Echo, TCP, framing="line")
    async with server:
        for url in server.urls:
            async with vespiary.connect(url, framing="line") as client:
                client.send(b"x")
                assert await client.receive() == b"x"
        # The message, the peer's end and the connection's.
        await until(lambda: server.statistics().threads.calls_run == 6)
        assert server.statistics().threads.threads == 2
