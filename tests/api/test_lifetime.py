"""Garbage: nothing of a connection outlives it, and thousands leave no trace."""

import asyncio
import functools
import gc
import importlib
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest

import vespiary

from .kit import TCP, WS, Echo, Recorder, are_gone, echo, serving, until


class Payload:
    """Something that can be referred to weakly."""


def nothing(*_: object) -> None:
    """What a timer calls."""


@pytest.mark.parametrize("handler", [Echo(), echo])
@pytest.mark.parametrize("url", [WS, TCP])
async def test_a_connection_goes_away_without_the_collector(
    handler: vespiary.Handler, url: str
) -> None:
    gone: list[weakref.ref[object]] = []

    async with serving(handler, url) as server:
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                client = await vespiary.connect(server.urls[0])
                client.data = Payload()
                gone += [weakref.ref(client), weakref.ref(client.data)]
                client.send(b"x")
                await client.receive()
                client.close()
                await client.wait_closed()
                del client
            await until(lambda: server.statistics().total.connections_closed == 5)
            await until(lambda: all(it() is None for it in gone))
            assert len(gone) == 10
        finally:
            gc.enable()


async def test_server_side_connections_go_away_without_the_collector() -> None:
    gone: list[weakref.ref[object]] = []

    class Noting(Echo):
        def on_open(self, connection: vespiary.Connection) -> None:
            connection.data = Payload()
            gone.append(weakref.ref(connection))
            gone.append(weakref.ref(connection.data))

    async def noting(connection: vespiary.Connection) -> None:
        gone.append(weakref.ref(connection))
        await echo(connection)

    for handler in (Noting(), noting):
        gone.clear()
        async with serving(handler) as server:
            gc.collect()
            gc.disable()
            try:
                for _ in range(5):
                    async with vespiary.connect(server.urls[0]) as client:
                        client.send("x")
                        await client.receive()
                await until(lambda: server.statistics().total.connections_closed == 5)
                assert gone
                await until(lambda: all(it() is None for it in gone))
            finally:
                gc.enable()


async def test_circles_through_data_are_collected() -> None:
    recorder = Recorder()
    async with serving(recorder) as server:
        async with vespiary.connect(server.urls[0]):
            await until(lambda: recorder.connections)
            connection = recorder.connections.pop()
            connection.data = [connection]
            gone = weakref.ref(connection)
            del connection
        await until(lambda: are_gone([gone]))


async def talk_to(handler: Recorder, url: str) -> None:
    async with vespiary.connect(url) as client:
        client.send("x")
        await until(lambda: "message" in handler.names)


