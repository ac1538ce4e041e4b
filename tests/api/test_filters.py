"""Filters: bytes changed, swallowed and added beneath the framing, in both directions."""

import asyncio
import gc
import logging
import weakref

import pytest

import vespiary
from tests.logs import records
from vespiary.limits import Limits

from .kit import until


class Echo(vespiary.Handler):
    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        connection.send(message)


class Rolling(vespiary.Filter):
    """A stream cipher too weak for anything but this: its key is how many bytes went before."""

    def __init__(self) -> None:
        self._received = 0
        self._sent = 0

    def received(self, connection: vespiary.Connection, data: bytes) -> bytes:
        start, self._received = self._received, self._received + len(data)
        return bytes(byte ^ (start + index) & 0xFF for index, byte in enumerate(data))

    def sending(self, connection: vespiary.Connection, data: bytes) -> bytes:
        start, self._sent = self._sent, self._sent + len(data)
        return bytes(byte ^ (start + index) & 0xFF for index, byte in enumerate(data))


class Swallow(vespiary.Filter):
    def received(self, connection: vespiary.Connection, data: bytes) -> bytes | None:
        return data.replace(b"#", b"") or None


class Greet(vespiary.Filter):
    def __init__(self) -> None:
        self._greeted = False

    def sending(self, connection: vespiary.Connection, data: bytes) -> bytes:
        if self._greeted:
            return data
        self._greeted = True
        return b"hello\n" + data


class Broken(vespiary.Filter):
    def received(self, connection: vespiary.Connection, data: bytes) -> bytes:
        raise ValueError("this filter is broken")


def run(main: object) -> None:
    vespiary.run(asyncio.wait_for(main, 10))  # type: ignore[arg-type]


def test_a_filter_with_state_on_both_ends_is_invisible_to_handler_and_client() -> None:
    async def main() -> None:
        server = vespiary.Server()
        limits = Limits(message_bytes_max=4 << 20)
        server.add(Echo(), "ws://127.0.0.1:0", filters=[Rolling], limits=limits)
        async with server:
            url = server.urls[0]
            async with (
                vespiary.connect(url, filters=[Rolling], limits=limits) as one,
                vespiary.connect(url, filters=[Rolling], limits=limits) as other,
            ):
                for message in ("text", b"", b"x" * 300_000, bytes(range(256)) * 64):
                    one.send(message)
                    other.send(message)
                    assert await one.receive() == message
                    assert await other.receive() == message

    run(main())


def test_a_client_without_the_filter_is_refused_by_the_handshake() -> None:
    async def main() -> None:
        server = vespiary.Server()
        server.add(Echo(), "ws://127.0.0.1:0", filters=[Rolling])
        async with server:
            with pytest.raises((vespiary.VespiaryError, OSError)):
                await vespiary.connect(server.urls[0])
            assert server.statistics().total.protocol_errors == 1

    run(main())


def test_filters_swallow_and_add_bytes_in_their_order() -> None:
    async def main() -> None:
        server = vespiary.Server()
        server.add(Echo(), "tcp://127.0.0.1:0", framing="line", filters=[Swallow, Greet])
        async with server, vespiary.connect(server.urls[0], framing="line") as connection:
            connection.send(b"a#b#c")
            assert await connection.receive() == b"hello"
            assert await connection.receive() == b"abc"
            connection.send(b"###")
            assert await connection.receive() == b""

    run(main())


def test_statistics_count_the_bytes_on_the_wire() -> None:
    async def main() -> None:
        server = vespiary.Server()
        server.add(Echo(), "tcp://127.0.0.1:0", framing="line", filters=[Swallow, Greet])
        async with server, vespiary.connect(server.urls[0], framing="line") as connection:
            connection.send(b"a#b#c")
            await connection.receive()
            await connection.receive()
            total = server.statistics().total
            assert total.bytes_received == len(b"a#b#c\n")
            assert total.bytes_sent == len(b"hello\nabc\n")

    run(main())


def test_a_filter_that_raises_resets_its_connection_and_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        server = vespiary.Server()
        server.add(Echo(), "tcp://127.0.0.1:0", filters=[Broken])
        server.add(Echo(), "tcp://127.0.0.1:0")
        async with server:
            async with vespiary.connect(server.urls[1]) as healthy:
                connection = await vespiary.connect(server.urls[0])
                connection.send(b"x")
                with pytest.raises(vespiary.ConnectionBroken):
                    await connection.receive()
                healthy.send(b"still here")
                assert await healthy.receive() == b"still here"
            assert server.statistics().total.handler_errors == 1

    with caplog.at_level(logging.ERROR, logger="vespiary"):
        run(main())
    assert [record.exc_info is not None for record in records(caplog)] == [True]


async def test_a_filter_that_keeps_its_connection_ends_with_it() -> None:
    class Keeping(vespiary.Filter):
        def received(self, connection: vespiary.Connection, data: bytes) -> bytes:
            self.connection = connection
            made.add(self)
            return data

    made: weakref.WeakSet[Keeping] = weakref.WeakSet()
    server = vespiary.Server()
    server.add(Echo(), "tcp://127.0.0.1:0", filters=[Keeping])
    async with server:
        for _ in range(5):
            async with vespiary.connect(server.urls[0]) as connection:
                connection.send(b"x")
                assert await connection.receive() == b"x"
            del connection
        await until(lambda: not server.statistics().total.connections_open)
        gc.collect()
        assert not made
