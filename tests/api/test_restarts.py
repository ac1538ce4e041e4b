"""A server that is started again."""

import asyncio

import vespiary

from .kit import Echo


async def test_an_endpoint_that_on_start_adds_is_served_once_in_each_run() -> None:
    class Adds(Echo):
        async def on_start(self, server: vespiary.Server) -> None:
            server.add(Echo, "ws://127.0.0.1:0/by/hook")
            await asyncio.create_task(self.add(server))

        async def add(self, server: vespiary.Server) -> None:
            server.add(Echo, "ws://127.0.0.1:0/by/task")

    server = vespiary.Server()
    server.add(Adds(), "ws://127.0.0.1:0/first")
    for _ in range(3):
        async with server:
            assert len(server.urls) == 3
            for url in server.urls:
                async with vespiary.connect(url) as client:
                    client.send("hello")
                    assert await client.receive() == "hello"
        assert len(server.statistics().endpoints) == 3
