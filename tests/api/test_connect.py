"""Clients: what may go wrong with a connect, and its options."""

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest
import websockets.asyncio.server

import vespiary

from .kit import OWN_HOST, TCP, WS, Echo, Recorder, echo, free_port, serving, until


@pytest.mark.parametrize("scheme", ["tcp", "ws"])
async def test_a_refused_connect_is_an_oserror_with_the_address(scheme: str) -> None:
    url = f"{scheme}://{OWN_HOST}:{free_port()}"
    with pytest.raises(ConnectionRefusedError, match=url):
        await vespiary.connect(url)


async def test_a_missing_unix_socket_is_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await vespiary.connect(f"unix://{tmp_path}/nothing.sock")


async def test_a_name_that_is_none_is_an_oserror() -> None:
    with pytest.raises(OSError):  # noqa: PT011 - socket.gaierror, whose text is the resolver's.
        await vespiary.connect("tcp://nobody.invalid:1")


@pytest.mark.parametrize(
    "url", ["nonsense", "tcp://127.0.0.1", "ftp://127.0.0.1:1", "http://127.0.0.1:1", "udp://a:1"]
)
async def test_what_cannot_be_connected_to_is_reported_at_once(url: str) -> None:
    with pytest.raises(vespiary.EndpointError):
        vespiary.connect(url)


async def test_a_silent_server_is_abandoned_after_handshake_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}"
        deadlines = vespiary.Deadlines(handshake_seconds=0.1)
        with pytest.raises(TimeoutError, match="too long"):
            await vespiary.connect(url, deadlines=deadlines)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nnone\n", vespiary.HandshakeRefused),
        (b"HTTP/1.1 200 OK\r\n\r\n", vespiary.HandshakeRefused),
        (b"SSH-2.0-OpenSSH_9.2\r\n", vespiary.ConnectionBroken),
        (b"", vespiary.ConnectionBroken),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", Exception),
    ],
)
async def test_a_server_that_is_not_a_websocket_is_distinguished(
    answer: bytes, error: type[Exception]
) -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(error) as raised:
            await vespiary.connect(f"ws://127.0.0.1:{port}")
        assert isinstance(raised.value, vespiary.VespiaryError)


async def test_a_cancelled_connect_leaves_nothing_behind() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}"
        task = asyncio.ensure_future(vespiary.connect(url)._connect())
        accepted, _ = await asyncio.get_running_loop().run_in_executor(None, listener.accept)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        accepted.settimeout(5)
        # Whatever of the request had been sent, the connection ends.
        await asyncio.to_thread(read_to_end, accepted)
        accepted.close()


def read_to_end(connection: socket.socket) -> None:
    try:
        while connection.recv(1000):
            pass
    except ConnectionResetError:
        pass


async def test_a_client_may_have_a_handler() -> None:
    recorder = Recorder()
    async with serving(Echo) as server:
        client = await vespiary.connect(server.urls[0], recorder)
        client.send("x")
        await until(lambda: "message" in recorder.names)
        client.close()
        await until(lambda: recorder.reasons)
        assert recorder.names == ["open", "message", "close"]
        with pytest.raises(RuntimeError, match="on_message"):
            await client.receive()


async def test_a_clients_handler_without_on_message_is_still_notified_of_the_end() -> None:
    class Ends(vespiary.Handler):
        def __init__(self) -> None:
            self.reasons: list[vespiary.CloseReason] = []

        def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
            self.reasons.append(reason)

    async def flood(connection: vespiary.Connection) -> None:
        for _ in range(1000):
            connection.send("x")

    handler = Ends()
    async with serving(flood) as server, vespiary.connect(server.urls[0], handler):
        await until(lambda: handler.reasons)


async def test_a_client_may_be_a_coroutine() -> None:
    heard: list[str] = []

    async def client(connection: vespiary.Connection) -> None:
        connection.send("from the client")
        heard.append(await connection.receive())

    async with serving(echo) as server:
        connection = await vespiary.connect(server.urls[0], client)
        await connection.wait_closed()
    assert heard == ["from the client"]


