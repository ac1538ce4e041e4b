"""Gateways for streams and datagrams: TCP to TCP, WebSocket to TCP, UDP to UDP."""

import asyncio
import socket

import pytest

import vespiary
from vespiary.wasp.gateway import DatagramGateway, StreamGateway

from .gateways import dead, upstream
from .kit import TCP, WS, Echo, echo, serving, streams, until


async def test_tcp_goes_on_to_tcp_with_both_ends() -> None:
    async def answering(connection: vespiary.Connection) -> None:
        received = b"".join([piece async for piece in connection])
        connection.send(b"%d bytes" % len(received))

    async with (
        serving(answering, TCP) as behind,
        serving(StreamGateway([upstream(behind.urls[0])]), TCP) as server,
        streams(server) as (reader, writer),
    ):
        writer.write(b"x" * 5_000_000)
        writer.write_eof()
        assert await reader.read() == b"5000000 bytes"


async def test_a_reset_of_the_server_is_a_reset_of_the_client() -> None:
    async def breaking(connection: vespiary.Connection) -> None:
        await connection.receive()
        connection.abort()
        await connection.wait_closed()

    async with (
        serving(breaking, TCP) as behind,
        serving(StreamGateway([upstream(behind.urls[0])]), TCP) as server,
        streams(server) as (reader, writer),
    ):
        writer.write(b"x")
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_the_next_server_is_used_where_one_is_dead() -> None:
    async with serving(echo, TCP) as behind:
        urls = [dead().replace("http", "tcp"), behind.urls[0]]
        gateway = StreamGateway([upstream(url) for url in urls])
        async with serving(gateway, TCP) as server:
            for _ in range(4):
                async with streams(server) as (reader, writer):
                    writer.write(b"hello")
                    assert await reader.readexactly(5) == b"hello"
    assert [one.requests - one.failures for one in gateway.upstream_statistics()] == [0, 4]


async def test_a_websocket_goes_on_to_tcp() -> None:
    async with (
        serving(echo, TCP) as behind,
        serving(StreamGateway([upstream(behind.urls[0])]), WS) as server,
    ):
        async with vespiary.connect(server.urls[0]) as client:
            client.send("hello")
            assert await client.receive() == b"hello"
        gateway = StreamGateway([upstream(dead().replace("http", "tcp"))])
        async with serving(gateway, WS) as other:
            client = await vespiary.connect(other.urls[0])
            assert (await client.wait_closed()).code == 1014


class Answers(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.queue.put_nowait(data)


async def test_datagrams_go_on_and_their_answers_come_back() -> None:
    class Upper(vespiary.Handler):
        def on_datagram(self, datagram: vespiary.Datagram) -> None:
            datagram.reply(datagram.data.upper())

    loop = asyncio.get_running_loop()
    async with serving(Upper(), "udp://127.0.0.1:0") as behind:
        gateway = DatagramGateway([upstream(behind.urls[0])], 0.2, 2)
        async with serving(gateway, "udp://127.0.0.1:0") as server:
            endpoint = vespiary.Endpoint.parse(server.urls[0])
            address = (endpoint.host, endpoint.port)
            clients = []
            for number in range(2):
                transport, answers = await loop.create_datagram_endpoint(
                    Answers, remote_addr=address
                )
                clients.append(transport)
                for text in (b"a", b"b"):
                    transport.sendto(text + b"%d" % number)
                    assert await answers.queue.get() == text.upper() + b"%d" % number
            assert gateway.upstream_statistics()[0].active == 2
            await until(lambda: gateway.upstream_statistics()[0].active == 0)
            for transport in clients:
                transport.close()


async def test_datagrams_of_clients_beyond_the_limit_are_dropped_counted_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = asyncio.get_running_loop()
    async with serving(DatagramEcho(), "udp://127.0.0.1:0") as behind:
        gateway = DatagramGateway([upstream(behind.urls[0])], 60, 1)
        async with serving(gateway, "udp://127.0.0.1:0") as server:
            address = server.datagram_sockets[0].address
            transport, answers = await loop.create_datagram_endpoint(Answers, remote_addr=address)
            transport.sendto(b"first")
            assert await answers.queue.get() == b"first"
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                for _ in range(3):
                    other.sendto(b"one too many", address)
                dropped = {"clients_max": 3}
                await until(lambda: server.statistics().total.datagrams_dropped == dropped)
            transport.sendto(b"still")
            assert await answers.queue.get() == b"still"
            transport.close()
    assert caplog.text.count("Limit reached: clients_max (1) of the gateway to udp://") == 1


async def test_datagrams_without_a_server_for_them_are_counted() -> None:
    nowhere = upstream("udp://127.0.0.1:9")
    nowhere.is_healthy = False
    async with serving(DatagramGateway([nowhere], 60, 1), "udp://127.0.0.1:0") as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"x", server.datagram_sockets[0].address)
            dropped = {"no_upstream": 1}
            await until(lambda: server.statistics().total.datagrams_dropped == dropped)


class DatagramEcho(vespiary.Handler):
    def on_datagram(self, datagram: vespiary.Datagram) -> None:
        datagram.reply(datagram.data)


async def test_a_client_that_does_not_read_holds_the_server_back() -> None:
    sent = 0

    async def flooding(connection: vespiary.Connection) -> None:
        nonlocal sent
        while True:
            connection.send(b"x" * 65536)
            await connection.drain()
            sent += 65536

    async with (
        serving(flooding, TCP) as behind,
        serving(StreamGateway([upstream(behind.urls[0])]), TCP) as server,
        streams(server) as (reader, _),
    ):
        await reader.readexactly(1)
        before = -1
        while before != sent:
            before = sent
            for _ in range(200):
                await asyncio.sleep(0)
        assert sent < 64 << 20


async def test_an_echo_through_a_chain_of_gateways() -> None:
    async with (
        serving(Echo(), TCP) as behind,
        serving(StreamGateway([upstream(behind.urls[0])]), TCP) as second,
        serving(StreamGateway([upstream(second.urls[0])]), TCP) as first,
        streams(first) as (reader, writer),
    ):
        for number in range(50):
            writer.write(b"%4d" % number)
            assert await reader.readexactly(4) == b"%4d" % number
