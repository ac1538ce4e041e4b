"""Several endpoints on one address: chosen by path, host and scheme."""

import asyncio
import socket
from typing import Any

import httpx
import pytest

import vespiary

from .kit import TCP, Echo, echo, free_port, serving, until


class Named(vespiary.Handler):
    """Greets with its name and the parameters of the path."""

    keep_request = True

    def __init__(self, name: str) -> None:
        self.name = name

    def on_open(self, connection: vespiary.Connection) -> None:
        request = connection.request
        assert request is not None
        connection.send(f"{self.name} {dict(request.path_parameters)}")


class Page(vespiary.Handler):
    def __init__(self, name: str) -> None:
        self.name = name

    def on_request(self, request: vespiary.Request) -> vespiary.Response:
        return request.respond(200, f"{self.name} {dict(request.path_parameters)}\n")


async def greeting(url: str, **options: object) -> str:
    async with vespiary.connect(url, **options) as client:  # type: ignore[arg-type]
        return str(await client.receive())


def base(server: vespiary.Server) -> str:
    return server.urls[0].split("://")[1].split("/")[0]


async def test_endpoints_of_one_address_are_chosen_by_path() -> None:
    server = vespiary.Server()
    server.add(Named("rooms"), "ws://127.0.0.1:0/rooms/{room}")
    server.add(Named("lobby"), "ws://127.0.0.1:0/rooms/lobby")
    server.add(Page("page"), "http://127.0.0.1:0/page/{rest:path}")
    async with server:
        where = base(server)
        assert {url.split("://")[1].split("/")[0] for url in server.urls} == {where}
        assert server.urls[0] == f"ws://{where}/rooms/{{room}}"
        assert await greeting(f"ws://{where}/rooms/a%20b?x=1") == "rooms {'room': 'a b'}"
        assert await greeting(f"ws://{where}/rooms/lobby") == "lobby {}"
        for path in ("", "/", "/rooms", "/rooms/", "/rooms/a/b", "/nothing"):
            with pytest.raises(vespiary.HandshakeRefused) as refused:
                await vespiary.connect(f"ws://{where}{path}")
            assert refused.value.status == 404
        async with httpx.AsyncClient(base_url=f"http://{where}") as client:
            for _ in range(2):
                assert (await client.get("/page/a/b")).text == "page {'rest': 'a/b'}\n"
                assert (await client.get("/nothing")).status_code == 404
                assert (await client.get("/rooms/lobby")).status_code == 426


async def test_a_coroutine_sees_the_parameters_of_its_path() -> None:
    async def handle(connection: vespiary.Connection) -> None:
        assert connection.request is not None
        connection.send(connection.request.path_parameters["room"])

    async with serving(handle, "ws://127.0.0.1:0/rooms/{room}") as server:
        assert await greeting(f"ws://{base(server)}/rooms/bees") == "bees"


async def test_websockets_and_pages_share_a_port_and_a_path() -> None:
    server = vespiary.Server()
    port = free_port()
    server.add(Named("ws"), f"ws://127.0.0.1:{port}")
    server.add(Page("page"), f"http://127.0.0.1:{port}")
    async with server:
        assert await greeting(f"ws://{base(server)}/any") == "ws {}"
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://{base(server)}/any")).text == "page {}\n"


