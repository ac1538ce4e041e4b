"""Endpoints for datagrams: `udp://` and `unixgram://`."""

import asyncio
import contextvars
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import vespiary
from tests.logs import records
from vespiary import ConfigurationError, Datagram, Handler, Limits, Server

from .kit import forever, serving, turns, until

UDP = "udp://127.0.0.1:0"


class Echo(Handler):
    def on_datagram(self, datagram: Datagram) -> None:
        assert datagram.reply(datagram.data)


async def echo(datagram: Datagram) -> None:
    await asyncio.sleep(0)
    datagram.reply(datagram.data)


def address_of(server: Server) -> Any:
    return server.datagram_sockets[0].address


@contextmanager
def client(family: int = socket.AF_INET) -> Iterator[socket.socket]:
    """A bound socket of a peer's, which does not block."""
    with socket.socket(family, socket.SOCK_DGRAM) as made:
        made.setblocking(False)
        if family != socket.AF_UNIX:
            made.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        yield made


async def receive(peer: socket.socket) -> bytes:
    async with asyncio.timeout(20):
        return await asyncio.get_running_loop().sock_recv(peer, 1 << 16)


async def receive_from(peer: socket.socket) -> tuple[bytes, Any]:
    """A datagram and its sender; uvloop has no `sock_recvfrom`."""
    came: list[tuple[bytes, Any]] = []

    def has_come() -> bool:
        with suppress(BlockingIOError):
            came.append(peer.recvfrom(1 << 16))
        return bool(came)

    await until(has_come)
    return came[0]


def statistics(server: Server) -> vespiary.EndpointStatistics:
    return server.statistics().endpoints[0]


@pytest.mark.parametrize("handler", [Echo, echo])
async def test_a_datagram_is_answered_by_a_handler_and_by_an_async_function(handler: Any) -> None:
    async with serving(handler, UDP) as server:
        with client() as peer:
            for data in (b"hello", b"", b"x" * 9000):
                peer.sendto(data, address_of(server))
                assert await receive(peer) == data
        found = statistics(server)
    assert (found.datagrams_received, found.datagrams_sent) == (3, 3)
    assert (found.bytes_received, found.bytes_sent) == (9005, 9005)
    assert (found.datagrams_dropped, found.datagram_errors) == ({}, {})


async def test_a_datagram_knows_its_ends_and_what_was_asked_for() -> None:
    seen: list[Datagram] = []

    class Keeper(Handler):
        def on_datagram(self, datagram: Datagram) -> None:
            seen.append(datagram)

    async with serving(Keeper(), "udp://0.0.0.0:0", packet_info=True) as server:
        port = address_of(server)[1]
        with client() as peer:
            peer.sendto(b"one", ("127.0.0.2", port))
            await until(lambda: len(seen) == 1)
            found = seen[0]
            assert found.peer == peer.getsockname()
            assert found.local_address == ("127.0.0.2", port)
            assert (found.ttl, found.ecn, found.data) == (64, 0, b"one")
            assert found.socket is server.datagram_sockets[0]
            assert found.reply("later")
            assert await receive_from(peer) == (b"later", ("127.0.0.2", port))
    async with serving(Keeper(), UDP) as server:
        with client() as peer:
            peer.sendto(b"two", address_of(server))
            await until(lambda: len(seen) == 2)
    assert (seen[1].ttl, seen[1].ecn) == (None, None)
    assert seen[1].socket.is_closed
    with pytest.raises(RuntimeError, match="socket is closed"):
        seen[1].reply(b"too late")
    with pytest.raises(RuntimeError, match="socket is closed"):
        seen[1].socket.send_to(b"too late", ("127.0.0.1", 9))


async def test_ipv6_and_a_host_with_several_addresses() -> None:
    async with serving(Echo(), "udp://[::1]:0") as server:
        with client(socket.AF_INET6) as peer:
            peer.sendto(b"six", address_of(server))
            assert await receive(peer) == b"six"
        with pytest.raises(ValueError, match="the addresses are of different families"):
            server.datagram_sockets[0].send_to(b"x", ("127.0.0.1", 9))
    async with serving(Echo(), "udp://localhost:0") as server:
        ports = {one.address[1] for one in server.datagram_sockets}
        assert ports == {vespiary.Endpoint.parse(server.urls[0]).port}


