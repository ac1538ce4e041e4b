"""Pseudo-connections: a handler of connections serves the peers of datagrams."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

import vespiary
import vespiary.testing
from tests.logs import records
from vespiary import (
    CloseReason,
    ConfigurationError,
    Connection,
    Datagram,
    Deadlines,
    Handler,
    Limits,
    Server,
)
from vespiary.testing import Faults

from .kit import serving, turns, until

UDP = "udp://127.0.0.1:0"


class Echo(Handler[bytes]):
    def __init__(self) -> None:
        self.opened: list[Connection[bytes]] = []
        self.closed: list[CloseReason] = []
        self.limits: list[str] = []

    def on_open(self, connection: Connection[bytes]) -> None:
        self.opened.append(connection)

    def on_message(self, connection: Connection[bytes], message: bytes) -> None:
        if message == b"bye":
            connection.close()
        else:
            connection.send(message)

    def on_close(self, connection: Connection[bytes], reason: CloseReason) -> None:
        self.closed.append(reason)

    def on_limit(self, name: str, value: float) -> None:
        self.limits.append(name)


async def echo(connection: Connection[bytes]) -> None:
    async for message in connection:
        if message == b"bye":
            return
        connection.send(message)


class AsyncEcho(Handler[bytes]):
    async def on_message(self, connection: Connection[bytes], message: bytes) -> None:
        await asyncio.sleep(0)
        if message == b"bye":
            connection.close()
        else:
            connection.send(message)


def address_of(server: Server) -> Any:
    return server.datagram_sockets[0].address


@contextmanager
def client() -> Iterator[socket.socket]:
    """A bound socket of a peer's, which does not block."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.setblocking(False)
        made.bind(("127.0.0.1", 0))
        yield made


async def receive(peer: socket.socket) -> bytes:
    async with asyncio.timeout(20):
        return await asyncio.get_running_loop().sock_recv(peer, 1 << 16)


async def asked(peer: socket.socket, server: Server, question: bytes) -> bytes:
    peer.sendto(question, address_of(server))
    return await receive(peer)


def statistics(server: Server) -> vespiary.EndpointStatistics:
    return server.statistics().endpoints[0]


@pytest.mark.parametrize(
    ("handler", "options"),
    [(Echo, {}), (Echo, {"executor": "threads"}), (echo, {}), (AsyncEcho, {})],
    ids=["plain", "threads", "coroutine", "async"],
)
async def test_every_form_of_handler_serves_the_peers(
    handler: Any, options: dict[str, Any]
) -> None:
    async with serving(handler, UDP, connections=True, **options) as server:
        with client() as one, client() as other:
            for length in (0, 1, 1472, 9000):
                for peer in (one, other):
                    assert await asked(peer, server, b"x" * length) == b"x" * length
            before = statistics(server)
            assert (before.connections_open, before.connections_accepted) == (2, 2)
            assert (before.messages_received, before.messages_sent) == (8, 8)
            one.sendto(b"bye", address_of(server))
            await until(lambda: statistics(server).connections_open == 1)
            assert await asked(one, server, b"me again") == b"me again"
            assert statistics(server).connections_accepted == 3
            assert statistics(server).connections_broken == 0


async def test_a_connection_knows_its_peer_and_the_address_that_it_sent_to() -> None:
    handler = Echo()
    async with serving(handler, "udp://0.0.0.0:0", connections=True) as server:
        port = address_of(server)[1]
        with client() as peer:
            for host in ("127.0.0.1", "127.0.0.2"):
                peer.sendto(host.encode(), (host, port))
                assert await receive(peer) == host.encode()
                connection = handler.opened[-1]
                assert connection.peer == peer.getsockname()
                assert connection.local_address == (host, port)
                assert connection.is_open
            # The answer comes from where the question went, and so each address has its own.
            assert len(handler.opened) == 2
            handler.opened[0].send(b"later")
            async with asyncio.timeout(20):
                came = await asyncio.to_thread(_received_from, peer)
            assert came == (b"later", ("127.0.0.1", port))
    reason = handler.opened[0].close_reason
    assert reason is not None
    assert (handler.opened[0].peer, reason.code) == (handler.opened[1].peer, None)


def _received_from(peer: socket.socket) -> tuple[bytes, Any]:
    peer.setblocking(True)
    peer.settimeout(15)
    return peer.recvfrom(1 << 16)


async def test_a_unix_socket_has_connections_with_peers_that_have_a_name(tmp_path: Path) -> None:
    handler = Echo()
    url = f"unixgram://{tmp_path}/server"
    async with serving(handler, url, connections=True) as server:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
            peer.setblocking(False)
            peer.sendto(b"nobody", f"{tmp_path}/server")
            await until(lambda: statistics(server).datagrams_dropped == {"no_address": 1})
            peer.bind(f"{tmp_path}/peer")
            peer.sendto(b"hello", f"{tmp_path}/server")
            assert await receive(peer) == b"hello"
    assert [one.peer for one in handler.opened] == [f"{tmp_path}/peer"]


