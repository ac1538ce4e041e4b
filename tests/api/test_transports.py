"""The native transports of stream sockets: what CPython's and uvloop's own tests do not ask."""

import asyncio
import contextvars
import gc
import socket
import tracemalloc
from typing import Any

import pytest

from tests.waiting import until
from vespiary.loop import Loop

from .transports import KINDS, Recorder, connected, receive, run


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """What the sockets are."""
    return str(request.param)


def test_transports_are_those_of_asyncio(driver: str, kind: str) -> None:
    async def main() -> None:
        async with connected(Recorder(), kind) as (transport, _):
            assert isinstance(transport, asyncio.Transport)
            assert type(transport).__name__ == "SocketTransport"
            assert "read=polling" in repr(transport)

    run(main(), driver)


def test_writes_of_one_callback_arrive_as_one_segment(driver: str) -> None:
    """With asyncio's own transports each write is a segment."""

    async def main() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(Recorder, sock=_stream(ours))
        transport.write(b"head ")
        transport.write(bytearray(b"and "))
        transport.writelines([b"bo", b"dy"])
        with theirs:
            assert await loop.sock_recv(theirs, 100) == b"head and body"
            transport.abort()

    run(main(), driver)


def _stream(packets: socket.socket) -> socket.socket:
    """A socket that keeps the boundaries of sends, passed off as one of streams."""

    class Stream(socket.socket):
        type = socket.SOCK_STREAM

    return Stream(packets.family, packets.type, packets.proto, packets.detach())


def test_what_a_callback_writes_counts_as_sent_within_it(driver: str, kind: str) -> None:
    async def main() -> None:
        async with connected(Recorder(), kind) as (transport, theirs):
            transport.write(b"abc")
            assert transport.get_write_buffer_size() == 0
            assert theirs.recv(10) == b"abc"
            transport.write(b"def")
            transport.abort()
            assert theirs.recv(10) == b"def"

    run(main(), driver)


