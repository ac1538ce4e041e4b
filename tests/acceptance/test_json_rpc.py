"""The examples that call methods: the server, and the client that reconnects."""

import asyncio
import json
import runpy
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.addresses import free_port

from .conftest import EXAMPLES, Start

pytestmark = pytest.mark.acceptance


def answers(url: str, *calls: object) -> list[Any]:
    with connect(url) as client:
        for call in calls:
            client.send(call if isinstance(call, str) else json.dumps(call))
        return [json.loads(client.recv(timeout=60)) for _ in calls]


def test_calls_run_side_by_side_and_errors_have_codes(start: Start) -> None:
    example = start("json_rpc_server.py", "ws://127.0.0.1:0")
    slow = {"id": 1, "method": "wait", "params": {"seconds": 0.5}}
    quick = {"id": 2, "method": "add", "params": {"a": 1, "b": 2}}
    unknown = {"id": 3, "method": "subtract"}
    wrong = {"id": 4, "method": "add", "params": {"a": 1}}
    given = answers(example.url, slow, quick, unknown, wrong, "{")
    assert [answer["id"] for answer in given][-1] == 1, "the slow one comes last"
    by_number = {answer["id"]: answer for answer in given}
    assert by_number[1]["result"] == "done"
    assert by_number[2] == {"jsonrpc": "2.0", "id": 2, "result": 3}
    codes = {number: by_number[number]["error"]["code"] for number in (3, 4, None)}
    assert codes == {3: -32601, 4: -32602, None: -32700}
    example.stop()


def test_a_refusal_that_is_final_ends_the_calls_of_the_client(start: Start) -> None:
    server = start("json_rpc_server.py", "ws://127.0.0.1:0/rpc", serving=1)
    client = start("json_rpc_client.py", server.url.replace("/rpc", "/elsewhere"))
    client.wait_for("refused the handshake with HTTP status 404")
    client.kill()
    server.stop()


def test_calls_end_with_the_client() -> None:
    async def main() -> None:
        client = runpy.run_path(str(EXAMPLES / "json_rpc_client.py"))["Client"]("ws://127.0.0.1:1")
        async with client:
            waits = asyncio.create_task(client.call("add", a=1, b=1))
            await asyncio.sleep(0)
        for call in (waits, client.call("add", a=1, b=1)):
            with pytest.raises(ConnectionError, match="the client is closed"):
                await asyncio.wait_for(call, 60)

    asyncio.run(main())


def test_the_client_comes_back_and_asks_again(start: Start) -> None:
    port = free_port()
    url = f"ws://127.0.0.1:{port}/"
    client = start("json_rpc_client.py", url)
    server = start("json_rpc_server.py", url, serving=1)
    client.wait_for("1 2\n")
    server.stop()
    count = client.output.count("\n")
    server = start("json_rpc_server.py", url, serving=1)
    client.wait_for_lines(count + 3)
    numbers = [line.split() for line in client.output.splitlines() if line[:1].isdigit()]
    assert [int(number) for number, _ in numbers] == list(range(len(numbers)))
    assert all(int(result) == int(number) + 1 for number, result in numbers)
    server.stop()
    client.stop(2)
