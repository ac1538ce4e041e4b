"""Echo with a coroutine: one task a connection, which reads as one thinks.

Run:   .venv/bin/python examples/echo_async.py [URL...]         (default ws://127.0.0.1:9001)
Talk:  .venv/bin/python -m websockets ws://127.0.0.1:9001
"""

import sys

import vespiary


async def echo(connection: vespiary.Connection) -> None:
    """Send every message back. When the client reads slowly, wait for it."""
    async for message in connection:
        connection.send(message)
        await connection.drain()


if __name__ == "__main__":
    vespiary.serve(echo, *(sys.argv[1:] or ["ws://127.0.0.1:9001"]))