async def test_a_unix_socket_for_datagrams_answers_peers_that_have_a_name(tmp_path: Path) -> None:
    path = tmp_path / "ours"
    async with serving(Echo(), f"unixgram://{path}", mode=0o600) as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with client(socket.AF_UNIX) as named, client(socket.AF_UNIX) as unnamed:
            named.bind(str(tmp_path / "theirs"))
            named.sendto(b"hello", str(path))
            assert await receive(named) == b"hello"
            unnamed.sendto(b"nobody", str(path))
            await until(lambda: statistics(server).datagrams_dropped == {"no_address": 1})
        assert server.datagram_sockets[0].address == str(path)
    assert not path.exists()


async def test_a_thread_sends_and_answers() -> None:
    seen: list[Datagram] = []

    class Keeper(Handler):
        def on_datagram(self, datagram: Datagram) -> None:
            seen.append(datagram)

    async with serving(Keeper(), UDP) as server:
        with client() as peer:
            own = server.datagram_sockets[0]
            name = peer.getsockname()
            await asyncio.to_thread(own.send_to, b"unasked", name)
            assert await receive(peer) == b"unasked"
            peer.sendto(b"question", own.address)
            await until(lambda: bool(seen))
            await asyncio.to_thread(seen[0].reply, b"answer")
            assert await receive(peer) == b"answer"
            with pytest.raises(ValueError, match="the addresses are of different families"):
                await asyncio.to_thread(own.send_to, b"x", ("::1", 9))


async def test_an_unreachable_peer_is_counted_and_the_others_are_served() -> None:
    async with serving(Echo(), UDP) as server:
        with client() as gone:
            nobody = gone.getsockname()
        server.datagram_sockets[0].send_to(b"anybody?", nobody)
        await until(lambda: statistics(server).datagram_errors == {"ECONNREFUSED": 1})
        with client() as peer:
            peer.sendto(b"hello", address_of(server))
            assert await receive(peer) == b"hello"


async def test_what_the_kernel_refuses_is_counted_by_the_errno() -> None:
    async with serving(Echo(), UDP) as server:
        own = server.datagram_sockets[0]
        assert own.send_to(b"x" * 65_508, ("127.0.0.1", 9))
        assert own.send_to(b"x", ("255.255.255.255", 9))
        dropped = {"EMSGSIZE": 1, "EACCES": 1}
        await until(lambda: statistics(server).datagrams_dropped == dropped)


async def test_a_datagram_beyond_the_limit_is_dropped_counted_and_reported() -> None:
    reached: list[tuple[str, float]] = []

    class Small(Echo):
        def on_limit(self, name: str, value: float) -> None:
            reached.append((name, value))

    async with serving(Small(), UDP, limits=Limits(datagram_bytes_max=10)) as server:
        with client() as peer:
            peer.sendto(b"x" * 11, address_of(server))
            peer.sendto(b"y" * 10, address_of(server))
            assert await receive(peer) == b"y" * 10
        await until(lambda: reached == [("datagram_bytes_max", 10)])
        assert statistics(server).datagrams_dropped == {"datagram_bytes_max": 1}


