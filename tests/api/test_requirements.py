"""What RFC 6455 asks of the parts that are Python's."""

import asyncio

import pytest

import vespiary
from tests.logs import lines

from .kit import Echo, serving, turns, until

UNMASKED = b"\x81\x05hello"


async def test_handshakes_with_one_address_follow_one_another_whatever_its_name() -> None:
    under_way, most, wanted = 0, 0, 1

    class Slow(Echo):
        async def on_request(self, request: vespiary.Request) -> None:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await turns()
            await until(lambda: most >= wanted)
            under_way -= 1

    async with serving(Slow) as server:
        url = server.urls[0]
        names = [url, url.replace("127.0.0.1", "localhost")] * 3
        clients = await asyncio.gather(
            *(vespiary.connect(name, handshakes_per_address_max=1) for name in names)
        )
        assert most == 1
        wanted = 3
        clients += await asyncio.gather(*(vespiary.connect(url) for _ in range(3)))
        assert most == 3
        for client in clients:
            client.close()


@pytest.mark.requirement("rfc6455/10.3/h1")
async def test_a_large_message_of_a_client_is_masked_and_not_lent() -> None:
    message = bytes(range(256)) * 1024
    async with serving(Echo) as server, vespiary.connect(server.urls[0]) as client:
        client.send(message)
        assert await client.receive() == message


async def test_a_broken_rule_is_logged_with_the_peer_and_the_section(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(Echo) as server:
        host, port = server.urls[0].removeprefix("ws://").rstrip("/").split(":")
        for _ in range(3):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(
                b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" + UNMASKED
            )
            head, close = (await reader.read()).split(b"\r\n\r\n")
            assert (head[:12], close[2:4]) == (b"HTTP/1.1 101", b"\x03\xea"), close
            writer.close()
        await until(lambda: server.statistics().total.connections_open == 0)
    told = [line for line in lines(caplog) if "RFC 6455 5.1" in line]
    assert len(told) == 1, "a flood of broken rules is not a flood of lines"
    assert host in told[0]
