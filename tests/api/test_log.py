"""What the log says: what happened, then the endpoint and the peer."""

import asyncio
import contextlib
import logging
import socket
from pathlib import Path

import pytest

import vespiary
from tests.logs import lines, records
from vespiary._logging import address_text, denied

from .kit import TCP, WS, Echo, echo, serving, until


@pytest.mark.parametrize("url", [WS, TCP])
@pytest.mark.parametrize("handler", [Echo, echo])
async def test_connections_are_logged_at_debug_level(
    url: str, handler: vespiary.Handler, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "vespiary"):
        async with serving(handler, url) as server:
            async with vespiary.connect(server.urls[0]) as client:
                peer = address_text(client.local_address)
                client.send(b"hello")
                assert await client.receive() == b"hello"
            await until(lambda: server.statistics().total.connections_closed)
            place = f"on {server.urls[0]}, peer {peer}"
    found = lines(caplog)
    assert f"Connection opened {place}" in found
    [closed] = [line for line in found if line.startswith("Connection closed by ")]
    assert f" on {server.urls[0]}, peer " in closed


async def test_connections_are_not_logged_at_info_level(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "vespiary"):
        async with serving(Echo) as server, vespiary.connect(server.urls[0]) as client:
            client.send("hello")
            assert await client.receive() == "hello"
    assert not any("Connection opened" in line for line in lines(caplog))


async def test_requests_are_logged_at_debug_level_without_control_characters(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Accepts(Echo):
        def on_request(self, request: vespiary.Request) -> None: ...

    with caplog.at_level(logging.DEBUG, "vespiary"):
        async with serving(Accepts) as server, vespiary.connect(server.urls[0] + "a?b") as client:
            client.send("hello")
            assert await client.receive() == "hello"
    assert "Request GET /a?b on ws://127.0.0.1:" in caplog.text


UPGRADE = (
    b"GET /%b HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n%b\r\n"
)


class Choosy(Echo):
    def on_request(self, request: vespiary.Request) -> vespiary.Response | None:
        return request.respond(401, "who are you?") if request.path == "/private" else None


REFUSALS = [
    (b"\x16\x03\x01\x02\0\x01", "Request refused with 400: a TLS handshake came", "ws://"),
    (
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "refused with 426: only WebSockets are served here",
        "a proxy in front",
    ),
    (UPGRADE % (b"", b"Origin: https://evil.example\r\n"), "refused with 403", "origins"),
    (UPGRADE % (b"private", b""), "refused with 401: on_request refused the handshake", ""),
    (b"GET /\x00 HTTP/1.1\r\n\r\n", "refused with 400: ", ""),
]


async def refused(url: str, sent: bytes) -> str:
    """Have something refused; the peer's address."""
    port = int(url.rstrip("/").rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    peer = address_text(writer.get_extra_info("sockname"))
    writer.write(sent)
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()
    return peer


@pytest.mark.parametrize(("sent", "story", "advice"), REFUSALS)
async def test_a_refused_request_is_logged_with_the_reason_and_what_to_do(
    sent: bytes, story: str, advice: str, caplog: pytest.LogCaptureFixture
) -> None:
    websocket = vespiary.WebSocket(origins=["https://good.example"])
    with caplog.at_level(logging.INFO, "vespiary"):
        async with serving(Choosy, websocket=websocket) as server:
            peer = await refused(server.urls[0], sent)
    [line] = [line for line in lines(caplog) if story in line]
    assert line.endswith(f"; on {server.urls[0]}, peer {peer}")
    assert advice in line
    assert "\0" not in line


async def test_a_path_that_nobody_serves_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "vespiary"):
        async with serving(Echo, WS + "/here") as server:
            await refused(server.urls[0].removesuffix("/here"), UPGRADE % (b"there", b""))
    assert "Request refused with 404: nothing is served at /there; on ws://" in caplog.text


def test_what_a_peer_has_chosen_makes_no_line_of_its_own(
    caplog: pytest.LogCaptureFixture, driver: str
) -> None:
    text = "pages of https://evil.example\r\n\x1b[2J\x85INFO all is well" + 1000 * "x"
    with caplog.at_level(logging.INFO, "vespiary"):
        denied(f"ws://{driver}.here/", "127.0.0.1:5", 403, text, "", True)
    [record] = records(caplog)
    assert record.getMessage().isprintable()
    assert len(record.getMessage()) < 500


async def test_a_flood_of_refusals_is_logged_once_and_the_rest_at_debug_level(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG, "vespiary"):
        async with serving(Choosy) as server:
            for _ in range(20):
                await refused(server.urls[0], UPGRADE % (b"private", b""))
    found = [record for record in records(caplog) if "refused with 401" in record.getMessage()]
    assert len(found) == 20
    assert [record.levelno for record in found].count(logging.INFO) == 1


async def test_a_peer_that_ends_before_it_was_open_is_logged_at_debug_level(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG, "vespiary"):
        async with serving(Echo) as server:
            port = int(server.urls[0].rstrip("/").rpartition(":")[2])
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HT")
            await writer.drain()
            writer.close()
            await until(lambda: "ended before it was open" in caplog.text)
    [record] = [it for it in records(caplog) if "ended before it was open" in it.getMessage()]
    assert record.levelno == logging.DEBUG


async def test_a_stream_over_a_limit_is_logged_with_its_peer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limits = vespiary.Limits(connections_max=1)
    with caplog.at_level(logging.INFO, "vespiary"):
        async with (
            serving(Echo, TCP, limits=limits) as server,
            vespiary.connect(server.urls[0]),
        ):
            port = int(server.urls[0].rpartition(":")[2])
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.transport.abort()
            await until(lambda: "Connection refused: this end has reached" in caplog.text)
    assert "this end has reached connections_max; on tcp://" in caplog.text


async def test_a_failure_of_a_handler_names_endpoint_and_peer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Fails(vespiary.Handler):
        def on_open(self, connection: vespiary.Connection) -> None:
            raise ZeroDivisionError

    async with serving(Fails) as server:
        client = await vespiary.connect(server.urls[0])
        peer = address_text(client.local_address)
        await client.wait_closed()
    wanted = f"Handler failed, connection closed, on {server.urls[0]}, peer {peer}"
    assert wanted in lines(caplog)


@pytest.mark.parametrize("bound", ["path", "abstract", "unnamed"])
async def test_a_unix_peer_has_one_name_in_every_line(
    bound: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Fails(vespiary.Handler):
        def on_open(self, connection: vespiary.Connection) -> None:
            raise ZeroDivisionError

    names = {"path": str(tmp_path / "client"), "abstract": f"\0{tmp_path}/client"}
    shown = {
        "path": f"peer unix:{tmp_path}/client",
        "abstract": f"peer unix:@{tmp_path}/client",
        "unnamed": "peer without an address",
    }
    with caplog.at_level(logging.DEBUG, "vespiary"):
        async with serving(Fails, f"unix://{tmp_path}/server") as server:
            with socket.socket(socket.AF_UNIX) as client:
                if bound in names:
                    client.bind(names[bound])
                client.connect(f"{tmp_path}/server")
                await until(lambda: server.statistics().total.connections_closed)
            place = f"on {server.urls[0]}, {shown[bound]}"
    found = [line for line in lines(caplog) if " on unix://" in line]
    assert len(found) == 3  # Opened, failed, closed.
    assert all(line.endswith(place) for line in found), found
