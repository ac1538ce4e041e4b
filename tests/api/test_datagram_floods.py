"""More datagrams than a server can handle, some of them from senders that do not exist."""

import asyncio
import socket
import threading
from pathlib import Path

import vespiary
from vespiary import Datagram, Handler, Limits, Server

from .kit import serving, until

UDP = "udp://127.0.0.1:0"


def address_of(server: Server) -> tuple[str, int]:
    address = server.datagram_sockets[0].address
    assert isinstance(address, tuple)
    return address


def client(host: str = "127.0.0.1") -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((host, 0))
    return made


def statistics(server: Server) -> vespiary.EndpointStatistics:
    return server.statistics().endpoints[0]


async def test_what_overflows_the_kernels_buffer_is_counted() -> None:
    class Slow(Handler):
        has_come = 0

        def on_datagram(self, datagram: Datagram) -> None:
            self.has_come += 1

    handler = Slow()
    async with serving(handler, UDP, receive_buffer_bytes=4096) as server:
        with client() as peer:
            # Nothing is received meanwhile: the loop runs in this thread.
            for _ in range(100):
                peer.sendto(b"x" * 1000, address_of(server))
            await until(lambda: handler.has_come > 0)
            peer.sendto(b"last", address_of(server))

            def is_counted() -> bool:
                dropped = statistics(server).datagrams_dropped.get("receive_buffer", 0)
                return dropped + handler.has_come == 101

            await until(is_counted)


async def test_a_flood_does_not_stop_a_connection_of_the_same_loop() -> None:
    class Counts(Handler):
        def on_datagram(self, datagram: Datagram) -> None: ...

        def on_message(self, connection: vespiary.Connection, message: bytes) -> None:
            connection.send(message)

    server, handler = Server(), Counts()
    server.add(handler, UDP)
    server.add(handler, "tcp://127.0.0.1:0")
    stop = threading.Event()
    async with server:
        address = address_of(server)

        def flood() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
                for _ in range(1_000_000):
                    if stop.is_set():
                        return
                    peer.sendto(b"x" * 100, address)

        flooding = threading.Thread(target=flood)
        flooding.start()
        try:
            await until(lambda: statistics(server).datagrams_received > 0)
            async with vespiary.connect(server.urls[1]) as connection:
                for number in range(50):
                    connection.send(bytes([number]))
                    assert await connection.receive(20) == bytes([number])
        finally:
            stop.set()
            flooding.join()


async def test_answers_to_senders_that_do_not_exist_are_counted_and_stop_nothing() -> None:
    class Echo(Handler):
        def on_datagram(self, datagram: Datagram) -> None:
            datagram.reply(datagram.data)

    async with serving(Echo(), "udp://0.0.0.0:0") as server:
        port = address_of(server)[1]
        for number in range(200):
            # The socket is closed by the time of the answer, as if its address had been made up.
            with client(f"127.0.{number}.1") as gone:
                gone.sendto(b"x", ("127.0.0.1", port))
        await until(lambda: statistics(server).datagrams_received == 200)
        await until(lambda: statistics(server).datagram_errors.get("ECONNREFUSED", 0) > 0)
        with client() as peer:
            peer.setblocking(False)
            peer.sendto(b"hello", ("127.0.0.1", port))
            async with asyncio.timeout(20):
                assert await asyncio.get_running_loop().sock_recv(peer, 9) == b"hello"


async def test_answers_beyond_the_write_queue_are_dropped_and_counted() -> None:
    class Amplifies(Handler):
        refused = 0

        def on_datagram(self, datagram: Datagram) -> None:
            for _ in range(100):
                self.refused += not datagram.reply(b"x" * 1000)

    handler = Amplifies()
    limits = Limits(write_bytes_max=10_000, write_high_bytes=10_000, write_low_bytes=10_000)
    async with serving(handler, UDP, limits=limits) as server:
        with client() as peer:
            for _ in range(10):
                peer.sendto(b"x", address_of(server))
            await until(lambda: statistics(server).datagrams_received == 10)
        assert handler.refused >= 10 * 90 - 64
        assert server.datagram_sockets[0].queued_bytes <= 10_000
        assert statistics(server).datagrams_dropped["write_bytes_max"] == handler.refused
        assert statistics(server).limits_reached["write_bytes_max"] == handler.refused


async def test_a_unix_peer_that_does_not_read_delays_the_others_once(tmp_path: Path) -> None:
    class Echo(Handler):
        def on_datagram(self, datagram: Datagram) -> None:
            datagram.reply(datagram.data)

    async with serving(Echo(), f"unixgram://{tmp_path}/server") as server:
        with unix_client(tmp_path / "deaf") as deaf, unix_client(tmp_path / "other") as other:
            for _ in range(1000):
                await sent_to(deaf, tmp_path / "server")
            for number in range(10):
                await sent_to(other, tmp_path / "server", b"%d" % number)
                loop = asyncio.get_running_loop()
                # One that waits behind each dropped datagram would take minutes.
                answer = await asyncio.wait_for(loop.sock_recv(other, 100), 20)
                assert answer == b"%d" % number
        assert statistics(server).datagrams_dropped["EAGAIN"] > 0


def unix_client(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(str(path))
    made.setblocking(False)
    return made


async def sent_to(client: socket.socket, path: Path, data: bytes = b"x" * 100) -> None:
    """Send a datagram as soon as the server's socket has room for it."""
    while True:
        try:
            client.sendto(data, str(path))
        except BlockingIOError:
            await asyncio.sleep(0)
        else:
            return