async def test_one_connection_may_ask_several_endpoints() -> None:
    server = vespiary.Server()
    server.add(Page("one"), "http://127.0.0.1:0/one")
    server.add(Page("two"), "http://127.0.0.1:0/two")
    server.add(Named("chat"), "ws://127.0.0.1:0/chat")
    async with server:
        host, port = base(server).split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        for path, answer in [("one", b"one {}"), ("two", b"two {}"), ("one", b"one {}")]:
            writer.write(f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert answer in await reader.readuntil(b"}\n")
        writer.write(
            b"GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(9) == b"\x81\x07chat {}"
        answered = [one.requests_answered for one in server.statistics().endpoints]
        assert answered == [{"200": 2}, {"200": 1}, {}]
        opened = [one.connections_open for one in server.statistics().endpoints]
        assert opened == [0, 0, 1]
        writer.close()


async def test_endpoints_are_chosen_by_host() -> None:
    server = vespiary.Server()
    port = free_port()
    server.add(Page("any"), f"http://127.0.0.1:{port}")
    server.add(Page("below"), f"http://127.0.0.1:{port}", host="*.example.com")
    server.add(Page("one"), f"http://127.0.0.1:{port}", host="a.example.com")
    async with server, httpx.AsyncClient() as client:
        for host, name in [("a.example.com:80", "one"), ("b.Example.com", "below"), ("x", "any")]:
            got = await client.get(f"http://{base(server)}/", headers={"Host": host})
            assert got.text == f"{name} {{}}\n"


async def test_endpoints_without_a_path_on_port_0_get_ports_of_their_own() -> None:
    server = vespiary.Server()
    server.add(Named("ws"), "ws://127.0.0.1:0")
    patient = vespiary.Deadlines(handshake_seconds=None)
    server.add(Page("page"), "http://127.0.0.1:0", deadlines=patient)
    async with server:
        assert len({url.split(":")[2] for url in server.urls}) == 2


async def test_each_endpoint_has_its_own_options_limits_and_statistics() -> None:
    server = vespiary.Server()
    small = vespiary.Limits(message_bytes_max=10)
    picky = vespiary.WebSocket(origins=["https://example.com"], subprotocols=["v1"])
    server.add(Echo, "ws://127.0.0.1:0/small", limits=small)
    server.add(echo, "ws://127.0.0.1:0/large")
    server.add(Echo, "ws://127.0.0.1:0/picky", websocket=picky)
    async with server:
        where = base(server)
        async with vespiary.connect(f"ws://{where}/small") as client:
            client.send("x" * 11)
            assert (await client.wait_closed()).code == 1009
        async with vespiary.connect(f"ws://{where}/large") as client:
            client.send("x" * 11)
            assert await client.receive() == "x" * 11
        good, bad = [("Origin", "https://example.com")], [("Origin", "https://other.org")]
        url = f"ws://{where}/picky"
        async with vespiary.connect(url, subprotocols=["v1"], headers=good) as client:
            assert client.subprotocol == "v1"
        with pytest.raises(vespiary.HandshakeRefused) as refused:
            await vespiary.connect(url, headers=bad)
        assert refused.value.status == 403
        await until(lambda: server.statistics().total.connections_refused)
        await until(lambda: server.statistics().total.connections_open == 0)
        small_ones, large_ones, picky_ones = server.statistics().endpoints
        assert (small_ones.connections_closed, small_ones.messages_received) == (1, 0)
        assert (large_ones.connections_closed, large_ones.messages_received) == (1, 1)
        assert picky_ones.connections_closed == 1
        assert picky_ones.connections_refused == {"status_403": 1}


async def test_an_endpoint_added_to_a_running_address_serves_at_once() -> None:
    async with serving(Named("one"), "ws://127.0.0.1:0/one") as server:
        where = base(server)
        server.add(Named("two"), f"ws://{where}/two")
        assert await greeting(f"ws://{where}/one") == "one {}"
        assert await greeting(f"ws://{where}/two") == "two {}"


async def test_a_stop_closes_the_connections_of_every_endpoint() -> None:
    server = vespiary.Server()
    server.add(Named("one"), "ws://127.0.0.1:0/one")
    server.add(echo, "ws://127.0.0.1:0/two")
    async with server:
        clients = [await vespiary.connect(f"ws://{base(server)}/{path}") for path in ("one", "two")]
        await server.stop()
        for client in clients:
            assert (await client.wait_closed()).code == 1001


def test_conflicts_are_errors_where_the_endpoint_is_added() -> None:
    server = vespiary.Server()
    server.add(Echo, "ws://127.0.0.1:9001/a/{x}")
    for url, words in [
        ("ws://127.0.0.1:9001/a/{y}", "another path"),
        ("tcp://127.0.0.1:9001", "can share an address"),
        ("ws://127.0.0.1:9001/b?x=1", "query"),
        ("ws://127.0.0.1:9001/b/..", "never matches"),
    ]:
        with pytest.raises(vespiary.ConfigurationError, match=words):
            server.add(Echo, url)
    limits = vespiary.Limits(header_bytes_max=1000)
    with pytest.raises(vespiary.ConfigurationError, match="header_bytes_max applies before"):
        server.add(Echo, "ws://127.0.0.1:9001/b", limits=limits)
    with pytest.raises(vespiary.ConfigurationError, match="host= is only for ws://"):
        server.add(Echo, TCP, host="example.com")


SMALL = vespiary.Limits(header_bytes_max=1000)


@pytest.mark.parametrize(
    ("endpoints", "ports"),
    [
        ([("ws", "/a", {}), ("ws", "/b", {})], "11"),
        ([("ws", "/a", {}), ("http", "/a", {})], "11"),
        ([("ws", "/a", {}), ("ws", "/", {"host": "example.com"})], "11"),
        ([("ws", "/", {}), ("ws", "/a", {})], "12"),
        ([("ws", "/", {}), ("http", "/", {})], "12"),
        ([("ws", "/", {}), ("ws", "/", {})], "12"),
        ([("ws", "/{x}", {}), ("ws", "/{y}", {})], "12"),
        ([("ws", "/a", {}), ("ws", "/a", {}), ("http", "/a", {})], "121"),
        ([("ws", "/a", {}), ("ws", "/b", {"limits": SMALL}), ("ws", "/c", {})], "121"),
        ([("tcp", "", {}), ("ws", "/", {}), ("tcp", "", {})], "123"),
    ],
)
@pytest.mark.parametrize("is_running", [False, True])
async def test_endpoints_on_port_0_share_a_port_where_they_can(
    endpoints: list[tuple[str, str, dict[str, Any]]], ports: str, is_running: bool
) -> None:
    server = vespiary.Server()
    for number, (scheme, path, options) in enumerate(endpoints):
        if is_running and number == 1:
            await server.start()
        handler = Page("page") if scheme == "http" else Echo()
        server.add(handler, f"{scheme}://127.0.0.1:0{path}", **options)
    if not is_running:
        await server.start()
    found = [vespiary.Endpoint.parse(url).port for url in server.urls]
    await server.stop()
    order = list(dict.fromkeys(found))
    assert "".join(str(order.index(port) + 1) for port in found) == ports


async def test_a_socket_is_not_given_to_two_endpoints_that_cannot_share_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        server = vespiary.Server()
        server.add(Echo, "ws://127.0.0.1:0", sock=given)
        with pytest.raises(vespiary.ConfigurationError, match="another path"):
            server.add(Echo, "ws://127.0.0.1:0", sock=given)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/rooms/a%2Fb", 200),
        ("/rooms/%00", 400),
        ("/%00", 400),
        ("/rooms/a?x=%00", 200),
        ("/rooms/%ff", 404),
        ("/rooms/%", 404),
        ("/rooms//", 404),
        ("/rooms/../rooms/a", 404),
        ("/rooms/" + "a" * 20_000, 414),
    ],
)
async def test_a_path_that_is_dangerous_or_malformed_reaches_no_pattern(
    path: str, status: int
) -> None:
    server = vespiary.Server()
    port = free_port()
    server.add(Page("room"), f"http://127.0.0.1:{port}/rooms/{{room}}")
    server.add(Page("other"), f"http://127.0.0.1:{port}/other")
    async with server:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (await reader.readline()).split()[1] == str(status).encode()
        writer.close()


async def test_an_endpoint_that_serves_every_path_never_sees_a_zero_byte() -> None:
    async with serving(Page("any"), "http://127.0.0.1:0") as server, httpx.AsyncClient() as client:
        got = await client.get(f"http://{base(server)}/a%00b")
        assert got.status_code == 400
        got = await client.get(f"http://{base(server)}/a%2500b")
        assert got.status_code == 200