def test_a_write_outside_of_the_running_loop_is_sent_at_once(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    transport, _ = loop.run_until_complete(loop.create_connection(Recorder, sock=ours))
    transport.write(b"abc")
    with theirs:
        theirs.settimeout(10)
        assert theirs.recv(10) == b"abc"
        transport.abort()
        loop.run_until_complete(asyncio.sleep(0))


def test_much_is_written_with_backpressure(driver: str, kind: str) -> None:
    async def main() -> None:
        protocol = Recorder()
        async with connected(protocol, kind) as (transport, theirs):
            data = bytes(range(256)) * 8192
            transport.write(data)
            transport.write(b"the end")
            assert transport.get_write_buffer_size() > 0
            assert protocol.calls == ["pause_writing"]
            transport.close()
            received = await receive(theirs, len(data) + 7)
            assert received == data + b"the end"
            await until(lambda: protocol.lost)
            assert protocol.calls == ["pause_writing", "resume_writing"]
            assert protocol.lost == [None]

    run(main(), driver)


def test_views_and_arrays_are_copied_as_they_are_when_written(driver: str, kind: str) -> None:
    async def main() -> None:
        async with connected(Recorder(), kind) as (transport, theirs):
            for size in (10, 100_000):
                array = bytearray(b"a" * size)
                transport.write(memoryview(array)[1:])
                transport.write(array)
                array[:] = b"b" * size
                assert await receive(theirs, 2 * size - 1) == b"a" * (2 * size - 1)

    run(main(), driver)


def test_a_paused_transport_gets_nothing_until_it_is_resumed(driver: str, kind: str) -> None:
    async def main() -> None:
        protocol = Recorder()
        async with connected(protocol, kind) as (transport, theirs):
            transport.pause_reading()
            transport.pause_reading()
            assert not transport.is_reading()
            theirs.send(b"one ")
            await until(lambda: "read=idle" in repr(transport))
            assert protocol.received == b""
            transport.resume_reading()
            transport.resume_reading()
            assert transport.is_reading()
            await until(lambda: protocol.received == b"one ")
            # Paused and resumed before anything arrives: the socket stays watched.
            transport.pause_reading()
            transport.resume_reading()
            theirs.send(b"two")
            await until(lambda: protocol.received == b"one two")

    run(main(), driver)


def test_a_protocol_may_pause_within_data_received(driver: str, kind: str) -> None:
    class Pausing(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.pause_reading()
            asyncio.get_running_loop().call_soon(self.transport.resume_reading)

    async def main() -> None:
        protocol = Pausing()
        async with connected(protocol, kind) as (_, theirs):
            for number in range(1, 51):
                theirs.send(b"x")
                await protocol.until_received(number)

    run(main(), driver)


@pytest.mark.parametrize("end", ["close", "abort"])
def test_a_protocol_may_end_its_connection_within_data_received(
    driver: str, kind: str, end: str
) -> None:
    class Ending(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.write(b"bye")
            getattr(self.transport, end)()
            self.transport.write(b"not sent any more")

    async def main() -> None:
        protocol = Ending()
        async with connected(protocol, kind) as (transport, theirs):
            theirs.send(b"hello")
            await until(lambda: protocol.lost)
            assert protocol.lost == [None]
            assert transport.is_closing()
            received = await receive(theirs, 100)
            assert received.startswith(b"bye")

    run(main(), driver)


def test_half_closes_reach_the_protocol_which_may_answer(driver: str, kind: str) -> None:
    class Answering(Recorder):
        def eof_received(self) -> bool:
            super().eof_received()
            return True

    async def main() -> None:
        protocol = Answering()
        async with connected(protocol, kind) as (transport, theirs):
            theirs.send(b"question")
            theirs.shutdown(socket.SHUT_WR)
            await until(lambda: "eof_received" in protocol.calls)
            assert not transport.is_closing()
            transport.write(b"answer")
            transport.write_eof()
            assert await receive(theirs, 100) == b"answer"
            transport.close()
            await until(lambda: protocol.lost)

    run(main(), driver)


def test_another_protocol_may_take_over(driver: str, kind: str) -> None:
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.buffer = bytearray(3)
            self.received = b""

        async def until_received(self, count: int) -> None:
            await until(lambda: len(self.received) >= count)

        def get_buffer(self, _sizehint: int) -> bytearray:
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.received += self.buffer[:nbytes]

    async def main() -> None:
        first, second, third = Recorder(), Buffered(), Recorder()
        async with connected(first, kind) as (transport, theirs):
            protocol: Any
            for protocol in (first, second, third):
                transport.set_protocol(protocol)
                assert transport.get_protocol() is protocol
                theirs.send(b"hello")
                await protocol.until_received(5)
                assert protocol.received == b"hello"

    run(main(), driver)


def test_streams_read_what_their_subclasses_see(driver: str, kind: str) -> None:
    """asyncio's own stream classes are fed natively, subclasses are called."""

    class Reader(asyncio.StreamReader):
        seen = b""

        def feed_data(self, data: Any) -> None:
            self.seen += data
            super().feed_data(data)

    async def main() -> None:
        for reader_class in (asyncio.StreamReader, Reader):
            reader = reader_class(limit=1000)
            protocol = asyncio.StreamReaderProtocol(reader)
            async with connected(protocol, kind) as (transport, theirs):
                waiting = asyncio.ensure_future(reader.readline())
                await asyncio.sleep(0)
                theirs.send(b"one\ntwo")
                assert await waiting == b"one\n"
                assert await reader.readexactly(3) == b"two"
                assert reader_class is not Reader or vars(reader)["seen"] == b"one\ntwo"
                # More than twice the limit pauses the transport, until it is read.
                theirs.send(b"x" * 5000)
                await until(lambda: not transport.is_reading())
                assert await reader.readexactly(5000) == b"x" * 5000
                assert transport.is_reading()
                cancelled = asyncio.ensure_future(reader.read(1))
                await asyncio.sleep(0)
                cancelled.cancel()
                await asyncio.wait([cancelled])
                theirs.send(b"last")
                theirs.shutdown(socket.SHUT_WR)
                assert await reader.read() == b"last"

    run(main(), driver)


def test_callbacks_of_a_protocol_run_in_the_context_of_its_connection(
    driver: str, kind: str
) -> None:
    variable = contextvars.ContextVar("variable", default="none")

    class Asking(Recorder):
        def data_received(self, data: bytes) -> None:
            self.calls.append(variable.get())

        def eof_received(self) -> bool:
            self.calls.append(variable.get())
            return False

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self.calls.append(variable.get())

    async def main() -> None:
        variable.set("of the task")
        protocol = Asking()
        async with connected(protocol, kind) as (_, theirs):
            theirs.send(b"hello")
            await until(lambda: protocol.calls)
            theirs.shutdown(socket.SHUT_WR)
            await until(lambda: protocol.lost)
            assert protocol.calls == ["of the task"] * 3

    run(main(), driver)


def test_many_timers_fire_in_order_and_cancelled_ones_are_released(loop: Loop) -> None:
    fired: list[int] = []
    start = loop.time()
    for number in range(500):
        moment = start + (number * 7919 % 500) / 1e5
        loop.call_at(moment, fired.append, number * 7919 % 500)
    kept = Recorder()
    timers = [loop.call_later(3600, print, kept) for _ in range(5000)]
    references = gc.get_referrers(kept)
    assert len(references) >= 5000
    for timer in timers:
        timer.cancel()
    del timers, timer, references
    loop.call_later(0.02, loop.stop)
    loop.run_forever()
    assert fired == sorted(fired)
    assert len(fired) == 500


def test_idle_connections_take_little_memory(driver: str) -> None:
    """Less than 3 KiB of Python's memory for a connection's transport, protocol and socket."""

    async def main() -> None:
        count = 400
        loop = asyncio.get_running_loop()
        pairs = [socket.socketpair() for _ in range(count)]
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        transports: list[asyncio.Transport] = []
        for ours, _ in pairs:
            transports.append((await loop.create_connection(asyncio.Protocol, sock=ours))[0])
        gc.collect()
        each = (tracemalloc.get_traced_memory()[0] - before) / count
        tracemalloc.stop()
        for transport in transports:
            transport.abort()
        for _, theirs in pairs:
            theirs.close()
        await asyncio.sleep(0)
        assert each < 3072

    run(main(), driver)
