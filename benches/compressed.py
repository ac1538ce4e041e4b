"""S6: echoes of compressed JSON, 100 connections, with and without context takeover.

    python -m benches.compressed [SECONDS] [ROUNDS]

Server CPU for each message, ours and the Python peers', in rounds that take turns. Everybody has
level 6, memory level 8 and windows of 15 bits, but aiohttp, which has level 1 and no choice. The
client is asyncio and zlib, checks every echo, and is slower than any server; what counts is the CPU
time of the server's process (proc(5)). Where the peers are installed elsewhere, PEERS_PYTHON names
that Python.
"""

import asyncio
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import time
import zlib
from pathlib import Path
from random import Random

CONNECTIONS = 100
START_SECONDS = 15.0
SIZES = (1024, 2048, 4096)
TAIL = b"\x00\x00\xff\xff"

OURS = """
import sys, vespiary
from vespiary import Compression, WebSocket
class Echo(vespiary.Handler):
    def on_message(self, connection, message):
        connection.send(message)
takeover = sys.argv[2] == "takeover"
compression = Compression(level=6, memory_level=8, server_context_takeover=takeover,
    client_context_takeover=takeover, client_window_bits=15)
websocket = WebSocket(compression=compression)
vespiary.serve(Echo(), f"ws://127.0.0.1:{sys.argv[1]}", websocket=websocket)
"""

WEBSOCKETS = """
import asyncio, sys, uvloop
from websockets.asyncio.server import serve
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
no = sys.argv[2] != "takeover"
factory = ServerPerMessageDeflateFactory(server_no_context_takeover=no,
    client_no_context_takeover=no, compress_settings={"level": 6, "memLevel": 8})
async def echo(connection):
    async for message in connection:
        await connection.send(message)
async def main():
    async with serve(echo, "127.0.0.1", int(sys.argv[1]), compression=None, extensions=[factory],
                     ping_interval=None):
        await asyncio.get_running_loop().create_future()
uvloop.run(main())
"""

AIOHTTP = """
import asyncio, sys, uvloop
from aiohttp import WSMsgType, web
async def echo(request):
    socket = web.WebSocketResponse(compress=True)
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
    return socket
async def main():
    application = web.Application()
    application.router.add_get("/", echo)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(sys.argv[1])).start()
    await asyncio.get_running_loop().create_future()
uvloop.run(main())
"""

SOCKETIFY = """
import sys
from socketify import App, CompressOptions, OpCode
takeover = sys.argv[2] == "takeover"
options = CompressOptions.DEDICATED_COMPRESSOR if takeover else CompressOptions.SHARED_COMPRESSOR
app = App()
app.ws("/*", {"compression": options, "idle_timeout": 0,
    "message": lambda ws, message, opcode: ws.send(message, opcode, True)})
app.listen(int(sys.argv[1]), lambda config: None)
app.run()
"""

LEVEL_6 = "vespiary"
LEVEL_1 = "vespiary, level 1"
SERVERS = {
    LEVEL_6: OURS,
    LEVEL_1: OURS.replace("level=6", "level=1"),
    "websockets": WEBSOCKETS,
    "aiohttp": AIOHTTP,
    "socketify": SOCKETIFY,
}
BASES = {"aiohttp": LEVEL_1}
"""Whom ours is compared with by another level than 6."""


def message(size: int, number: Random) -> bytes:
    """JSON like a market's feed."""
    text = "["
    while len(text) < size:
        text += (
            f'{{"id":{number.randrange(10**6)},"symbol":"SYM{number.randrange(97)}","price":'
            f'{number.randrange(500)}.{number.randrange(100):02},"side":"buy"}},'
        )
    return text[:size].encode()


