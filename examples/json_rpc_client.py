"""A JSON-RPC 2.0 client that stays connected and repeats unanswered calls.

Any number of tasks can use `Client.call`. While the server is not reachable, calls wait. After the
client has reconnected, it sends all unanswered calls again, so the methods should be idempotent. If
another attempt would fail too, for example after a 404, waiting calls and later calls raise the
error.

Run:   .venv/bin/python examples/json_rpc_client.py [URL]     (default ws://127.0.0.1:9001)
"""

import asyncio
import contextlib
import itertools
import json
import sys
from typing import Any

import vespiary


class Client:
    """Calls methods of the server at a URL; a context manager."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.numbers = itertools.count(1)
        self.waiting: dict[int, tuple[str, asyncio.Future[Any]]] = {}
        self.connection: vespiary.Connection[str] | None = None
        self.failure: Exception | None = None

    async def call(self, method: str, **params: object) -> Any:
        """Call a method; its result.

        Raises:
            RuntimeError: the server answered with an error.
            Exception: the client has ended: what ended it.
        """
        if self.failure is not None:
            raise self.failure
        number = next(self.numbers)
        call = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        message, answer = json.dumps(call), asyncio.get_running_loop().create_future()
        self.waiting[number] = message, answer
        try:
            if self.connection is not None and self.connection.is_open:
                self.connection.send(message)
            return await answer
        finally:
            del self.waiting[number]

    async def run(self) -> None:
        """Stay connected. At the end, end all calls."""
        try:
            await self.stay_connected()
        except Exception as error:
            self.failure = error
        finally:
            self.failure = self.failure or ConnectionError("the client is closed")
            for _, answer in self.waiting.values():
                if not answer.done():
                    answer.set_exception(self.failure)

    async def stay_connected(self) -> None:
        """Stay connected until the task is cancelled or an error is final."""
        async for connection in vespiary.connect(self.url):
            self.connection = connection
            for message, _ in self.waiting.values():
                connection.send(message)
            try:
                async for message in connection:
                    self.settle(json.loads(message))
            except vespiary.ConnectionBroken as error:
                print(f"lost the connection: {error}")

    def settle(self, response: dict[str, Any]) -> None:
        """Pass an answer to the call that waits for it."""
        _, answer = self.waiting.get(response["id"], ("", None))
        if answer is None or answer.done():
            return
        if "error" in response:
            answer.set_exception(RuntimeError(response["error"]["message"]))
        else:
            answer.set_result(response["result"])

    async def __aenter__(self) -> "Client":
        self.task = asyncio.create_task(self.run())
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


async def main() -> None:
    """Add numbers, one per second."""
    url = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:9001"
    async with Client(url) as client:
        for number in itertools.count():
            print(number, await client.call("add", a=number, b=1), flush=True)
            await asyncio.sleep(1)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        vespiary.run(main())
