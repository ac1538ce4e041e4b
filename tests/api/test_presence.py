"""Who is present in a topic."""

import pytest

import vespiary
from vespiary.presence import INFO_BYTES_MAX, TOPIC_BYTES_MAX

from .kit import WS, Recorder, serving, until


async def test_a_connection_is_present_until_it_leaves_or_ends() -> None:
    recorder = Recorder()
    async with (
        serving(recorder) as server,
        vespiary.connect(server.urls[0]) as one,
        vespiary.connect(server.urls[0]),
    ):
        await until(lambda: len(recorder.connections) == 2)
        first, second = recorder.connections
        ids = [server.connection_id(connection) for connection in (first, second)]
        assert server.enter(first, "room", "Ann")
        assert server.enter(second, "room", "Bob")
        assert server.enter(first, "hall")
        assert server.presence("room") == [
            vespiary.Member(ids[0], "Ann"),
            vespiary.Member(ids[1], "Bob"),
        ]
        assert server.enter(second, "room", "Bert")
        assert [member.info for member in server.presence("room")] == ["Ann", "Bert"]
        assert server.leave(second, "room")
        assert not server.leave(second, "room")
        assert server.presence("room") == [vespiary.Member(ids[0], "Ann")]
        assert server.presence("nowhere") == []
        await one.close()
        await until(lambda: not server.presence("room"))
        assert server.presence("hall") == []
        assert not server.enter(first, "room", "Ann")


async def test_presence_has_limits_with_errors_that_name_them() -> None:
    recorder = Recorder()
    server = vespiary.Server(members_max=2)
    server.add(recorder, WS)
    async with server, vespiary.connect(server.urls[0]):
        await until(lambda: recorder.connections)
        connection = recorder.connections[0]
        server.enter(connection, "one")
        server.enter(connection, "two")
        server.enter(connection, "two", "changed")
        with pytest.raises(vespiary.SendRefused, match=r"members_max"):
            server.enter(connection, "three")
        assert server.presence("three") == []
        server.leave(connection, "one")
        server.enter(connection, "t" * TOPIC_BYTES_MAX, "i" * INFO_BYTES_MAX)
        with pytest.raises(ValueError, match=r"at most 256 bytes as topic"):
            server.enter(connection, "é" * 129)
        with pytest.raises(ValueError, match=r"at most 1024 bytes as info"):
            server.enter(connection, "one", "i" * (INFO_BYTES_MAX + 1))
        with pytest.raises(TypeError, match=r"a str as info; got 5"):
            server.enter(connection, "one", 5)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"a Connection"):
            server.enter(None, "one")  # type: ignore[arg-type]


async def test_nobody_is_present_in_the_next_run_of_a_server() -> None:
    recorder = Recorder()
    server = vespiary.Server()
    server.add(recorder, WS)
    async with server, vespiary.connect(server.urls[0]):
        await until(lambda: recorder.connections)
        server.enter(recorder.connections[0], "room")
        assert server.presence("room")
    with pytest.raises(RuntimeError, match=r"presence\(\)"):
        server.presence("room")
    async with server:
        assert server.presence("room") == []
