"""A gateway from WebSocket to TCP, so that a web page can use any TCP server.

Each WebSocket has its own TCP connection. Messages are sent as bytes, and received bytes become
binary messages. Backpressure works in both directions: while the gateway waits in `drain()`, it
does not take the next message, so the sender slows down. TCP can end in one direction only, but a
WebSocket cannot. So an empty message stands for the end of one direction.

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
    """Forwards each WebSocket to the same TCP address."""

    def __init__(self, target: str) -> None:
        self.target = target

    async def __call__(self, websocket: vespiary.Connection) -> None:
        """Serve one WebSocket."""
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
    """Forward messages to TCP, until one of the two ends."""
    async for message in websocket:
        if not message:
            stream.send_end()
            return
        stream.send(message)
        await stream.drain()
    # The WebSocket was closed: what it sent is written, and nothing more is wanted.
    stream.close()


async def carry_in(stream: vespiary.Connection, websocket: vespiary.Connection) -> None:
    """Forward bytes to the WebSocket, until TCP ends."""
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