async def test_a_handler_and_its_server_go_away_after_the_stop() -> None:
    handler = Recorder()
    server = vespiary.Server()
    server.add(handler, WS)
    await server.start()
    await talk_to(handler, server.urls[0])
    await server.stop()
    gone = weakref.ref(handler), weakref.ref(server)
    del handler, server
    await asyncio.sleep(0)
    gc.collect()
    assert [it() for it in gone] == [None, None]


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("handler", [Echo(), echo])
@pytest.mark.slow
async def test_thousands_of_connections_leave_no_memory_behind(
    handler: vespiary.Handler,
) -> None:
    async with serving(handler) as server:

        async def talk() -> None:
            async with vespiary.connect(server.urls[0]) as client:
                client.send("x")
                await client.receive()

        async def talk_many(count: int) -> None:
            for _ in range(count // 50):
                await asyncio.gather(*(talk() for _ in range(50)))

        await talk_many(1000)
        gc.collect()
        objects, resident = len(gc.get_objects()), resident_bytes()
        await talk_many(3000)
        await until(lambda: server.statistics().total.connections_open == 0)
        gc.collect()
        assert len(gc.get_objects()) - objects < 300
        assert resident_bytes() - resident < 4 << 20


async def test_refused_connections_leave_nothing_behind() -> None:
    class Refusing(vespiary.Handler):
        def on_request(self, request: vespiary.Request) -> vespiary.Response:
            request.connection.data = Payload()
            gone.append(weakref.ref(request.connection.data))
            return request.respond(403)

    gone: list[weakref.ref[Payload]] = []
    async with serving(Refusing) as server:
        for _ in range(5):
            with pytest.raises(vespiary.HandshakeRefused):
                await vespiary.connect(server.urls[0])
        await until(lambda: server.statistics().total.handshakes_pending == 0)
        assert len(gone) == 5
        await until(lambda: are_gone(gone))


async def test_messages_are_freed_when_the_handler_is_done_with_them() -> None:
    async with serving(Echo) as server, vespiary.connect(server.urls[0]) as client:
        message = bytes(500_000)
        for _ in range(20):
            client.send(message)
            await client.receive()
        gc.collect()
        before = resident_bytes()
        for _ in range(400):
            client.send(message)
            await client.receive()
        assert resident_bytes() - before < 8 << 20


async def test_timers_that_were_cancelled_hold_nothing() -> None:
    async with serving(Echo) as server:
        payload = Payload()
        gone = weakref.ref(payload)
        timer = server.set_timer(3600, functools.partial(nothing, payload))
        del payload
        assert gone() is not None
        timer.cancel()
        assert gone() is None


async def test_timers_of_a_connection_that_ended_hold_nothing() -> None:
    recorder = Recorder()
    async with serving(recorder) as server:
        async with vespiary.connect(server.urls[0]):
            await until(lambda: recorder.connections)
            payload = Payload()
            gone = weakref.ref(payload)
            recorder.connections[0].set_timer(3600, functools.partial(nothing, payload))
            del payload
        await until(lambda: recorder.reasons)
        recorder.connections.clear()
        await until(lambda: are_gone([gone]))


BUSY_AT_EXIT = """
import socket, sys, threading, time, vespiary

class Busy(vespiary.Handler):
    def on_message(self, connection, message):
        entered.set()
        while True:
            sum(range(100))

class Slow:
    def __del__(self):
        time.sleep(0.5)

kept = Slow()
entered, serving, urls = threading.Event(), threading.Event(), []

def note(found):
    urls.extend(found)
    serving.set()

threading.Thread(
    target=vespiary.serve,
    args=(Busy(), "tcp://127.0.0.1:0"),
    kwargs={"signals": False, "on_serving": note},
    daemon=True,
).start()
serving.wait()
client = socket.create_connection(("127.0.0.1", int(urls[0].rsplit(":", 1)[1])))
client.send(b"x")
entered.wait()
sys.exit(7)
"""


def test_a_program_ends_while_a_handler_computes_on_a_daemon_thread() -> None:
    """CPython up to 3.13 unwinds such a thread's stack, through the frames of native code."""
    done = subprocess.run(
        [sys.executable, "-c", BUSY_AT_EXIT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 7, done.stderr


def test_a_sub_interpreter_is_refused_and_disturbs_nobody() -> None:
    interpreters: Any = importlib.import_module(
        "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
    )
    other = interpreters.create()
    program = f"""
import sys
sys.path[:0] = {sys.path!r}
try:
    from vespiary import Server
except ImportError as error:
    assert "subinterpreter" in str(error).replace("-", ""), error
else:
    raise AssertionError("it was imported")
"""
    failure = interpreters.run_string(other, program)
    interpreters.destroy(other)
    assert failure is None, failure

    async def main() -> None:
        async with serving(Echo()) as server, vespiary.connect(server.urls[0]) as connection:
            connection.send("after it has ended")
            assert await connection.receive(timeout=20) == "after it has ended"

    vespiary.run(main())


CALLS_AT_EXIT = """
import asyncio, socket, sys, threading, time, vespiary

what = sys.argv[1]
entered = threading.Event()

def work(attempt):
    entered.set()
    while True:
        try:
            attempt()
        except vespiary.ConnectionClosed:
            pass

class Ended(vespiary.Handler):
    def on_close(self, connection, reason):
        attempt = {
            "send": lambda: connection.send(b"x"),
            "send_part": lambda: connection.send_part(b"x"),
            "close_reason": lambda: connection.close_reason,
        }.get(what)
        if attempt is not None:
            threading.Thread(target=work, args=(attempt,), daemon=True).start()

class Slow:
    def __del__(self):
        time.sleep(0.5)

kept = Slow()

def again():
    entered.set()
    until = time.monotonic() + 0.2
    while time.monotonic() < until:
        sum(range(20))
    server.set_timer(0, again)

async def main():
    global server
    server = vespiary.Server(signals=False)
    server.add(Ended(), "tcp://127.0.0.1:0")
    await server.start()
    if what == "timer":
        server.set_timer(0, again)
    else:
        socket.create_connection(("127.0.0.1", int(server.urls[0].rsplit(":", 1)[1]))).close()
    await server.wait_stopped()

threading.Thread(target=vespiary.run, args=(main(),), daemon=True).start()
entered.wait()
sys.exit(7)
"""


@pytest.mark.parametrize("what", ["send", "send_part", "close_reason", "timer"])
def test_a_program_ends_while_native_code_calls_python_code_on_a_daemon_thread(what: str) -> None:
    """What makes an exception or a reason, and a timer of a server, may meet the exit as well."""
    done = subprocess.run(
        [sys.executable, "-c", CALLS_AT_EXIT, what], capture_output=True, text=True, check=False
    )
    assert done.returncode == 7, done.stderr


FINALIZERS_AT_EXIT = """
import asyncio, contextvars, logging, socket, sys, threading, time, vespiary

logging.disable()
what = sys.argv[1]
entered = threading.Event()
var = contextvars.ContextVar("var")

def busy(_):
    entered.set()
    while True:
        sum(range(100))

class Busy:
    __del__ = __repr__ = busy

class Number(int):
    __str__ = busy

class Slow:
    def __del__(self):
        time.sleep(0.5)

kept = Slow()

class Handler(vespiary.Handler):
    def on_open(self, connection):
        held = Busy()
        if what == "data":
            connection.data = held
        elif what == "new data":
            connection.data = held
            del held
            connection.data = None
        elif what == "timer":
            connection.set_timer(0.001, lambda _, held=held: None)
        elif what == "cancelled timer":
            timer = connection.set_timer(100, lambda _, held=held: None)
            del held
            timer.cancel()
        elif what == "context":
            var.set(held)
        elif what == "result":
            return held
        elif what == "error":
            raise LookupError
        elif what == "repr":
            connection.close(held)
        elif what == "str":
            connection.close(Number(1005))

async def main():
    server = vespiary.Server(signals=False)
    server.add(Handler(), "tcp://127.0.0.1:0")
    await server.start()
    peer = socket.create_connection(("127.0.0.1", int(server.urls[0].rsplit(":", 1)[1])))
    while not server.statistics().total.connections_opened:
        await asyncio.sleep(0.001)
    peer.close()
    await server.wait_stopped()

threading.Thread(target=vespiary.run, args=(main(),), daemon=True).start()
entered.wait()
sys.exit(7)
"""


@pytest.mark.parametrize(
    "what",
    ["data", "new data", "timer", "cancelled timer", "context", "result", "error", "repr", "str"],
)
def test_a_program_ends_while_native_code_runs_a_finalizer_on_a_daemon_thread(what: str) -> None:
    """So does Python code that answers what native code asks of an object."""
    done = subprocess.run(
        [sys.executable, "-c", FINALIZERS_AT_EXIT, what],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 7, done.stderr
