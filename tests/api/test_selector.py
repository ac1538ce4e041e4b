"""The loop's selector, as asyncio and its libraries use it."""

import asyncio
import os
import selectors
import socket
from collections.abc import Iterator

import pytest

import vespiary
from vespiary.loop import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


def test_a_reader_given_as_a_socket_is_added_replaced_and_removed(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    seen: list[str] = []

    def replaced() -> None:
        seen.append("new")
        loop.stop()

    loop.add_reader(ours, seen.append, "old")
    loop.add_reader(ours, replaced)
    theirs.send(b"x")
    loop.run_forever()
    assert seen == ["new"]
    assert loop.remove_reader(ours)
    assert not loop.remove_reader(ours)


def test_a_reader_and_a_writer_of_one_descriptor_live_side_by_side(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    seen: list[str] = []

    def read() -> None:
        seen.append("read")
        loop.stop()

    def write() -> None:
        seen.append("write")
        loop.remove_writer(ours)
        loop.stop()

    loop.add_reader(ours.fileno(), read)
    loop.add_writer(ours, write)
    loop.run_forever()
    assert seen == ["write"]
    theirs.send(b"x")
    loop.run_forever()
    assert seen == ["write", "read"]
    loop.remove_reader(ours)


def test_the_map_finds_a_key_by_number_and_by_object(
    loop: Loop, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, _ = pair
    selector: selectors.BaseSelector = getattr(loop, "_selector")  # noqa: B009 - asyncio's own.
    before = len(selector.get_map())
    selector.register(ours, selectors.EVENT_READ, "data")
    watched = selector.get_map()
    assert watched[ours].data == watched[ours.fileno()].data == "data"
    assert selector.get_key(ours).fd == ours.fileno()
    assert ours.fileno() in list(watched)
    assert len(watched) == before + 1
    selector.unregister(ours)
    assert watched.get(ours) is None
    with pytest.raises(KeyError):
        selector.get_key(ours)


def test_a_pipe_can_be_watched_through_asyncio(loop: Loop) -> None:
    async def main() -> bytes:
        read, write = os.pipe()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_read_pipe(lambda: protocol, os.fdopen(read, "rb"))
        os.write(write, b"through the pipe")
        os.close(write)
        try:
            return await asyncio.wait_for(reader.read(), 5)
        finally:
            transport.close()

    assert loop.run_until_complete(main()) == b"through the pipe"


def test_run_within_a_running_loop_says_what_to_do() -> None:
    async def inner() -> None: ...

    async def main() -> None:
        with pytest.raises(RuntimeError, match="await the coroutine instead"):
            vespiary.run(inner())

    vespiary.run(main())
