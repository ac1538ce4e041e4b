"""The PROXY protocol: servers behind proxies that say for whom they connect."""

import asyncio
import contextlib
import ssl
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import vespiary
from vespiary import ServerTLS

from .certificates import Certificates
from .kit import serving, streams, until

LINE = b"PROXY TCP4 192.0.2.7 198.51.100.1 8080 443\r\n"
CLIENT = ("192.0.2.7", 8080)
LOOPBACK = ["127.0.0.0/8", "::1"]


def binary(*, command: int = 1, family: int = 0x11, block: bytes | None = None) -> bytes:
    """A header of version 2, of the same client."""
    if block is None:
        block = bytes([192, 0, 2, 7, 198, 51, 100, 1]) + struct.pack("!HH", 8080, 443)
    signature = b"\r\n\r\n\0\r\nQUIT\n"
    return signature + bytes([0x20 | command, family]) + struct.pack("!H", len(block)) + block


class Greeting(vespiary.Handler):
    """Sends each client its address, and then what it sends."""

    def __init__(self) -> None:
        self.ended: list[Any] = []

    def on_open(self, connection: vespiary.Connection) -> None:
        connection.send(str(connection.peer))

    def on_message(self, connection: vespiary.Connection, message: str | bytes) -> None:
        connection.send(message)

    def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
        self.ended.append(connection.peer)


@contextlib.asynccontextmanager
async def connected(server: vespiary.Server, first: bytes, **tls: Any) -> AsyncIterator[Any]:
    """A connection that begins with these bytes, and goes on with TLS where that is asked for."""
    async with streams(server) as (reader, writer):
        writer.write(first)
        if tls:
            await writer.start_tls(**tls)
        yield reader, writer


