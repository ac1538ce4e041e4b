"""A tap in the engine: it drops what nobody takes, never delays its connection, and is removed."""

import asyncio

import pytest

import vespiary
from vespiary._core import Connection, tap_connection
from vespiary.wasp.taps import TapOptions, tapped
from vespiary.wasp.worker_calls import Refused


class Echo(vespiary.Handler[bytes]):
    def __init__(self) -> None:
        self.connections: list[Connection[bytes]] = []

    def on_open(self, connection: Connection[bytes]) -> None:
        self.connections.append(connection)

    def on_message(self, connection: Connection[bytes], message: bytes) -> None:
        connection.send(message)


async def echoed(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes
) -> None:
    """Send a line, and get it back."""
    writer.write(message + b"\n")
    assert await reader.readline() == message + b"\n"


def test_records_that_nobody_takes_are_dropped_and_counted() -> None:
    async def main() -> None:
        handler = Echo()
        server = vespiary.Server(signals=False)
        server.add(handler, "tcp://127.0.0.1:0", framing="line")
        async with server:
            host, port = server.urls[0].removeprefix("tcp://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 20)
            await echoed(reader, writer, b"before")
            tap = tap_connection(handler.connections[0], 4, 3)
            for number in range(10):
                await echoed(reader, writer, b"line %d" % number)
            records, dropped, dropped_bytes = tap.take()
            seen = [(is_received, size, head) for _, is_received, size, head in records]
            assert seen == [(True, 7, b"lin"), (False, 7, b"lin")] * 2
            assert (dropped, dropped_bytes) == (16, 16 * 7)
            assert tap.take() == ([], 0, 0)
            # More than a receive buffer holds arrives whole, and in order, with the tap and behind.
            large = bytes(range(32, 127)) * 5000
            await echoed(reader, writer, large)
            assert tap.take()[1] > 0
            tap.stop()
            await echoed(reader, writer, large)
            await echoed(reader, writer, b"behind")
            assert tap.take() == ([], 0, 0)
            writer.close()

    vespiary.run(main())


def test_two_taps_see_the_same() -> None:
    async def main() -> None:
        handler = Echo()
        server = vespiary.Server(signals=False)
        server.add(handler, "tcp://127.0.0.1:0", framing="line")
        async with server:
            host, port = server.urls[0].removeprefix("tcp://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 20)
            await echoed(reader, writer, b"before")
            first = tap_connection(handler.connections[0], 10, 10)
            second = tap_connection(handler.connections[0], 10, 10)
            await echoed(reader, writer, b"Ann")
            first.stop()
            await echoed(reader, writer, b"Ben")
            heads = [head for _, _, _, head in second.take()[0]]
            assert heads == [b"Ann\n", b"Ann\n", b"Ben\n", b"Ben\n"]
            writer.close()

    vespiary.run(main())


def test_a_connection_that_has_ended_cannot_be_tapped() -> None:
    async def main() -> None:
        handler = Echo()
        server = vespiary.Server(signals=False)
        server.add(handler, "tcp://127.0.0.1:0", framing="line")
        async with server:
            host, port = server.urls[0].removeprefix("tcp://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 20)
            await echoed(reader, writer, b"before")
            items = tapped(handler.connections[0], TapOptions())
            assert await anext(items) == {"begin": True}
            writer.close()
            last = [item async for item in items][-1]
            assert last["end"].startswith("the connection has ended: closed by the peer")
            with pytest.raises(Refused, match="the connection has ended"):
                await anext(tapped(handler.connections[0], TapOptions()))

    vespiary.run(main())
