"""Our client as the other side: Chromium's own WebSocket server, that of its DevTools."""

import asyncio
import json
from typing import Any

import pytest

import vespiary
from tests.browser.chromium import Chromium

pytestmark = pytest.mark.acceptance


async def ask(url: str, expression: str) -> Any:
    """Open a page with our client, and evaluate an expression in it."""
    limits = vespiary.Limits(message_bytes_max=64 << 20)
    async with asyncio.timeout(20), vespiary.connect(url, limits=limits) as connection:

        async def call(number: int, method: str, **more: object) -> Any:
            connection.send(json.dumps({"id": number, "method": method, **more}))
            while (told := json.loads(await connection.receive())).get("id") != number:
                pass
            return told["result"]

        made = await call(1, "Target.createTarget", params={"url": "about:blank"})
        target = {"targetId": made["targetId"]}
        attached = await call(2, "Target.attachToTarget", params={**target, "flatten": True})
        evaluate = {"expression": expression, "returnByValue": True}
        session = attached["sessionId"]
        told = await call(3, "Runtime.evaluate", params=evaluate, sessionId=session)
        await call(4, "Target.closeTarget", params=target)
        return told["result"]["value"]


def test_our_client_is_understood_by_chromiums_server(chromium: Chromium) -> None:
    assert vespiary.run(ask(chromium.url, "6 * 7")) == 42


@pytest.mark.parametrize("size", [1, 65_536, 8 << 20])
def test_our_client_takes_messages_of_any_size_from_it(chromium: Chromium, size: int) -> None:
    told = vespiary.run(ask(chromium.url, f"'ü'.repeat({size})"))
    assert told == "ü" * size


@pytest.mark.parametrize("size", [1, 65_536, 4 << 20])
def test_our_client_sends_messages_of_any_size_to_it(chromium: Chromium, size: int) -> None:
    text = "x" * size
    assert vespiary.run(ask(chromium.url, f"'{text}'.length")) == size