async def is_reset(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("header", [LINE, binary()], ids=["line", "binary"])
async def test_a_connection_has_the_address_of_the_proxys_client(header: bytes) -> None:
    handler = Greeting()
    options: Any = {"framing": "line", "proxy_protocol_from": LOOPBACK}
    async with (
        serving(handler, "tcp://127.0.0.1:0", **options) as server,
        connected(server, header + b"hello\n") as (reader, writer),
    ):
        assert await reader.readline() == f"{CLIENT}\n".encode()
        assert await reader.readline() == b"hello\n"
        writer.write_eof()
        await until(lambda: handler.ended == [CLIENT])


async def test_a_header_stands_before_tls(certificates: Certificates, tls: ServerTLS) -> None:
    options: Any = {"framing": "line", "proxy_protocol_from": LOOPBACK, "tls": tls}
    async with serving(Greeting, "tls://127.0.0.1:0", **options) as server:
        trusting = ssl.create_default_context(cafile=str(certificates.ca))
        start: Any = {"sslcontext": trusting, "server_hostname": "localhost"}
        async with connected(server, LINE, **start) as (reader, writer):
            assert await reader.readline() == f"{CLIENT}\n".encode()
            writer.write(b"secret\n")
            assert await reader.readline() == b"secret\n"


async def test_tls_that_a_message_behind_the_header_starts_has_its_deadline(tls: ServerTLS) -> None:
    class Starting(vespiary.Handler):
        def on_message(self, connection: vespiary.Connection[bytes], message: bytes) -> None:
            connection.start_tls(tls)

    options: Any = {"framing": "line", "proxy_protocol_from": LOOPBACK}
    options["deadlines"] = vespiary.Deadlines(handshake_seconds=0.05)
    async with (
        serving(Starting, "tcp://127.0.0.1:0", **options) as server,
        connected(server, LINE + b"STARTTLS\n") as (reader, _),
    ):
        assert await asyncio.wait_for(is_reset(reader), 10)
        assert server.statistics().total.limits_reached == {"handshake_seconds": 1}


UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.mark.parametrize(("scheme", "fields"), [("http", b""), ("ws", UPGRADE)])
async def test_a_request_has_the_address_of_the_proxys_client(scheme: str, fields: bytes) -> None:
    class Refusing(vespiary.Handler):
        def on_request(self, request: vespiary.Request) -> vespiary.Response:
            return request.respond(403, str(request.peer), {"Connection": "close"})

    url = f"{scheme}://127.0.0.1:0"
    async with serving(Refusing, url, proxy_protocol_from=LOOPBACK) as server:
        request = b"GET / HTTP/1.1\r\nHost: example.com\r\n" + fields + b"\r\n"
        async with connected(server, binary() + request) as (reader, _):
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 403 "), answer
            assert answer.endswith(str(CLIENT).encode())


async def test_peers_of_a_unix_socket_are_proxies_where_it_says_so(tmp_path: Path) -> None:
    options: Any = {"framing": "line", "proxy_protocol_from": ["unix"]}
    async with (
        serving(Greeting, f"unix://{tmp_path}/s", **options) as server,
        connected(server, LINE) as (reader, _writer),
    ):
        assert await reader.readline() == f"{CLIENT}\n".encode()


async def test_connections_from_elsewhere_are_served_as_they_are() -> None:
    options: Any = {"framing": "line", "proxy_protocol_from": ["192.0.2.0/24"]}
    async with (
        serving(Greeting, "tcp://127.0.0.1:0", **options) as server,
        connected(server, LINE) as (reader, writer),
    ):
        own = writer.get_extra_info("sockname")
        assert await reader.readline() == f"{own}\n".encode()
        # A client cannot give itself another address.
        assert await reader.readline() == LINE.strip() + b"\n"


@pytest.mark.parametrize(
    "header",
    [b"PROXY UNKNOWN\r\n", binary(command=0), binary(family=0, block=b"")],
    ids=["unknown", "local", "unspecified"],
)
async def test_a_health_check_has_the_proxys_own_address(header: bytes) -> None:
    options: Any = {"framing": "line", "proxy_protocol_from": LOOPBACK}
    async with (
        serving(Greeting, "tcp://127.0.0.1:0", **options) as server,
        connected(server, header) as (reader, writer),
    ):
        own = writer.get_extra_info("sockname")
        assert await reader.readline() == f"{own}\n".encode()


@pytest.mark.parametrize(
    ("first", "text"),
    [
        (b"GET / HTTP/1.1\r\n", "does not begin with a PROXY protocol header"),
        (b"PROXY TCP4 300.0.0.1 1.1.1.1 1 1\r\n", "the PROXY line is not well-formed"),
        (binary(command=2), "an unknown command"),
        (binary(block=b"short"), "too short"),
    ],
    ids=["none", "line", "command", "short"],
)
async def test_a_connection_with_a_wrong_header_is_ended_and_logged(
    caplog: pytest.LogCaptureFixture, first: bytes, text: str
) -> None:
    caplog.set_level("INFO", "vespiary")
    async with (
        serving(Greeting, "ws://127.0.0.1:0", proxy_protocol_from=LOOPBACK) as server,
        connected(server, first) as (reader, _writer),
    ):
        assert await is_reset(reader)
        await until(lambda: text in caplog.text)
        statistics = server.statistics().endpoints[0]
        assert statistics.protocol_errors == 1
        assert statistics.connections_accepted == 1
    assert "proxy_protocol_from" in caplog.text


async def test_the_header_has_the_deadline_of_the_handshake() -> None:
    options: Any = {
        "framing": "line",
        "proxy_protocol_from": LOOPBACK,
        "deadlines": vespiary.Deadlines(handshake_seconds=0.1),
    }
    async with (
        serving(Greeting, "tcp://127.0.0.1:0", **options) as server,
        connected(server, LINE[:10]) as (reader, _writer),
    ):
        assert await is_reset(reader)
        limits = server.statistics().endpoints[0].limits_reached
        assert limits["handshake_seconds"] == 1


async def test_the_limit_per_address_counts_the_proxys_clients() -> None:
    options: Any = {
        "framing": "line",
        "proxy_protocol_from": LOOPBACK,
        "limits": vespiary.Limits(connections_per_address_max=2),
    }
    line = b"PROXY TCP4 192.0.2.%d 198.51.100.1 8080 443\r\n"
    async with (
        serving(Greeting, "tcp://127.0.0.1:0", **options) as server,
        contextlib.AsyncExitStack() as opened,
    ):
        for number in (1, 1, 2, 2, 3):
            reader, _ = await opened.enter_async_context(connected(server, line % number))
            assert (await reader.readline()).startswith(b"('192.0.2.")
        reader, _ = await opened.enter_async_context(connected(server, line % 1))
        assert await is_reset(reader)
        limits = server.statistics().endpoints[0].limits_reached
        assert limits["connections_per_address_max"] == 1


@pytest.mark.parametrize(
    ("url", "value", "text"),
    [
        ("tcp://127.0.0.1:0", "10.0.0.0/8", "takes a list of addresses and networks"),
        ("tcp://127.0.0.1:0", 5, "takes a list of addresses and networks"),
        ("tcp://127.0.0.1:0", [5], "takes addresses and networks as text; got 5"),
        ("tcp://127.0.0.1:0", ["proxy"], "such as '192.0.2.7' or '10.0.0.0/8'; got 'proxy'"),
        ("tcp://127.0.0.1:0", ["10.0.0.1/8"], "did you mean '10.0.0.0/8'?"),
        ("tcp://127.0.0.1:0", ["fe80::1%eth0"], "without a zone"),
        ("tcp://127.0.0.1:0", ["unix"], "contains 'unix', but tcp://127.0.0.1:0 is not one"),
        ("unix:///run/x", ["10.0.0.0/8"], "takes 'unix' on unix:///run/x"),
    ],
)
def test_what_is_not_a_network_is_refused(url: str, value: Any, text: str) -> None:
    with pytest.raises(vespiary.ConfigurationError, match="proxy_protocol_from") as refused:
        vespiary.Server().add(Greeting, url, proxy_protocol_from=value)
    assert text in str(refused.value)
    assert refused.value.subject == "proxy_protocol_from"
