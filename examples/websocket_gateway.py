"""A gateway from WebSocket to TCP, so that a page can talk to any server of bytes.

Each WebSocket gets a TCP connection of its own; messages go in as bytes, bytes come out as binary
messages. Back-pressure holds in both directions: who waits in `drain()` takes no further message,
and what is not taken is not read from the network. TCP can end in one direction while the other
goes on; WebSocket cannot, so an empty message stands for that end, both ways.

Run:   .venv/bin/python examples/line_echo.py &
       .venv/bin/python examples/websocket_gateway.py [WS_URL [TCP_URL]]
       (default ws://127.0.0.1:9001 and tcp://127.0.0.1:5050)
Talk:  .venv/bin/python -m websockets ws://127.0.0.1:9001
"""

import asyncio
import sys

import vespiary

BAD_GATEWAY = 1014  # The registry of close codes that RFC 6455 section 11.7 founded.


class Gateway:
    """Carries each WebSocket on to the same TCP address."""

    def __init__(self, target: str) -> None:
        self.target = target

    async def __call__(self, websocket: vespiary.Connection) -> None:
        """One WebSocket's life."""
        try:
            stream = await vespiary.connect(self.target, half_close=True)
        except OSError as error:
            websocket.close(BAD_GATEWAY, (error.strerror or "no connection")[:100])
            return
        try:
            async with asyncio.TaskGroup() as directions:
                directions.create_task(carry_out(websocket, stream))
                directions.create_task(carry_in(stream, websocket))
        except* vespiary.ConnectionClosed:
            # One end is gone in the midst of it: the other one must not take that for a good end.
            stream.abort()
            websocket.close(BAD_GATEWAY, "the other end broke off")
        finally:
            stream.close()


async def carry_out(websocket: vespiary.Connection, stream: vespiary.Connection) -> None:
    """From the WebSocket to TCP, until the one or the other direction's end."""
    async for message in websocket:
        if not message:
            stream.send_end()
            return
        stream.send(message)
        await stream.drain()
    # The WebSocket was closed: what it sent is written, and nothing more is wanted.
    stream.close()


async def carry_in(stream: vespiary.Connection, websocket: vespiary.Connection) -> None:
    """From TCP to the WebSocket, until TCP's end."""
    async for piece in stream:
        websocket.send(piece)
        await websocket.drain()
    if websocket.is_open:
        websocket.send(b"")


def main() -> None:
    """Serve one target."""
    urls = [*sys.argv[1:], *["ws://127.0.0.1:9001", "tcp://127.0.0.1:5050"][len(sys.argv) - 1 :]]
    vespiary.serve(Gateway(urls[1]), urls[0])


if __name__ == "__main__":
    main()
