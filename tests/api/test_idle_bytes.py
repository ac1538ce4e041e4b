"""What a server holds in memory for a connection on which nothing happens.

Every allocation is one of malloc's here, and is counted with malloc's own overhead: the figures do
not depend on the machine, and are larger than those of `benches` by what Python's allocator saves.
"""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

CONNECTIONS = 800
"""So many that what is kept once, and not for each of them, hardly counts."""

SERVER = """
import asyncio, contextvars, ctypes, gc, sys
import vespiary

class Usage(ctypes.Structure):
    _fields_ = [(f"field_{number}", ctypes.c_size_t) for number in range(10)]

mallinfo = ctypes.CDLL(None).mallinfo2  # malloc(3): see mallinfo(3)
mallinfo.restype = Usage

def in_use():
    gc.collect()
    usage = mallinfo()
    return usage.field_7 + usage.field_4  # Allocated from arenas, and by mmap.

async def waits():
    await asyncio.get_running_loop().create_future()

async def bare():
    # A task that waits, with the callback that every connection's task has.
    before = in_use()
    tasks = []
    for _ in range(int(sys.argv[2])):
        context = contextvars.copy_context()
        tasks.append(asyncio.create_task(waits(), name="waits", context=context))
        tasks[-1].add_done_callback(tasks.remove, context=context)
    await asyncio.sleep(0)
    after = in_use()
    for task in list(tasks):
        task.cancel()
    return after - before

async def coroutine(connection):
    async for message in connection:
        connection.send(str(await bare() if message == "bare" else answer(message)))

class Methods(vespiary.Handler):
    def on_message(self, connection, message):
        connection.send(answer(message))

def answer(message):
    return str(in_use()) if message == "in use" else "0"

vespiary.serve(
    coroutine if sys.argv[1] == "coroutine" else Methods(),
    "ws://127.0.0.1:0",
    on_serving=lambda urls: print(urls[0], flush=True),
)
"""

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1:65535\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@contextlib.contextmanager
def server(form: str) -> Iterator[int]:
    """A server whose every allocation is one of malloc's, so that they can be counted."""
    environment = {**os.environ, "PYTHONMALLOC": "malloc"}
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, form, str(CONNECTIONS)],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline().rstrip("/\n").rpartition(":")[2])
        finally:
            process.terminate()


def opened(port: int) -> socket.socket:
    """A plain socket on which the handshake and one message are over."""
    peer = socket.create_connection(("127.0.0.1", port), timeout=60)
    peer.sendall(REQUEST)
    while not peer.recv(4096).endswith(b"\r\n\r\n"):
        pass
    asked(peer, b"echo")
    return peer


def asked(peer: socket.socket, question: bytes) -> int:
    """The number that the server answers."""
    peer.sendall(bytes([0x81, 0x80 | len(question), 0, 0, 0, 0]) + question)
    answer = peer.recv(4096)
    while len(answer) < 2 + answer[1]:
        answer += peer.recv(4096)
    return int(answer[2:])


def held_bytes(form: str) -> tuple[float, float]:
    """Bytes held for an idle connection, and for a task of asyncio's that waits."""
    with server(form) as port, contextlib.ExitStack() as peers:
        first = peers.enter_context(opened(port))
        before = asked(first, b"in use")
        for _ in range(CONNECTIONS):
            peers.enter_context(opened(port))
        held = asked(first, b"in use") - before
        bare = asked(first, b"bare") if form == "coroutine" else 0
        return held / CONNECTIONS, bare / CONNECTIONS


def test_a_connection_of_methods_holds_its_state_its_object_and_a_context() -> None:
    held, _ = held_bytes("callback")
    assert 400 < held < 832


def test_a_coroutines_connection_holds_little_more_than_that_and_its_task() -> None:
    held, bare = held_bytes("coroutine")
    assert 400 < held - bare < 1120
