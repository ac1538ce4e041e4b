"""Every public method, called from another thread, works there or says what to use."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import vespiary

from .kit import WS, Echo, Recorder, echo, serving, until

LOOP = r"(use server\.|let |function to )call_soon_threadsafe\(\)"

Call = Callable[[Any], object]

SERVER: dict[str, tuple[Call, str | None]] = {
    "add": (lambda it: it.add(Echo, WS), "add\\(\\)"),
    "call_soon_threadsafe": (lambda it: it.call_soon_threadsafe(print, end=""), None),
    "datagram_sockets": (lambda it: it.datagram_sockets, None),
    "connection_id": (lambda it: it.connection_id(_connection_of(it)), None),
    "publish": (lambda it: it.publish("topic", "message"), None),
    "run": (lambda it: it.run(), "start\\(\\)"),
    "enter": (lambda it: it.enter(_connection_of(it), "topic", "info"), None),
    "leave": (lambda it: it.leave(_connection_of(it), "topic"), None),
    "presence": (lambda it: it.presence("topic"), None),
    "send_to": (lambda it: it.send_to(it.connection_id(_connection_of(it)), "message"), None),
    "set_timer": (lambda it: it.set_timer(60, print).cancel(), None),
    "start": (lambda it: asyncio.run(it.start()), "start\\(\\)"),
    "statistics": (lambda it: it.statistics(), None),
    "discard_retained": (lambda it: it.discard_retained("topic"), None),
    "retained": (lambda it: it.retained("topic"), None),
    "subscribed_connections": (lambda it: it.subscribed_connections("topic"), None),
    "stop": (lambda it: asyncio.run(it.stop()), "stop\\(\\)"),
    "stop_soon": (lambda it: it.stop_soon(), None),
    "subscribers": (lambda it: it.subscribers("topic"), None),
    "urls": (lambda it: it.urls, None),
    "worker": (lambda it: it.worker, None),
    "wait_stopped": (lambda it: asyncio.run(it.wait_stopped()), "wait_stopped\\(\\)"),
}
"""The call, and the method that its error names; None: it works in every thread."""

CONNECTION: dict[str, tuple[Call, str | None]] = {
    "abort": (lambda it: it.abort(), None),
    "close": (lambda it: it.close(), None),
    "close_reason": (lambda it: it.close_reason, None),
    "data": (lambda it: it.data, None),
    "drain": (lambda it: it.drain(), "drain\\(\\)"),
    "extensions": (lambda it: it.extensions, None),
    "is_open": (lambda it: it.is_open, None),
    "is_shutting_down": (lambda it: it.is_shutting_down, None),
    "local_address": (lambda it: it.local_address, None),
    "pause_reading": (lambda it: it.pause_reading(), None),
    "peer": (lambda it: it.peer, None),
    "ping": (lambda it: it.ping(), None),
    "queued_bytes": (lambda it: it.queued_bytes, None),
    "receive": (lambda it: it.receive(), "receive\\(\\)"),
    "request": (lambda it: it.request, None),
    "response_headers": (lambda it: it.response_headers, None),
    "tls": (lambda it: it.tls, None),
    "resume_reading": (lambda it: it.resume_reading(), None),
    "send": (lambda it: it.send("message"), None),
    "send_end": (lambda it: _refused(it.send_end), None),
    "send_part": (lambda it: it.send_part("message", last=True), None),
    "set_timer": (lambda it: it.set_timer(60, print).cancel(), None),
    "start_tls": (lambda it: it.start_tls(), "start_tls\\(\\)"),
    "statistics": (lambda it: it.statistics(), None),
    "subprotocol": (lambda it: it.subprotocol, None),
    "subscribe": (lambda it: it.subscribe("topic"), None),
    "subscribe_pattern": (lambda it: it.subscribe_pattern("topics/#"), None),
    "unsubscribe": (lambda it: it.unsubscribe("topic"), None),
    "unsubscribe_pattern": (lambda it: it.unsubscribe_pattern("topics/#"), None),
    "version": (lambda it: it.version, None),
    "wait_closed": (lambda it: it.wait_closed(), "wait_closed\\(\\)"),
}

DATAGRAM: dict[str, Call] = {
    "data": lambda it: it.data,
    "ecn": lambda it: it.ecn,
    "local_address": lambda it: it.local_address,
    "peer": lambda it: it.peer,
    "reply": lambda it: it.reply(b"answer"),
    "socket": lambda it: it.socket,
    "ttl": lambda it: it.ttl,
}
"""They work in every thread, as those below do."""

DATAGRAM_SOCKET: dict[str, Call] = {
    "address": lambda it: it.address,
    "is_closed": lambda it: it.is_closed,
    "queued_bytes": lambda it: it.queued_bytes,
    "send_to": lambda it: it.send_to(b"unasked", it.address),
}

AWAITED: dict[str, tuple[Call, str]] = {
    "receive within": (lambda it: it.receive(timeout=1), "receive\\(\\)"),
    "anext": (lambda it: it.__anext__(), "async for"),
    "await send": (lambda it: it.send("a").__await__(), "await connection.send\\(\\)"),
    "await ping": (lambda it: it.ping().__await__(), "await connection.ping\\(\\)"),
    "await close": (lambda it: it.close().__await__(), "wait_closed\\(\\)"),
}


class Subscribing(Echo):
    def on_open(self, connection: vespiary.Connection) -> None:
        connection.subscribe("everyone")


def _connection_of(server: vespiary.Server) -> vespiary.Connection:
    return server.subscribed_connections("everyone")[0]


def _refused(send_end: Callable[[], None]) -> None:
    """A WebSocket has no end of one direction."""
    with pytest.raises(vespiary.SendRefused):
        send_end()


def public(owner: type) -> set[str]:
    return {name for name in dir(owner) if not name.startswith("_")}


def test_every_public_method_is_called_here() -> None:
    assert public(vespiary.Server) == set(SERVER)
    assert public(vespiary.Connection) == set(CONNECTION)
    assert public(vespiary.Datagram) == set(DATAGRAM)
    assert public(vespiary.DatagramSocket) == set(DATAGRAM_SOCKET)


@pytest.mark.parametrize("name", SERVER)
async def test_a_method_of_the_server_works_in_another_thread_or_says_what_does(name: str) -> None:
    call, named = SERVER[name]
    async with serving(Subscribing) as server, vespiary.connect(server.urls[0]):
        await until(lambda: server.subscribers("everyone"))
        if named is None:
            await asyncio.to_thread(call, server)
        else:
            with pytest.raises(RuntimeError, match=f"{named} belongs to .* {LOOP}"):
                await asyncio.to_thread(call, server)


async def test_everything_of_a_datagram_and_its_socket_works_in_another_thread() -> None:
    came: list[vespiary.Datagram] = []

    class Keeper(vespiary.Handler):
        def on_datagram(self, datagram: vespiary.Datagram) -> None:
            came.append(datagram)

    async with serving(Keeper(), "udp://127.0.0.1:0") as server:
        (own,) = server.datagram_sockets
        for call in DATAGRAM_SOCKET.values():
            await asyncio.to_thread(call, own)
        await until(lambda: bool(came))
        for call in DATAGRAM.values():
            await asyncio.to_thread(call, came[0])
        await until(lambda: [one.data for one in came] == [b"unasked", b"answer"])


@pytest.mark.parametrize("name", [*CONNECTION, *AWAITED])
async def test_a_method_of_a_connection_works_in_another_thread_or_says_what_does(
    name: str,
) -> None:
    call, named = (CONNECTION | AWAITED)[name]
    connections: list[vespiary.Connection] = []

    async def handler(connection: vespiary.Connection) -> None:
        connections.append(connection)
        await echo(connection)

    # A server that reads no more does not answer its client's close frame.
    soon = vespiary.Deadlines(close_seconds=0.1)
    async with serving(handler) as server, vespiary.connect(server.urls[0], deadlines=soon):
        await until(lambda: connections)
        if named is None:
            await asyncio.to_thread(call, connections[0])
        else:
            with pytest.raises(RuntimeError, match=f"{named} works only on .* {LOOP}"):
                await asyncio.to_thread(call, connections[0])


async def test_what_a_stopped_server_cannot_do_is_named() -> None:
    server = vespiary.Server()
    server.add(Echo, WS)
    for name in (
        "publish",
        "subscribers",
        "subscribed_connections",
        "retained",
        "discard_retained",
        "set_timer",
        "call_soon_threadsafe",
    ):
        with pytest.raises(RuntimeError, match=rf"does not run: {name}\(\)"):
            SERVER[name][0](server)
    async with server:
        pass
    statistics = await asyncio.to_thread(server.statistics)
    assert statistics.port.turns > 0


def _has_received(handler: Recorder, messages: int) -> Callable[[], bool]:
    return lambda: handler.names.count("message") == messages


async def test_a_server_whose_handler_runs_on_threads_starts_again() -> None:
    handler = Recorder()
    server = vespiary.Server(signals=False)
    server.add(handler, WS, executor="threads")
    for number in range(1, 4):
        async with server, vespiary.connect(server.urls[0]) as client:
            client.send("hello")
            await until(_has_received(handler, number))
