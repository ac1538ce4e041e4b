"""Connections that are addressed by an id."""

import asyncio
from typing import Any

import pytest

import vespiary

from .kit import TCP, WS, Recorder, serving, until


async def test_a_message_goes_to_the_connection_with_the_id_and_to_no_other() -> None:
    recorder = Recorder()
    async with (
        serving(recorder) as server,
        vespiary.connect(server.urls[0]) as one,
        vespiary.connect(server.urls[0]) as two,
    ):
        await until(lambda: len(recorder.connections) == 2)
        ids = [server.connection_id(connection) for connection in recorder.connections]
        assert ids == [server.connection_id(connection) for connection in recorder.connections]
        assert server.send_to(ids[0], "for one")
        assert server.send_to(ids[1], b"for two")
        assert await asyncio.to_thread(server.send_to, ids[1], "from a thread")
        assert await one.receive() == "for one"
        assert [await two.receive(), await two.receive()] == [b"for two", "from a thread"]


async def test_an_id_outlives_its_connection_and_its_server_and_finds_nobody() -> None:
    recorder = Recorder()
    server = vespiary.Server()
    server.add(recorder, WS)
    async with server:
        async with vespiary.connect(server.urls[0]):
            await until(lambda: recorder.connections)
            found = server.connection_id(recorder.connections[0])
        await until(lambda: "close" in recorder.names)
        assert not server.send_to(found, "late")
    recorder.connections.clear()
    async with server, vespiary.connect(server.urls[0]):
        await until(lambda: recorder.connections)
        assert server.connection_id(recorder.connections[0]) != found
        assert not server.send_to(found, "late")


async def test_an_id_keeps_no_connection_alive() -> None:
    ids: list[str] = []

    class Asks(vespiary.Handler):
        def on_start(self, server: vespiary.Server) -> None:
            self.server = server

        def on_open(self, connection: vespiary.Connection) -> None:
            ids.append(self.server.connection_id(connection))

    async with serving(Asks) as server:
        for _ in range(10):
            async with vespiary.connect(server.urls[0]):
                pass
        await until(lambda: server.statistics().total.connections_closed == 10)
        assert len(ids) == len(set(ids)) == 10
        directory = server._running("test").directory
        await until(lambda: not len(directory._connections))


async def test_what_a_connection_refuses_is_refused() -> None:
    recorder = Recorder()
    async with (
        serving(recorder, TCP, framing="line") as server,
        vespiary.connect(server.urls[0], framing="line"),
    ):
        await until(lambda: recorder.connections)
        found = server.connection_id(recorder.connections[0])
        with pytest.raises(vespiary.SendRefused):
            server.send_to(found, "two\nlines")
        with pytest.raises(TypeError):
            server.send_to(found, 5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", ["", "user:42", "1.2", "a.b.c", "-1.b.c", "٣.b.c", 5, None, b"0.a.1"]
)
async def test_what_is_not_an_id_is_an_error(wrong: Any) -> None:
    async with serving(Recorder()) as server:
        with pytest.raises(ValueError, match="is not the id of a connection"):
            server.send_to(wrong, "x")
        with pytest.raises(TypeError, match="takes a Connection"):
            server.connection_id(wrong)
        assert not server.send_to("7.abc.1", "nobody")