async def test_the_source_address_can_be_chosen() -> None:
    peers = []

    class Peers(vespiary.Handler):
        def on_open(self, connection: vespiary.Connection) -> None:
            peers.append(connection.peer)

    async with (
        serving(Peers, TCP) as server,
        vespiary.connect(server.urls[0], source="127.0.0.9") as client,
    ):
        await until(lambda: peers)
        assert peers == [client.local_address]
        assert client.local_address is not None
        assert client.local_address[0] == "127.0.0.9"


async def test_names_are_resolved_and_every_address_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(Echo, TCP) as server:
        port = int(server.urls[0].rpartition(":")[2])

        async def resolve(*_: object, **__: object) -> list[tuple[object, ...]]:
            dead = (OWN_HOST, free_port())
            return [(2, 1, 6, "", address) for address in (dead, ("127.0.0.1", port))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        async with vespiary.connect("tcp://some.name:1") as client:
            client.send(b"x")
            assert await client.receive() == b"x"


async def test_a_client_talks_to_another_implementation() -> None:
    async def answer(connection: websockets.asyncio.server.ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)
            await connection.send([b"in ", b"three ", b"frames"])

    async with websockets.asyncio.server.serve(answer, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with vespiary.connect(f"ws://127.0.0.1:{port}/") as client:
            for message in ("text ü", b"bytes", "x" * 70_000, b""):
                client.send(message)
                assert await client.receive() == message
                assert await client.receive() == b"in three frames"


@pytest.mark.parametrize("url", [WS, TCP])
async def test_many_clients_at_once(url: str) -> None:
    async with serving(Echo, url) as server:

        async def talk(number: int) -> None:
            async with vespiary.connect(server.urls[0]) as client:
                client.send(b"%d" % number)
                assert await client.receive() == b"%d" % number

        await asyncio.gather(*(talk(number) for number in range(300)))
        await until(lambda: server.statistics().total.connections_open == 0)
        assert server.statistics().total.connections_accepted == 300


async def test_a_websocket_client_connects_through_a_unix_socket(tmp_path: Path) -> None:
    asked: list[vespiary.Request] = []

    class Asked(Echo):
        def on_request(self, request: vespiary.Request) -> None:
            asked.append(request)

    async with serving(Asked, f"ws+unix://{tmp_path}/chat.sock:/rooms") as server:
        assert server.urls == [f"ws+unix://{tmp_path}/chat.sock:/rooms"]
        async with vespiary.connect(server.urls[0]) as client:
            client.send("x")
            assert await client.receive() == "x"
        assert asked[0].target == "/rooms"
        assert asked[0].headers["host"]
    with pytest.raises(FileNotFoundError, match=r"chat\.sock"):
        await vespiary.connect(f"ws+unix://{tmp_path}/chat.sock:/rooms")
    with pytest.raises(vespiary.ConfigurationError, match="cannot be reached through a proxy"):
        vespiary.connect(f"ws+unix://{tmp_path}/chat.sock:/", proxy="http://127.0.0.1:1")


@pytest.mark.parametrize("scheme", ["tcp", "ws"])
async def test_a_connect_that_is_cancelled_at_any_step_leaves_no_connection(scheme: str) -> None:
    server = vespiary.Server()
    server.add(vespiary.Handler(), f"{scheme}://127.0.0.1:0")
    async with server:
        for steps in range(25):
            opening = asyncio.ensure_future(_connected(server.urls[0]))
            for _ in range(steps):
                await asyncio.sleep(0)
            opening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                (await opening).abort()
        await until(lambda: not server.statistics().total.connections_open)


async def _connected(url: str) -> vespiary.Connection:
    return await vespiary.connect(url)


@pytest.mark.parametrize("name", ["send", "receive", "close", "peer", "wait_closed"])
def test_what_only_a_connection_has_says_to_await_it_first(name: str) -> None:
    with pytest.warns(RuntimeWarning, match="never awaited"):
        check_refusal(name, f"'{name}'.*await it first")
    with pytest.warns(RuntimeWarning, match="never awaited"):
        check_refusal("sent", r"no attribute 'sent'$")


def check_refusal(name: str, words: str) -> None:
    with pytest.raises(AttributeError, match=words):
        getattr(vespiary.connect("ws://127.0.0.1:1"), name)
