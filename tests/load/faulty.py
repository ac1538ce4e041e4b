"""An echo server with one fault, made of asyncio's streams and nothing of ours.

On each connection the fault befalls the message with the number `AT`. The server notes when it
answered each message, so that a test can compute latencies of its own.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Final

AT: Final = 7
SIZE: Final = 32
FRAMINGS: Final = ("raw", "line", "length", "websocket")
FAULTS: Final = (
    "none",
    "drop",
    "delay",
    "freeze",
    "duplicate",
    "reorder",
    "alter",
    "truncate",
    "close",
    "never-close",
)
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass
class FaultyServer:
    """What the server does, and what it saw.

    Attributes:
        framing: One of FRAMINGS.
        fault: One of FAULTS.
        seconds: How long a delay or a freeze takes.
        answered: When each message of the last connection was answered, on `time.monotonic()`.
    """

    framing: str
    fault: str = "none"
    seconds: float = 0.02
    answered: list[float] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._echo(reader, writer)
            if self.fault == "never-close":
                await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass  # The test is over; asyncio's streams log a task that ends as cancelled.
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.framing == "websocket":
            await _upgrade(reader, writer)
        self.answered.clear()
        number = 0
        held: list[bytes] = []
        async for message in self._messages(reader, writer):
            for answer in self._answers(number, message, held):
                await self._wait(number)
                writer.write(self._framed(answer))
                await writer.drain()
                self.answered.append(time.monotonic())
            if self.fault == "close" and number == AT:
                await self._leave(reader, writer)
                return
            number += 1

    def _answers(self, number: int, message: bytes, held: list[bytes]) -> list[bytes]:
        """What to send for a message."""
        if held:
            return [message, held.pop()]
        if number != AT:
            return [message]
        match self.fault:
            case "drop" | "close":
                return []
            case "duplicate":
                return [message, message]
            case "reorder":
                held.append(message)
                return []
            case "alter":
                return [message[:5] + bytes([message[5] ^ 1]) + message[6:]]
            case "truncate":
                return [message[: len(message) // 2]]
            case _:
                return [message]

    async def _wait(self, number: int) -> None:
        if self.fault == "delay" or (self.fault == "freeze" and number == AT):
            await asyncio.sleep(self.seconds)

    async def _leave(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Close in the middle, without a reset."""
        if self.framing == "websocket":
            writer.write(b"\x88\x02" + (1001).to_bytes(2, "big"))
        writer.write_eof()
        while await reader.read(65536):
            pass

    async def _messages(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> AsyncIterator[bytes]:
        """The messages that come, until the client ends its side."""
        while True:
            match self.framing:
                case "raw":
                    message = await reader.read(SIZE)
                    if message and len(message) < SIZE:
                        message += await reader.readexactly(SIZE - len(message))
                case "line":
                    message = (await reader.readline())[:-1]
                case "length":
                    head = await reader.read(1)
                    head += await reader.readexactly(3) if head else b""
                    message = await reader.readexactly(int.from_bytes(head, "big"))
                case _:
                    opcode, message = await _frame(reader)
                    if opcode == 8:
                        if self.fault != "never-close":
                            writer.write(b"\x88" + bytes([len(message)]) + message)
                        return
            if not message:
                return
            yield message

    def _framed(self, message: bytes) -> bytes:
        match self.framing:
            case "line":
                return message + b"\n"
            case "length":
                return len(message).to_bytes(4, "big") + message
            case "websocket":
                return b"\x82" + bytes([len(message)]) + message
            case _:
                return message


async def _upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    request = await reader.readuntil(b"\r\n\r\n")
    key = request.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
    accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


async def _frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """A frame of at most 125 bytes: its opcode, and its payload without the mask."""
    first, second = await reader.readexactly(2)
    key = await reader.readexactly(4)
    masked = await reader.readexactly(second & 0x7F)
    return first & 0x0F, bytes(byte ^ key[at % 4] for at, byte in enumerate(masked))


@contextlib.contextmanager
def running(server: FaultyServer) -> Iterator[str]:
    """Run the server on a thread; its URL."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(server.serve, "127.0.0.1", 0, backlog=1000)

    async def stop(listener: asyncio.Server) -> None:
        listener.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    listener = asyncio.run_coroutine_threadsafe(start(), loop).result()
    scheme = "ws" if server.framing == "websocket" else "tcp"
    try:
        yield f"{scheme}://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        asyncio.run_coroutine_threadsafe(stop(listener), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