async def test_an_async_handler_works_on_a_bounded_number_at_a_time() -> None:
    begun = asyncio.Semaphore(0)
    goes_on = asyncio.Event()

    async def slow(datagram: Datagram) -> None:
        begun.release()
        await goes_on.wait()
        datagram.reply(datagram.data)

    async with serving(slow, UDP, limits=Limits(datagrams_pending_max=2)) as server:
        with client() as peer:
            for number in range(5):
                peer.sendto(bytes([number]), address_of(server))
            await begun.acquire()
            await begun.acquire()
            await until(
                lambda: statistics(server).datagrams_dropped == {"datagrams_pending_max": 3}
            )
            goes_on.set()
            assert {await receive(peer), await receive(peer)} == {b"\0", b"\1"}
            peer.sendto(b"again", address_of(server))
            assert await receive(peer) == b"again"
        assert statistics(server).limits_reached["datagrams_pending_max"] == 3


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_a_handler_that_raises_is_counted_and_logged_once_in_a_while(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(data: bytes) -> None:
        if data == b"bad":
            raise ZeroDivisionError

    class Plain(Handler):
        def on_datagram(self, datagram: Datagram) -> None:
            fail(datagram.data)
            datagram.reply(datagram.data)

    async def later(datagram: Datagram) -> None:
        fail(datagram.data)
        datagram.reply(datagram.data)

    handler: Any = Plain() if kind == "plain" else later
    async with serving(handler, UDP) as server:
        with client() as peer:
            for _ in range(5):
                peer.sendto(b"bad", address_of(server))
            peer.sendto(b"good", address_of(server))
            assert await receive(peer) == b"good"
        await until(lambda: statistics(server).handler_errors == 5)
        url = server.urls[0]
    logged = [one for one in records(caplog) if url in one.getMessage() and one.exc_info]
    assert len(logged) == 1
    message = logged[0].getMessage()
    assert message.startswith(f"Handler failed for a datagram on {url}, peer 127.0.0.1:")


async def test_one_handler_serves_a_stream_and_datagrams() -> None:
    class Both(Echo):
        def on_message(self, connection: vespiary.Connection, message: bytes) -> None:
            connection.send(message)

    server, handler = Server(), Both()
    server.add(handler, "tcp://127.0.0.1:0")
    server.add(handler, UDP)
    async with server:
        tcp = vespiary.Endpoint.parse(server.urls[0])
        assert (tcp.scheme, len(server.datagram_sockets)) == ("tcp", 1)
        async with vespiary.connect(server.urls[0]) as connection:
            connection.send(b"stream")
            assert await connection.receive() == b"stream"
        with client() as peer:
            peer.sendto(b"datagram", address_of(server))
            assert await receive(peer) == b"datagram"
    with pytest.raises(ConfigurationError, match="on_datagram is never called on a stream"):
        Server().add(Echo(), "tcp://127.0.0.1:0")


async def test_tcp_and_udp_share_a_number_and_two_udp_endpoints_do_not() -> None:
    server = Server()
    server.add(Echo(), UDP)
    async with server:
        port = address_of(server)[1]
        other = Server()
        other.add(Echo(), f"udp://127.0.0.1:{port}")
        with pytest.raises(OSError, match="another process listens there"):
            await other.start()
    mixed = Server()
    mixed.add(stream_echo, f"tcp://127.0.0.1:{port}")
    mixed.add(Echo(), f"udp://127.0.0.1:{port}")
    with pytest.raises(ConfigurationError, match="cannot listen on"):
        mixed.add(Echo(), f"udp://127.0.0.1:{port}")


async def stream_echo(connection: vespiary.Connection) -> None:
    async for message in connection:
        connection.send(message)


async def test_a_stop_waits_for_the_tasks_and_sends_their_answers() -> None:
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def slow(datagram: Datagram) -> None:
        begun.set()
        await goes_on.wait()
        datagram.reply(b"done")

    with client() as peer:
        async with serving(slow, UDP) as server:
            address = address_of(server)
            peer.sendto(b"work", address)
            await begun.wait()
            stopping = asyncio.create_task(server.stop())
            await turns()
            peer.sendto(b"too late", address)
            goes_on.set()
            await stopping
            assert statistics(server).datagrams_received == 1
        assert await receive(peer) == b"done"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(address)


async def test_a_task_that_does_not_end_is_cancelled_at_the_end_of_the_drain() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def stuck(_datagram: Datagram) -> None:
        begun.set()
        try:
            await forever()
        finally:
            ended.set()

    async with serving(stuck, UDP) as server:
        with client() as peer:
            peer.sendto(b"work", address_of(server))
            await begun.wait()
        await server.stop(drain_seconds=0.2)
    assert ended.is_set()


async def test_an_endpoint_is_added_and_nothing_is_received_before_on_start_has_returned() -> None:
    goes_on = asyncio.Event()

    class Late(Echo):
        async def on_start(self, server: Server) -> None:
            await goes_on.wait()

    async with serving(Echo(), UDP) as server:
        server.add(Late(), UDP)
        late = server.datagram_sockets[1]
        with client() as peer:
            peer.sendto(b"early", late.address)
            assert server.statistics().endpoints[1].datagrams_received == 0
            goes_on.set()
            assert await receive(peer) == b"early"


@pytest.mark.parametrize("by", ["sock", "fd"])
async def test_a_socket_of_the_programs_own_is_taken_over(by: str) -> None:
    own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    own.bind(("127.0.0.1", 0))
    name = own.getsockname()
    options: dict[str, Any] = {"sock": own} if by == "sock" else {"fd": own.detach()}
    async with serving(Echo(), f"udp://127.0.0.1:{name[1]}", **options) as server:
        assert server.datagram_sockets[0].address == name
        with client() as peer:
            peer.sendto(b"hello", name)
            assert await receive(peer) == b"hello"
    with socket.socket() as stream:
        server = Server()
        server.add(Echo(), UDP, sock=stream)
        with pytest.raises(ConfigurationError, match="has to be a datagram socket"):
            await server.start()


async def test_several_members_of_a_group_hear_what_is_sent_to_it() -> None:
    heard: list[tuple[int, Any, bytes]] = []

    def member(number: int) -> Handler:
        class Member(Handler):
            def on_datagram(self, datagram: Datagram) -> None:
                heard.append((number, datagram.local_address, datagram.data))
                datagram.reply(bytes([number]))

        return Member()

    first = Server()
    first.add(member(1), "udp://0.0.0.0:0", multicast_groups=["239.1.2.3%lo"])
    async with first:
        port = address_of(first)[1]
        second = Server()
        second.add(member(2), f"udp://0.0.0.0:{port}", multicast_groups=["239.1.2.3%lo"])
        async with second:
            with client() as peer:
                loopback = socket.inet_aton("127.0.0.1")
                peer.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, loopback)
                peer.sendto(b"hello", ("239.1.2.3", port))
                assert {await receive(peer), await receive(peer)} == {b"\1", b"\2"}
    assert sorted(heard) == [(number, ("239.1.2.3", port), b"hello") for number in (1, 2)]


