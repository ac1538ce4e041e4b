"""Clients behind an HTTP proxy: tunnels, authentication, refusals, and the environment."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import vespiary
from vespiary import ClientTLS, ServerTLS

from .kit import TCP, Echo, serving


class Proxy:
    """A proxy that opens tunnels, or gives another answer."""

    def __init__(self, answer: bytes | None = None) -> None:
        self.answer = answer
        self.heads: list[str] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        if self.answer is None:
            host, _, port = head.split(" ")[1].rpartition(":")
            there, back = await asyncio.open_connection(host.strip("[]"), int(port))
            writer.write(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
            await asyncio.gather(pipe(reader, back), pipe(there, writer))
        else:
            writer.write(self.answer)
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def proxying(answer: bytes | None = None) -> AsyncIterator[Proxy]:
    proxy = Proxy(answer)
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as server:
        proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield proxy


@pytest.mark.requirement("rfc6455/4.1/9")
async def test_a_websocket_goes_through_a_tunnel() -> None:
    async with serving(Echo) as server, proxying() as proxy:
        url = server.urls[0]
        async with vespiary.connect(url, proxy=proxy.url) as client:
            client.send("hello")
            assert await client.receive() == "hello"
        authority = url.removeprefix("ws://").rstrip("/")
        assert proxy.heads == [f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"]


async def test_a_stream_goes_through_a_tunnel_and_its_first_bytes_are_not_lost() -> None:
    async def greeting(connection: vespiary.Connection) -> None:
        connection.send("hello")
        async for line in connection:
            connection.send(line)

    async with serving(greeting, TCP, framing="line") as server, proxying() as proxy:
        connecting = vespiary.connect(server.urls[0], proxy=proxy.url, framing="line")
        async with connecting as client:
            assert await client.receive() == b"hello"
            client.send("again")
            assert await client.receive() == b"again"


async def test_user_and_password_of_the_proxys_url_go_to_the_proxy_alone() -> None:
    heads: list[list[str]] = []

    class Seen(Echo):
        def on_request(self, request: vespiary.Request) -> None:
            heads.append([name.lower() for name, _ in request.headers.lines])

    async with serving(Seen) as server, proxying() as proxy:
        url = proxy.url.replace("http://", "http://us%65r:pass@")
        async with vespiary.connect(server.urls[0], proxy=url):
            pass
        encoded = base64.b64encode(b"user:pass").decode()
        assert f"Proxy-Authorization: Basic {encoded}\r\n" in proxy.heads[0]
        assert "proxy-authorization" not in heads[0]


@pytest.mark.parametrize(
    ("status", "words"), [("407 Authentication Required", "authentication"), ("502 Bad", "502")]
)
async def test_a_proxy_that_refuses_is_an_error_of_its_own(status: str, words: str) -> None:
    answer = f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno".encode()
    async with proxying(answer) as proxy:
        with pytest.raises(vespiary.ProxyRefused, match=words) as raised:
            await vespiary.connect("ws://server.example/", proxy=proxy.url)
        assert raised.value.status == int(status[:3])
        assert raised.value.body == b"no"
        assert raised.value.address == proxy.url
        assert "server.example" in proxy.heads[0]


@pytest.mark.parametrize("answer", [b"garbage\r\n\r\n", b"\x15\x03\x01\0\x02\x02\x46"])
async def test_a_proxy_that_does_not_answer_with_http_is_named(answer: bytes) -> None:
    async with proxying(answer) as proxy:
        with pytest.raises(vespiary.ProxyRefused, match="no tunnel through http") as raised:
            await vespiary.connect("ws://server.example/", proxy=proxy.url)
        assert (raised.value.status, raised.value.address) == (0, proxy.url)
        assert "server.example" not in str(raised.value)


async def test_a_proxy_that_is_not_there_is_named() -> None:
    with pytest.raises(ConnectionRefusedError, match=r"through the proxy http://127\.0\.0\.1:1"):
        await vespiary.connect("ws://server.example/", proxy="http://user:secret@127.0.0.1:1")


async def test_a_proxy_that_hangs_meets_the_deadline() -> None:
    async with proxying(b"") as proxy:
        deadlines = vespiary.Deadlines(handshake_seconds=0.2)
        with pytest.raises(TimeoutError, match="through the proxy"):
            await vespiary.connect("ws://server.example/", proxy=proxy.url, deadlines=deadlines)


async def test_the_environments_proxy_is_used_unless_that_is_turned_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with proxying(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n") as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with pytest.raises(vespiary.ProxyRefused):
            await vespiary.connect("ws://server.example/")
        with pytest.raises(OSError, match=r"to ws://server\.invalid:80/: .* not resolved"):
            await vespiary.connect("ws://server.invalid/", proxy=None)
        with pytest.raises(OSError, match=r"to ws://a\.example:80/ through the proxy .* resolved"):
            await vespiary.connect("ws://a.example/", proxy="http://proxy.invalid:80")
        # Servers on this machine are reached directly.
        async with serving(Echo) as server, vespiary.connect(server.urls[0]):
            pass
        assert len(proxy.heads) == 1


async def test_a_secure_websocket_goes_through_a_proxy(tls: ServerTLS, trusting: ClientTLS) -> None:
    async with serving(Echo, "wss://localhost:0", tls=tls) as server, proxying() as proxy:
        async with vespiary.connect(server.urls[0], tls=trusting, proxy=proxy.url) as client:
            assert client.tls is not None
            client.send("hello")
            assert await client.receive() == "hello"
        assert proxy.heads[0].startswith("CONNECT localhost:")


async def test_a_secure_stream_goes_through_a_proxy_and_is_open_only_when_verified(
    tls: ServerTLS, trusting: ClientTLS
) -> None:
    async with serving(Echo, "tls://localhost:0", tls=tls) as server, proxying() as proxy:
        async with vespiary.connect(server.urls[0], tls=trusting, proxy=proxy.url) as client:
            client.send(b"hello")
            assert await client.receive() == b"hello"
        with pytest.raises(vespiary.LocalError, match="certificate was refused"):
            await vespiary.connect(server.urls[0], proxy=proxy.url)
