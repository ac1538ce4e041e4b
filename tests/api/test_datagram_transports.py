"""The transports of asyncio's `create_datagram_endpoint` in our loop."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.addresses import OWN_HOST
from tests.waiting import until

from .transports import run


class Recorder(asyncio.DatagramProtocol):
    """Notes what happens to it."""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, Any]] = []
        self.errors: list[Exception] = []
        self.lost: list[Exception | None] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received.append((data, addr))

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_burst_arrives_whole_and_in_order_with_its_addresses(driver: str, host: str) -> None:
    class Echo(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            self.transport.sendto(data, addr)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, echo = await loop.create_datagram_endpoint(Echo, (host, 0))
        address = ours.get_extra_info("sockname")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as theirs:
            theirs.bind((host, 0))
            theirs.settimeout(10)
            # More than are received in a row.
            sent = [b"%d" % number for number in range(100)]
            for data in (*sent, b"", b"x" * 65_000):
                theirs.sendto(data, address)
            await until(lambda: len(echo.received) == 102)
            assert echo.received == [
                (data, theirs.getsockname()) for data in (*sent, b"", b"x" * 65_000)
            ]
            assert [theirs.recv(65_536) for _ in sent] == sent
        ours.close()
        await until(lambda: echo.lost)

    run(main(), driver)


@pytest.mark.parametrize("act", ["close", "abort", "pause"])
def test_a_protocol_may_end_or_pause_its_transport_within_a_burst(driver: str, act: str) -> None:
    class Ending(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            method = "pause_reading" if act == "pause" else act
            getattr(self.transport, method)()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, protocol = await loop.create_datagram_endpoint(Ending, ("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs:
            theirs.connect(ours.get_extra_info("sockname"))
            for number in range(5):
                theirs.send(b"%d" % number)
            await until(lambda: protocol.received)
            for _ in range(5):
                await asyncio.sleep(0)
            assert [data for data, _ in protocol.received] == [b"0"]
            if act == "pause":
                protocol.transport.resume_reading()
                await until(lambda: len(protocol.received) == 2)
                ours.close()
            await until(lambda: protocol.lost)

    run(main(), driver)


def test_errors_reach_the_protocol_and_exceptions_the_loops_handler(driver: str) -> None:
    class Faulty(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            if data == b"fault":
                raise ZeroDivisionError("planted")

    async def main() -> None:
        reports: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: reports.append(context))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs:
            theirs.bind((OWN_HOST, 0))
            address = theirs.getsockname()
            ours, protocol = await loop.create_datagram_endpoint(Faulty, remote_addr=address)
            for data in (b"one", b"fault", b"two"):
                theirs.sendto(data, ours.get_extra_info("sockname"))
            await until(lambda: len(protocol.received) == 3)
            assert isinstance(reports[0]["exception"], ZeroDivisionError)
            assert len(reports) == 1
        protocol.transport.sendto(b"nobody is there")
        await until(lambda: protocol.errors)
        assert isinstance(protocol.errors[0], ConnectionRefusedError)
        assert not protocol.transport.is_closing()
        ours.close()
        await until(lambda: protocol.lost)

    run(main(), driver)


def test_datagrams_of_unix_sockets_may_be_longer_than_those_of_udp(
    driver: str, tmp_path: Path
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        path = str(tmp_path / "socket")
        ours, protocol = await loop.create_datagram_endpoint(Recorder, path, family=socket.AF_UNIX)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as theirs:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
            theirs.sendto(b"x" * 100_000, path)
            await until(lambda: protocol.received)
            assert protocol.received[0][0] == b"x" * 100_000
        ours.close()
        await until(lambda: protocol.lost)

    run(main(), driver)