async def test_broadcast_is_sent_where_it_is_allowed() -> None:
    async with serving(Echo(), "udp://0.0.0.0:0", broadcast=True) as server:
        port = address_of(server)[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hearer:
            hearer.setblocking(False)
            hearer.bind(("127.255.255.255", 0))
            assert server.datagram_sockets[0].send_to(b"all", hearer.getsockname())
            data, sender = await receive_from(hearer)
        assert (data, sender[1]) == (b"all", port)


async def test_a_forked_child_neither_hears_nor_holds_the_socket() -> None:
    async with serving(Echo(), UDP) as server:
        own = server.datagram_sockets[0]
        child = os.fork()
        if child == 0:
            try:
                own.send_to(b"x", ("127.0.0.1", 9))
            except RuntimeError:
                os._exit(7)
            os._exit(1)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 7


@pytest.mark.parametrize("peer", [("localhost", 9), ("127.0.0.1",), 9, ("127.0.0.1", 70_000)])
async def test_a_peer_that_is_not_an_address_is_an_error(peer: Any) -> None:
    async with serving(Echo(), UDP) as server:
        with pytest.raises(ValueError, match="a peer is an IP address and a port"):
            server.datagram_sockets[0].send_to(b"x", peer)
        with pytest.raises(TypeError, match="a message is bytes"):
            server.datagram_sockets[0].send_to(7, ("127.0.0.1", 9))  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["udp://127.0.0.1:9", "unixgram:///tmp/x"])
async def test_clients_do_not_connect_to_datagrams(url: str) -> None:
    with pytest.raises(vespiary.EndpointError, match="connect is for streams"):
        await vespiary.connect(url)


async def test_handlers_run_in_copies_of_the_servers_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen: list[str] = []

    class Sees(Handler):
        def on_start(self, server: Server) -> None:
            variable.set("by on_start")

        def on_datagram(self, datagram: Datagram) -> None:
            seen.append(variable.get())

    async with serving(Sees(), UDP) as server:
        with client() as peer:
            peer.sendto(b"x", address_of(server))
            await until(lambda: seen == ["by on_start"])
