"""Peers of pseudo-connections that claim to be others, are too many, or want many answers."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

import vespiary
from vespiary import Connection, Deadlines, Handler, Limits, Server
from vespiary.statistics import EndpointStatistics

from .kit import serving, turns, until

UDP = "udp://127.0.0.1:0"


class Numbers(Handler[bytes]):
    """Answers with how many datagrams came on the same connection."""

    def __init__(self) -> None:
        self.opened: list[Connection[bytes]] = []

    def on_open(self, connection: Connection[bytes]) -> None:
        connection.data = 0
        self.opened.append(connection)

    def on_message(self, connection: Connection[bytes], message: bytes) -> None:
        connection.data += 1
        connection.send(b"%d" % connection.data)


@contextmanager
def peer(address: str = "127.0.0.1", port: int = 0) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.setblocking(False)
        one.bind((address, port))
        yield one


def target(server: Server) -> tuple[str, int]:
    endpoint = vespiary.Endpoint.parse(server.urls[0])
    return endpoint.host, endpoint.port


def total(server: Server) -> EndpointStatistics:
    return server.statistics().total


async def answer(one: socket.socket) -> bytes:
    return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(one, 2048), 30)


async def asked(one: socket.socket, server: Server, message: bytes = b"x") -> bytes:
    one.sendto(message, target(server))
    return await answer(one)


async def test_a_peer_with_the_port_of_another_has_a_connection_of_its_own() -> None:
    handler = Numbers()
    async with serving(handler, UDP, connections=True) as server:
        with peer() as victim:
            port = victim.getsockname()[1]
            assert await asked(victim, server) == b"1"
            with ExitStack() as stack:
                for last in range(2, 20):
                    other = stack.enter_context(peer(f"127.0.0.{last}", port))
                    assert await asked(other, server) == b"1"
            assert await asked(victim, server) == b"2"
        peers = [connection.peer for connection in handler.opened]
        assert len(peers) == len(set(peers)) == 19


async def test_a_server_sends_to_its_peers_what_the_handler_sends_and_nothing_else() -> None:
    class Silent(Handler[bytes]):
        def on_message(self, connection: Connection[bytes], message: bytes) -> None:
            pass

    # The victim of an invented address gets nothing: no greeting, no close, no error.
    deadlines = Deadlines(datagram_idle_seconds=0.05, drain_seconds=1.0)
    limits = Limits(connections_max=5, message_bytes_max=100, datagram_bytes_max=100)
    with peer() as victim, peer() as late:
        async with serving(
            Silent, UDP, connections=True, deadlines=deadlines, limits=limits
        ) as server:
            for size in (0, 1, 100, 101, 5000):
                victim.sendto(bytes(size), target(server))
            await until(lambda: total(server).connections_closed == 1)
            # The server stops while one is open.
            late.sendto(b"x", target(server))
            await until(lambda: total(server).connections_open == 1)
        counted = total(server)
        assert (counted.datagrams_sent, counted.bytes_sent) == (0, 0)
        for one in (victim, late):
            with pytest.raises(BlockingIOError):
                one.recv(2048)


async def test_answers_go_to_the_address_that_asked_and_are_not_multiplied() -> None:
    async with serving(Numbers(), UDP, connections=True) as server:
        with ExitStack() as stack:
            peers = [stack.enter_context(peer(f"127.0.1.{last}")) for last in range(1, 31)]
            for one in peers:
                for _ in range(3):
                    one.sendto(b"xx", target(server))
            for one in peers:
                assert [await answer(one) for _ in range(3)] == [b"1", b"2", b"3"]
                with pytest.raises(BlockingIOError):
                    one.recv(2048)
        counted = total(server)
        assert counted.datagrams_sent == counted.datagrams_received == 90
        assert counted.bytes_sent <= counted.bytes_received


@pytest.mark.parametrize(
    "limits",
    [
        Limits(connections_max=50),
        Limits(accepts_per_second_max=49),
        Limits(connections_per_address_max=1, connections_max=50),
    ],
    ids=["connections_max", "accepts_per_second_max", "connections_per_address_max"],
)
async def test_a_flood_of_invented_peers_is_bounded_and_those_that_are_there_are_served(
    limits: Limits,
) -> None:
    handler = Numbers()
    async with serving(handler, UDP, connections=True, limits=limits) as server:
        with peer() as known:
            assert await asked(known, server) == b"1"
            with ExitStack() as stack:
                crowd = [stack.enter_context(peer(f"127.1.0.{last}")) for last in range(1, 250)]
                for _ in range(4):
                    for one in crowd:
                        one.sendto(b"let me in", target(server))
                    # The peer that is there is served all the time.
                    await asked(known, server)
            await until(lambda: total(server).datagrams_received == 1 + 4 + 4 * len(crowd))
            assert len(handler.opened) < 250
            counted = total(server)
            assert counted.connections_open <= 250
            refused: dict[str, Any] = dict(counted.connections_refused)
            assert counted.datagrams_dropped == refused
            if limits.connections_max == 50 and limits.connections_per_address_max is None:
                assert counted.connections_open == 50
                assert refused == {"connections_max": counted.connections_accepted - 50}
            assert await asked(known, server) == b"6"


async def test_a_peer_that_comes_back_after_its_time_has_a_new_connection() -> None:
    handler = Numbers()
    deadlines = Deadlines(datagram_idle_seconds=0.05)
    async with serving(handler, UDP, connections=True, deadlines=deadlines) as server:
        with peer() as one:
            assert await asked(one, server) == b"1"
            await until(lambda: total(server).connections_closed == 1)
            # Anyone can have this address now: nothing of before is left.
            assert await asked(one, server) == b"1"
        assert len(handler.opened) == 2


async def test_a_network_that_reports_errors_for_a_peer_ends_nothing() -> None:
    handler = Numbers()
    async with serving(handler, UDP, connections=True) as server:
        with peer() as good, peer() as gone:
            assert await asked(good, server) == b"1"
            assert await asked(gone, server) == b"1"
            gone.close()
            connection = handler.opened[1]
            for _ in range(3):
                # Its port is closed, so the kernel answers with ICMP.
                connection.send(b"are you there?")
                await turns()
            await until(lambda: total(server).datagram_errors.get("ECONNREFUSED"))
            assert await asked(good, server) == b"2"
            assert total(server).connections_open >= 1
