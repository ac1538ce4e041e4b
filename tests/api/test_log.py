"""What the log says: what happened, then the endpoint and the peer."""

import logging

import pytest

import vespiary
from vespiary._logging import address_text

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
    lines = [record.getMessage() for record in caplog.records]
    assert f"Connection opened {place}" in lines
    [closed] = [line for line in lines if line.startswith("Connection closed by ")]
    assert f" on {server.urls[0]}, peer " in closed


async def test_connections_are_not_logged_at_info_level(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "vespiary"):
        async with serving(Echo) as server, vespiary.connect(server.urls[0]) as client:
            client.send("hello")
            assert await client.receive() == "hello"
    assert "Connection opened" not in caplog.text


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
    assert wanted in [record.getMessage() for record in caplog.records]
