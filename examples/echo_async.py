"""Echo with a coroutine, which runs once per connection.

Run:   .venv/bin/python examples/echo_async.py [URL...]         (default ws://127.0.0.1:9001)
Talk:  .venv/bin/python -m websockets ws://127.0.0.1:9001
"""

import sys

import vespiary


async def echo(connection: vespiary.Connection) -> None:
    """Send every message back. If the client reads slowly, wait."""
    async for message in connection:
        connection.send(message)
        await connection.drain()


if __name__ == "__main__":
    vespiary.serve(echo, *(sys.argv[1:] or ["ws://127.0.0.1:9001"]))
