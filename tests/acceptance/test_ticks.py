"""The example that sends ticks to a thousand subscribers, some of them slow."""

import asyncio
import itertools
import json
import socket
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

import vespiary

from .conftest import Start

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.serial,
    pytest.mark.slow,
    pytest.mark.timeout(180),
]

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: ticks\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SUBSCRIBERS = 1000
SLOW = 20
TICKS = 20


async def subscribe(url: str, count: int) -> list[vespiary.Connection[str]]:
    """Connect a few at a time."""
    free = asyncio.Semaphore(50)

    async def one() -> vespiary.Connection[str]:
        async with free:
            return await vespiary.connect(url)

    return list(await asyncio.gather(*(one() for _ in range(count))))


def slow_one(url: str) -> socket.socket:
    """A subscriber that reads nothing, and whose kernel holds little for it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    host, port = url.removeprefix("ws://").rstrip("/").split(":")
    client.connect((host, int(port)))
    client.sendall(HANDSHAKE)
    return client


async def numbers(client: vespiary.Connection[str]) -> list[int]:
    """The numbers of some ticks."""
    return [json.loads(await client.receive())["tick"] for _ in range(TICKS)]


async def ask(client: ClientConnection) -> Any:
    """How many subscribers there are, and how many messages were dropped."""
    await client.send("how many?")
    while "dropped" not in (answer := json.loads(await client.recv())):
        pass
    return answer


async def watch(url: str) -> None:
    """Everyone who reads gets every tick; those who do not lose some."""
    clients = await subscribe(url, SUBSCRIBERS - SLOW - 1)
    slow = [slow_one(url) for _ in range(SLOW)]
    async with asyncio.timeout(150), connect(url) as asker:
        while (await ask(asker))["subscribers"] < SUBSCRIBERS:
            pass
        told = await asyncio.gather(*map(numbers, clients))
        for one in clients:
            one.abort()
        while not (await ask(asker))["dropped"]:
            pass
    for idle in slow:
        idle.close()
    for ticks in told:
        assert all(after == before + 1 for before, after in itertools.pairwise(ticks))


def test_slow_subscribers_lose_old_ticks_and_delay_nobody(start: Start) -> None:
    example = start("ticks.py", "ws://127.0.0.1:0", TICKS_PER_SECOND="10")
    vespiary.run(watch(example.url), driver=start.driver)
    example.stop()
