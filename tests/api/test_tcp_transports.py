"""Transports of TCP, for which the driver receives and sends on io_uring; the same on epoll."""

import asyncio
import contextvars
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.waiting import open_descriptors, until
from vespiary.loop import Loop

from .transports import Recorder, connected, pair, receive, run


def test_what_arrives_while_a_transport_is_paused_is_handed_over_when_it_is_resumed(
    driver: str,
) -> None:
    class Pausing(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            for other in others:
                other.transport.pause_reading()

    others: list[Recorder] = []

    async def main() -> None:
        first, second = Pausing(), Pausing()
        async with connected(first) as (_, one), connected(second) as (_, two):
            await asyncio.sleep(0)
            # Both are readable in the same turn: whichever comes first pauses the other.
            others.extend((first, second))
            one.send(b"one")
            two.send(b"two")
            two.shutdown(socket.SHUT_WR)
            await until(lambda: first.received or second.received)
            assert not (first.received and second.received)
            others.clear()
            for protocol in (first, second):
                protocol.transport.resume_reading()
            await until(lambda: first.received and "eof_received" in second.calls)
            assert (first.received, second.received) == (b"one", b"two")
            await until(lambda: second.lost)
            assert second.lost == [None]

    run(main(), driver)


def test_nothing_is_received_from_a_paused_transport(driver: str) -> None:
    """So another process, or the program itself, can take the socket over."""

    async def main() -> None:
        protocol = Recorder()
        async with connected(protocol) as (transport, theirs):
            await asyncio.sleep(0)
            transport.pause_reading()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            theirs.send(b"for another")
            copy = os.dup(transport.get_extra_info("socket").fileno())
            with socket.socket(fileno=copy) as other:
                await until(lambda: _peek(other) == b"for another")
                assert other.recv(100) == b"for another"
            theirs.send(b"for us")
            transport.resume_reading()
            await until(lambda: protocol.received == b"for us")

    run(main(), driver)


def _peek(other: socket.socket) -> bytes:
    try:
        return other.recv(100, socket.MSG_PEEK)
    except BlockingIOError:
        return b""


def test_reading_is_paused_and_resumed_at_any_moment(driver: str) -> None:
    async def main() -> None:
        protocol = Recorder()
        data = os.urandom(1 << 20)
        async with connected(protocol) as (transport, theirs):
            loop = asyncio.get_running_loop()
            sending = asyncio.ensure_future(loop.sock_sendall(theirs, data))
            turn = 0
            while len(protocol.received) < len(data):
                turn += 1
                if turn % 2:
                    transport.pause_reading()
                    if turn % 3 == 0:
                        transport.resume_reading()
                    seen = len(protocol.received)
                    for _ in range(turn % 5):
                        await asyncio.sleep(0)
                    assert turn % 3 == 0 or len(protocol.received) == seen
                transport.resume_reading()
                await asyncio.sleep(0)
            await sending
            assert protocol.received == data

    run(main(), driver)


class SmallBuffer(asyncio.BufferedProtocol):
    """Receives seven bytes at a time."""

    def __init__(self) -> None:
        self.buffer = bytearray(7)
        self.received = bytearray()
        self.lost: list[Exception | None] = []
        self.after: Callable[[], None] = lambda: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def get_buffer(self, _sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received += self.buffer[:nbytes]
        self.after()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


def test_a_buffered_protocol_gets_what_fits_into_its_buffer(driver: str) -> None:
    async def main() -> None:
        protocol = SmallBuffer()
        async with connected(protocol) as (_, theirs):
            data = os.urandom(10_000)
            theirs.sendall(data)
            await until(lambda: len(protocol.received) == len(data))
            assert protocol.received == data

    run(main(), driver)


@pytest.mark.parametrize("act", ["pause_reading", "close", "abort", "set_protocol"])
def test_a_buffered_protocol_may_do_anything_between_two_parts(driver: str, act: str) -> None:
    async def main() -> None:
        protocol, other = SmallBuffer(), Recorder()
        arguments = (other,) if act == "set_protocol" else ()

        def after() -> None:
            protocol.after = lambda: None
            getattr(protocol.transport, act)(*arguments)

        protocol.after = after
        async with connected(protocol) as (transport, theirs):
            theirs.sendall(b"0123456789")
            await until(lambda: protocol.received)
            if act == "pause_reading":
                for _ in range(5):
                    await asyncio.sleep(0)
                assert protocol.received == b"0123456"
                transport.resume_reading()
                await until(lambda: protocol.received == b"0123456789")
            elif act == "set_protocol":
                await until(lambda: other.received == b"789")
            else:
                await until(lambda: protocol.lost)
                assert protocol.received == b"0123456"

    run(main(), driver)


def test_what_the_socket_has_no_room_for_is_sent_in_order(driver: str) -> None:
    """The first send is short: asyncio's buffer has the rest, and what was written behind it."""

    async def main() -> None:
        protocol = Recorder()
        async with connected(protocol) as (transport, theirs):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            sent = b""
            number = 0
            while "pause_writing" not in protocol.calls:
                part = number.to_bytes(4, "big") * 2000
                transport.write(part)
                sent += part
                number += 1
                await asyncio.sleep(0)
            transport.write(b"the end")
            transport.close()
            assert await receive(theirs, len(sent) + 7) == sent + b"the end"
            await until(lambda: protocol.lost)
            assert protocol.calls == ["pause_writing", "resume_writing"]

    run(main(), driver)


def test_many_transports_are_served_in_one_turn(driver: str) -> None:
    class Echo(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.write(data[:2])
            self.transport.write(data[2:])

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        clients = [socket.create_connection(address) for _ in range(60)]
        for client in clients:
            client.setblocking(False)
        for turn in range(20):
            messages = [b"%d of %d" % (turn, number) for number in range(len(clients))]
            for client, message in zip(clients, messages, strict=True):
                client.send(message)
            for client, message in zip(clients, messages, strict=True):
                assert await receive(client, len(message)) == message
        for client in clients:
            client.close()
        server.close()

    run(main(), driver)


def test_what_was_written_is_sent_when_the_loop_stops(loop: Loop) -> None:
    ours, theirs = pair()
    transport, _ = loop.run_until_complete(loop.create_connection(Recorder, sock=ours))

    async def write() -> None:
        transport.write(b"written last")

    loop.run_until_complete(write())
    with theirs:
        theirs.settimeout(10)
        assert theirs.recv(100) == b"written last"
        loop.call_soon(transport.write, b"and then")
        loop.call_soon(transport.close)
        loop.call_soon(loop.call_soon, loop.call_soon, loop.stop)
        loop.run_forever()
        assert theirs.recv(100) == b"and then"
        # The end comes although the loop does not run any more.
        assert theirs.recv(100) == b""


def test_a_loop_may_run_in_another_thread_while_transports_are_open(loop: Loop) -> None:
    ours, theirs = pair()
    protocol = Recorder()
    connecting = loop.create_connection(lambda: protocol, sock=ours)
    transport, _ = loop.run_until_complete(connecting)
    loop.run_until_complete(asyncio.sleep(0))
    failures: list[BaseException] = []

    def run_there(count: int) -> None:
        try:
            loop.run_until_complete(protocol.until_received(count))
            transport.write(b"echo")
            loop.run_until_complete(asyncio.sleep(0))
        except BaseException as error:
            failures.append(error)

    with theirs:
        theirs.settimeout(10)
        for count in range(1, 6):
            theirs.send(b"x")
            if count % 2:
                thread = threading.Thread(target=run_there, args=(count,))
                thread.start()
                thread.join(30)
            else:
                run_there(count)
            assert not failures
            assert protocol.received == b"x" * count
            assert theirs.recv(100) == b"echo"
        transport.close()
        loop.run_until_complete(until(lambda: protocol.lost))
        assert theirs.recv(100) == b""


def test_a_closed_sockets_number_can_be_used_again_at_once(driver: str) -> None:
    """Nothing that was asked for the closed one may touch the new one."""

    class Closing(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            loop = asyncio.get_running_loop()
            # Reading begins in the next round, and ends in the one behind it.
            loop.call_soon(loop.call_soon, self.transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            asyncio.get_running_loop().call_soon(take_number)

    taken: list[tuple[socket.socket, socket.socket]] = []

    def take_number() -> None:
        ours, theirs = pair()
        theirs.send(b"for the new one")
        ours.setblocking(False)
        taken.append((ours, theirs))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(50):
            ours, theirs = pair()
            await loop.create_connection(Closing, sock=ours)
            await until(lambda: taken)
            mine, other = taken.pop()
            for _ in range(3):
                await asyncio.sleep(0)
            assert mine.recv(100) == b"for the new one"
            for each in (mine, other, theirs):
                each.close()

    run(main(), driver)


def test_a_transport_is_forgotten_when_it_is_closed(driver: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        before = open_descriptors().count("socket")
        for _ in range(200):
            ours, theirs = pair()
            transport, _ = await loop.create_connection(Recorder, sock=ours)
            theirs.send(b"hello")
            transport.close()
            theirs.close()
        await until(lambda: open_descriptors().count("socket") == before)

    run(main(), driver)


def test_accepting_survives_faulty_factories_and_connections_that_are_gone(driver: str) -> None:
    class Faulty(Recorder):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)
            if len(made) % 2:
                raise ZeroDivisionError("planted")

    made: list[Recorder] = []

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Faulty, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        clients = [socket.create_connection(address) for _ in range(40)]
        for client in clients[::3]:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
        await until(lambda: len(made) == len(clients))
        for client in clients:
            client.close()
        await until(lambda: all(it.lost for it in made if hasattr(it, "transport")))
        assert sum(hasattr(it, "transport") for it in made) == len(clients) // 2
        server.close()
        await server.wait_closed()

    run(main(), driver)


def test_each_accepted_connection_has_a_context_of_its_own(driver: str) -> None:
    variable = contextvars.ContextVar("variable", default=0)

    class Counting(Recorder):
        def __init__(self) -> None:
            super().__init__()
            variable.set(variable.get() + 1)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            counts.append(variable.get())

    counts: list[int] = []

    async def main() -> None:
        variable.set(10)
        server = await asyncio.get_running_loop().create_server(Counting, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        clients = [socket.create_connection(address) for _ in range(5)]
        for client in clients:
            client.send(b"x")
        await until(lambda: len(counts) == len(clients))
        assert counts == [11] * len(clients)
        for client in clients:
            client.close()
        server.close()

    run(main(), driver)


def test_a_write_of_another_thread_is_sent(driver: str) -> None:
    """It is a mistake, which asyncio reports in debug mode only, and sends the bytes."""

    async def main() -> None:
        async with connected(Recorder()) as (transport, theirs):
            for number in range(200):
                transport.write(b"%3d" % number)
                thread = threading.Thread(target=transport.write, args=(b"!",))
                thread.start()
                assert sorted(await receive(theirs, 4)) == sorted(b"%3d!" % number)
                thread.join()

    run(main(), driver)


def test_a_child_process_sends_nothing_of_its_parent(driver: str) -> None:
    async def main() -> None:
        async with connected(Recorder()) as (transport, theirs):
            transport.write(b"once")
            child = os.fork()
            if child == 0:
                try:
                    transport.abort()
                finally:
                    os._exit(0)
            assert os.waitpid(child, 0)[1] == 0  # noqa: ASYNC222 - it ends at once
            transport.write(b".")
            assert await receive(theirs, 5) == b"once."

    run(main(), driver)