async def test_a_silent_peer_is_forgotten_and_that_is_a_clean_end() -> None:
    ended: list[str] = []

    async def listen(connection: Connection[bytes]) -> None:
        async for _message in connection:
            pass
        ended.append("cleanly")

    handler = Echo()
    deadlines = Deadlines(datagram_idle_seconds=0.05)
    async with serving(handler, UDP, connections=True, deadlines=deadlines) as server:
        with client() as peer:
            assert await asked(peer, server, b"hello") == b"hello"
            await until(lambda: bool(handler.closed))
        counted = statistics(server)
    (reason,) = handler.closed
    assert str(reason) == "closed by this end: the peer was silent: datagram_idle_seconds is 0.05"
    assert (counted.connections_closed, counted.connections_broken) == (1, 0)
    assert counted.limits_reached == {"datagram_idle_seconds": 1}
    assert handler.limits == []
    async with serving(listen, UDP, connections=True, deadlines=deadlines) as server:
        with client() as peer:
            peer.sendto(b"hello", address_of(server))
            await until(lambda: bool(ended))
        assert statistics(server).handler_errors == 0


async def test_invented_peers_are_bounded_counted_and_reported() -> None:
    handler = Echo()
    limits = Limits(connections_max=3)
    async with serving(handler, UDP, connections=True, limits=limits) as server:
        with ExitStack() as stack:
            peers = [stack.enter_context(client()) for _ in range(20)]
            for peer in peers:
                peer.sendto(b"let me in", address_of(server))
            await until(lambda: statistics(server).datagrams_received == 20)
            counted = statistics(server)
            assert counted.connections_open == 3
            assert counted.datagrams_dropped == {"connections_max": 17}
            assert counted.connections_refused == {"connections_max": 17}
            assert counted.limits_reached == {"connections_max": 17}
            await until(lambda: bool(handler.limits))
            assert set(handler.limits) == {"connections_max"}
            assert await asked(peers[0], server, b"let me in") == b"let me in"


async def test_a_coroutine_that_is_behind_loses_what_its_inbox_has_no_room_for() -> None:
    goes_on = asyncio.Event()
    took: list[bytes] = []

    async def slow(connection: Connection[bytes]) -> None:
        await goes_on.wait()
        while connection.is_open:
            took.append(await connection.receive())

    limits = Limits(inbox_messages_max=4)
    async with serving(slow, UDP, connections=True, limits=limits) as server:
        with client() as peer:
            for number in range(10):
                peer.sendto(bytes([number]), address_of(server))
            await until(lambda: statistics(server).datagrams_received == 10)
            assert statistics(server).datagrams_dropped == {"paused": 6}
            goes_on.set()
            await until(lambda: len(took) == 4)
            peer.sendto(b"again", address_of(server))
            await until(lambda: len(took) == 5)
    assert took == [b"\0", b"\1", b"\2", b"\3", b"again"]


async def test_a_handler_that_fails_concerns_one_peer_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Fails(Echo):
        def on_message(self, connection: Connection[bytes], message: bytes) -> None:
            if message == b"fail":
                raise ValueError("asked to")
            connection.send(message)

    handler = Fails()
    async with serving(handler, UDP, connections=True) as server:
        with client() as one, client() as other:
            assert await asked(other, server, b"before") == b"before"
            while len(handler.closed) < 2:
                closed = len(handler.closed)
                one.sendto(b"fail", address_of(server))
                await until(lambda: len(handler.closed) > closed)  # noqa: B023
            assert await asked(one, server, b"again") == b"again"
            assert await asked(other, server, b"after") == b"after"
            assert len(handler.opened) == 4
        assert statistics(server).handler_errors == 2
    assert str(handler.closed[0]) == "broken by this end: the handler failed"
    assert len(records(caplog, logging.ERROR)) == 1


async def test_topics_reach_the_peers_of_datagrams_and_of_streams() -> None:
    class Subscribes(Handler[bytes]):
        def on_message(self, connection: Connection[bytes], message: bytes) -> None:
            connection.subscribe("news")
            connection.send(b"subscribed")

    server = Server(signals=False)
    handler = Subscribes()
    server.add(handler, UDP, connections=True)
    server.add(handler, "tcp://127.0.0.1:0", framing="line")
    async with server:
        stream = await vespiary.connect(server.urls[1], framing="line")
        stream.send(b"?")
        assert await stream.receive() == b"subscribed"
        with client() as peer:
            assert await asked(peer, server, b"?") == b"subscribed"
            assert server.publish("news", b"spring") == 2
            assert await receive(peer) == b"spring"
            assert await stream.receive() == b"spring"
        stream.close()