class Client:
    """One connection: sends a message, waits for its echo, and so on until the time is over."""

    def __init__(self, port: int, takeover: bool, seed: int) -> None:
        self.port = port
        self.takeover = takeover
        number = Random(seed)
        self.messages = [message(size, number) for size in SIZES * 3]
        self.deflater = zlib.compressobj(1, wbits=-15)
        self.inflater = zlib.decompressobj(wbits=-15)
        self.inflates = self.deflates = True
        self.count = 0
        self.compressed = 0

    async def open(self) -> None:
        """Connect, and complete the handshake."""
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        offer = "permessage-deflate"
        if not self.takeover:
            offer += "; server_no_context_takeover; client_no_context_takeover"
        self.writer.write(
            "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Extensions: {offer}\r\n\r\n".encode()
        )
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        assert "permessage-deflate" in head, head
        self.deflates = "client_no_context_takeover" not in head
        self.inflates = "server_no_context_takeover" not in head

    async def echo(self) -> None:
        """One message, and its echo."""
        payload = self.messages[self.count % len(self.messages)]
        if not self.deflates:
            self.deflater = zlib.compressobj(1, wbits=-15)
        packed = self.deflater.compress(payload) + self.deflater.flush(zlib.Z_SYNC_FLUSH)
        packed = packed.removesuffix(TAIL)
        short = len(packed) < 126
        length = bytes([0x80 | len(packed)]) if short else b"\xfe" + len(packed).to_bytes(2, "big")
        self.writer.write(b"\xc1" + length + bytes(4) + packed)
        first, short_length = await self.reader.readexactly(2)
        size = short_length
        if short_length == 126:
            size = int.from_bytes(await self.reader.readexactly(2), "big")
        echo = await self.reader.readexactly(size)
        if first & 0x40:
            self.compressed += 1
            if not self.inflates:
                self.inflater = zlib.decompressobj(wbits=-15)
            echo = self.inflater.decompress(echo + TAIL)
        assert echo == payload, "an echo is altered"
        self.count += 1

    async def run(self, until: float) -> None:
        """Until the time is over."""
        while time.monotonic() < until:
            await self.echo()


def cpu_seconds(pid: int) -> float:
    """What the process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(port: int, pid: int, takeover: bool, seconds: float) -> float:
    """Microseconds of the server's CPU for a message."""
    clients = [Client(port, takeover, seed) for seed in range(CONNECTIONS)]
    await asyncio.gather(*(client.open() for client in clients))
    await asyncio.gather(*(client.echo() for client in clients))
    before, done = cpu_seconds(pid), sum(client.count for client in clients)
    until = time.monotonic() + seconds
    await asyncio.gather(*(client.run(until) for client in clients))
    count = sum(client.count for client in clients) - done
    assert all(client.compressed == client.count for client in clients), "not all is compressed"
    used = cpu_seconds(pid) - before
    for client in clients:
        client.writer.close()
    return used / count * 1e6


def listens(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the server listens; False if it has ended instead."""
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        time.sleep(0.1)
    return False


def run(name: str, program: str, takeover: bool, seconds: float, port: int) -> float | None:
    """Start a server, measure it, end it; None where it cannot be started."""
    python = sys.executable if name.startswith("vespiary") else os.environ.get("PEERS_PYTHON")
    context = "takeover" if takeover else "none"
    words = [python or sys.executable, "-c", program, str(port), context]
    source = str(Path(__file__).resolve().parents[1] / "src")
    environment = {**os.environ, "PYTHONPATH": source}
    log = subprocess.DEVNULL
    with subprocess.Popen(words, stdout=log, stderr=log, env=environment) as process:
        try:
            if not listens(process, port):
                return None
            return asyncio.run(measure(port, process.pid, takeover, seconds))
        finally:
            process.kill()


def main(seconds: float, rounds: int) -> None:
    """Measure everybody in turns, and tell the medians."""
    port = 21_000 + os.getpid() % 20_000
    for takeover in (False, True):
        print("with context takeover" if takeover else "without context takeover")
        found: dict[str, list[float]] = {name: [] for name in SERVERS}
        for _ in range(rounds):
            for name, program in SERVERS.items():
                port += 1
                used = run(name, program, takeover, seconds, port)
                if used is not None:
                    found[name].append(used)
        for name, values in found.items():
            if not values:
                print(f"  {name:17} not installed, or it failed")
                continue
            middle = statistics.median(values)
            ours = statistics.median(found[BASES.get(name, LEVEL_6)])
            print(f"  {name:17} {middle:6.1f} us per message; ours is {ours / middle:.2f} of it")


if __name__ == "__main__":
    given = [float(word) for word in sys.argv[1:]]
    main(given[0] if given else 3.0, int(given[1]) if len(given) > 1 else 3)
