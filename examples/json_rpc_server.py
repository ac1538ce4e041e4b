"""A JSON-RPC 2.0 server on WebSocket, for json_rpc_client.py.

Each call is a task, so the calls of a connection run at the same time. An answer is sent as soon as
its call is complete.

Run:   .venv/bin/python examples/json_rpc_server.py [URL...]     (default ws://127.0.0.1:9001)
Talk:  .venv/bin/python examples/json_rpc_client.py
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import vespiary


async def add(a: float, b: float) -> float:
    """Return the sum."""
    return a + b


async def wait(seconds: float) -> str:
    """Wait for some seconds."""
    await asyncio.sleep(min(seconds, 60))
    return "done"


METHODS: dict[str, Callable[..., Awaitable[object]]] = {"add": add, "wait": wait}
CALLS_MAX = 100


async def serve_calls(connection: vespiary.Connection[str]) -> None:
    """Serve one client: each message is a call. Calls in progress are cancelled at the end."""
    free = asyncio.Semaphore(CALLS_MAX)
    async with asyncio.TaskGroup() as calls:
        async for message in connection:
            await free.acquire()
            task = calls.create_task(answer(connection, message))
            task.add_done_callback(lambda _: free.release())


async def answer(connection: vespiary.Connection[str], message: str) -> None:
    """Run one call and send its result, or its error."""
    number = None
    try:
        call: dict[str, Any] = json.loads(message)
        number = call.get("id")
        result = await METHODS[call["method"]](**call.get("params", {}))
        response = {"result": result}
    except json.JSONDecodeError:
        response = {"error": {"code": -32700, "message": "not JSON"}}
    except KeyError as error:
        response = {"error": {"code": -32601, "message": f"unknown: {error}"}}
    except TypeError as error:
        response = {"error": {"code": -32602, "message": str(error)}}
    if connection.is_open:
        connection.send(json.dumps({"jsonrpc": "2.0", "id": number, **response}))


if __name__ == "__main__":
    urls = sys.argv[1:] or ["ws://127.0.0.1:9001"]
    vespiary.serve(serve_calls, *urls, websocket=vespiary.WebSocket(messages="text"))