async def test_a_drain_serves_the_peers_that_are_there_and_then_closes_them() -> None:
    class Leaves(Echo):
        asked_to_leave = 0

        def on_shutdown(self, connection: Connection[bytes]) -> None:
            self.asked_to_leave += 1

    handler = Leaves()
    with client() as known, client() as new:
        async with serving(handler, UDP, connections=True) as server:
            address = address_of(server)
            assert await asked(known, server, b"hello") == b"hello"
            stopping = asyncio.create_task(server.stop())
            await until(lambda: handler.asked_to_leave == 1)
            new.sendto(b"too late", address)
            await until(lambda: statistics(server).datagrams_dropped == {"closed": 1})
            known.sendto(b"still here", address)
            assert await receive(known) == b"still here"
            known.sendto(b"bye", address)
            await stopping
            counted = statistics(server)
        assert (counted.connections_accepted, counted.connections_closed) == (1, 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(address)


@pytest.mark.parametrize("handler", [Echo, echo])
async def test_a_stop_closes_the_peers_that_do_not_leave(handler: Any) -> None:
    async with serving(handler, UDP, connections=True) as server:
        with client() as peer:
            assert await asked(peer, server, b"hello") == b"hello"
        await server.stop()
        counted = statistics(server)
    assert (counted.connections_closed, counted.connections_broken) == (1, 0)


async def test_a_thread_sends_to_a_peer() -> None:
    handler = Echo()
    async with serving(handler, UDP, connections=True) as server:
        with client() as peer:
            assert await asked(peer, server, b"hello") == b"hello"
            await asyncio.to_thread(handler.opened[0].send, b"from afar")
            assert await receive(peer) == b"from afar"


async def test_what_a_datagram_cannot_be_is_refused() -> None:
    errors: list[Exception] = []

    class Tries(Handler[bytes]):
        def on_message(self, connection: Connection[bytes], message: bytes) -> None:
            for act in (
                lambda: connection.send(b"x" * 65_508),
                lambda: connection.send_part(b"x", last=False),
                connection.send_end,
                connection.ping,
            ):
                try:
                    act()
                except Exception as error:
                    errors.append(error)
            connection.send(b"done")

    async with serving(Tries(), UDP, connections=True) as server:
        with client() as peer:
            assert await asked(peer, server, b"?") == b"done"
    texts = [str(error) for error in errors]
    assert len(texts) == 4, texts
    assert "65,507 bytes" in texts[0]
    assert "datagrams have no end" in texts[2]


class Both(Echo):
    def on_datagram(self, datagram: Datagram) -> None: ...


class Single(Handler):
    def on_datagram(self, datagram: Datagram) -> None: ...


class Parts(Handler):
    def on_part(self, connection: Connection, part: bytes, last: bool, text: bool) -> None: ...


class Requests(Handler):
    def on_request(self, request: vespiary.Request) -> None: ...


@pytest.mark.parametrize(
    ("url", "handler", "options", "text"),
    [
        ("tcp://127.0.0.1:0", Echo, {}, r"connections= is for datagrams"),
        (UDP, Both, {}, r"on_datagram of Both is never called: remove one of the two"),
        (UDP, Single, {}, r"on_datagram of Single is never called"),
        (UDP, Parts, {}, r"a datagram has no parts, so on_part of Parts is never called"),
        (UDP, Requests, {}, r"on_request would never be called"),
        (UDP, Echo, {"packet_info": True}, r"packet_info= is for handlers with on_datagram"),
        (UDP, Echo, {"broadcast": True}, r"broadcast= is for handlers with on_datagram"),
        (UDP, Echo, {"framing": "line"}, r"framing= is for streams"),
        (UDP, Echo, {"connections": 1}, r"connections= takes True or False"),
        (UDP, Echo, {"connections": False}, r"define on_datagram.* or pass connections=True"),
    ],
)
def test_what_would_have_no_effect_is_an_error(
    url: str, handler: Any, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigurationError, match=text):
        Server().add(handler, url, **{"connections": True, **options})


def test_under_loss_each_datagram_of_a_connection_comes_whole_or_not_at_all() -> None:
    faults = Faults(lost_datagrams=0.2, doubled_datagrams=0.1)
    answers: list[bytes] = []

    class Asks(Handler):
        def on_datagram(self, datagram: Datagram) -> None:
            answers.append(datagram.data)

    async def main() -> vespiary.EndpointStatistics:
        server = Server(signals=False)
        server.add(Echo(), UDP, connections=True)
        server.add(Asks(), UDP)
        async with server:
            served, own = server.datagram_sockets
            for number in range(200):
                own.send_to(bytes([number]) * number, served.address)
                await turns()
            await until(lambda: statistics(server).connections_closed == 1)
            return statistics(server)

    counted = vespiary.testing.run(main(), seed=3, faults=faults)
    assert all(answer == bytes([len(answer)]) * len(answer) for answer in answers)
    assert 0 < len(set(answers)) < 200
    assert (counted.connections_accepted, counted.connections_closed) == (1, 1)
