"""The second signal ends a program whose handlers do not yield."""

import fcntl
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from typing import IO

import pytest

from tests.waiting import wait_until

from .test_signals import RUNNERS, Program, driver

__all__ = ["driver"]

BLOCKED = """
import os, signal, threading, time

def block():
    print("blocked", flush=True)
    {block}

class Blocks(vespiary.Handler):
    {hook}: block()

async def main():
    server = vespiary.Server()
    server.add(Blocks(), "ws://127.0.0.1:0")
    async with server:
        print("up", flush=True)
        client = await vespiary.connect(server.urls[0])
        client.send("x")
        if {is_at_end}:
            os.kill(os.getpid(), signal.SIGTERM)
        await server.wait_stopped()
"""
BLOCKS = {
    "computes": "while True: pass",
    "sleeps": "time.sleep(3600)",
    "waits for a lock": "threading.Lock().__enter__(); threading.Event().wait()",
    "catches an exception": (
        "\n    try: time.sleep(3600)\n    except BaseException: time.sleep(3600)"
    ),
}
METHODS = {
    "plain": "def on_message(self, connection, message)",
    "async": "async def on_message(self, connection, message)",
    "request": "def on_request(self, request)",
    "shutdown": "def on_shutdown(self, connection)",
    "stop": "async def on_stop(self, server)",
}


def program_of(hook: str, block: str) -> str:
    return BLOCKED.format(
        hook=METHODS[hook],
        block=BLOCKS.get(block, block),
        is_at_end=hook in ("shutdown", "stop"),
    )


@pytest.fixture
def program(request: pytest.FixtureRequest) -> Iterator[Program]:
    """A program whose handler has blocked the loop."""
    hook, block, runner = request.param
    code = program_of(hook, block)
    with Program(code, runner) as program:
        program.wait_for("blocked")
        yield program


def twice(program: Program, number: signal.Signals) -> tuple[int, str]:
    """Its status and its log after two signals, which are sent once more where they became one."""
    process = program.process
    for seconds in (0.2, 10, 10):
        process.send_signal(number)
        try:
            _, log = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            continue
        return process.returncode, log
    raise AssertionError("it runs on")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "program",
    [
        *((hook, "computes", RUNNERS[1]) for hook in METHODS),
        *(("plain", block, RUNNERS[1]) for block in BLOCKS if block != "computes"),
        *((hook, "sleeps", runner) for runner in RUNNERS for hook in ("plain", "async")),
    ],
    indirect=True,
    ids=lambda value: " ".join(value[:2]),
)
def test_it_ends_though_a_handler_does_not_yield(program: Program, number: signal.Signals) -> None:
    status, log = twice(program, number)
    assert "a handler does not yield" in log
    assert "in block\n" in log
    assert status == (-signal.SIGINT if number == signal.SIGINT else 128 + number)


@pytest.mark.parametrize(
    "program",
    [
        (
            "plain",
            "\n    while True:\n        try: time.sleep(0.1)\n        except BaseException: pass",
            RUNNERS[1],
        )
    ],
    indirect=True,
)
def test_it_ends_though_a_handler_swallows_what_interrupts_it(program: Program) -> None:
    status, log = twice(program, signal.SIGINT)
    assert "neither yields nor ends when interrupted" in log
    assert status == 128 + signal.SIGINT


SWALLOWS = """
async def swallow():
    print("blocked", flush=True)
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
"""
IGNORES = (
    SWALLOWS
    + """
async def ignores(connection):
    await swallow()

async def main():
    server = vespiary.Server()
    server.add(ignores, "ws://127.0.0.1:0")
    async with server:
        print("up", flush=True)
        client = await vespiary.connect(server.urls[0])
        await server.wait_stopped()
"""
)
IGNORES_AT_STOP = (
    SWALLOWS
    + """
class Ignores(vespiary.Handler):
    async def on_stop(self, server):
        await swallow()

async def main():
    server = vespiary.Server()
    server.add(Ignores(), "ws://127.0.0.1:0")
    async with server:
        print("up", flush=True)
"""
)
ON_A_THREAD = """
import time

class Blocks(vespiary.Handler):
    def on_message(self, connection, message):
        print("blocked", flush=True)
        time.sleep(3600)

async def main():
    server = vespiary.Server()
    server.add(Blocks(), "ws://127.0.0.1:0", executor="threads")
    async with server:
        print("up", flush=True)
        client = await vespiary.connect(server.urls[0])
        client.send("x")
        await server.wait_stopped()
"""


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("code", [IGNORES, IGNORES_AT_STOP, ON_A_THREAD])
def test_it_ends_though_work_is_left(code: str, runner: str) -> None:
    with Program(code, runner) as program:
        program.wait_for("blocked")
        status, log = twice(program, signal.SIGINT)
    assert status == 0
    assert "Received SIGINT again" in log


FORKS = """
import os
async def main():
    async with make() as server:
        print("up", flush=True)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            # CPython drops signals that come before this.
            os.write(writing, b"x")
            while True: time.sleep(0.01)
        os.read(reading, 1)
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
        print("child", os.waitstatus_to_exitcode(status), flush=True)
        await asyncio.sleep(0.05)
        print(len(server.urls), server.publish("topic", "x"), flush=True)
"""


def test_a_signal_to_a_forked_child_does_not_stop_the_parents_server() -> None:
    with Program("import signal, time" + FORKS, RUNNERS[0]) as program:
        output, _ = program.process.communicate(timeout=60)
    assert output == f"child {-signal.SIGTERM}\n1 0\nstopped\n"


FILLS = """
class Fills(vespiary.Handler):
    def on_message(self, connection, message):
        while True:
            try: logging.info("x" * 1000)
            except {caught}: pass

async def main():
    server = vespiary.Server()
    server.add(Fills(), "ws://127.0.0.1:0")
    async with server:
        print("up", flush=True)
        client = await vespiary.connect(server.urls[0])
        client.send("x")
        await server.wait_stopped()
"""


def waiting_bytes(pipe: IO[str]) -> int:
    """How much nobody has read yet."""
    count: int = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]
    return count


@pytest.mark.parametrize("caught", ["ValueError", "KeyboardInterrupt"])
def test_it_ends_though_nobody_reads_its_log(caught: str) -> None:
    with Program(FILLS.format(caught=caught), RUNNERS[1]) as program:
        stderr = program.process.stderr
        assert stderr is not None
        wait_until(lambda: waiting_bytes(stderr) >= 60_000)
        # Most signals interrupt a write whose exception the handler swallows.
        for _ in range(600):
            program.process.send_signal(signal.SIGINT)
            try:
                program.process.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
            break
        assert program.process.returncode in (-signal.SIGINT, 128 + signal.SIGINT)


MANY_SHORT = """
import os, signal, time

class Closes(vespiary.Handler):
    closed = 0
    def on_message(self, connection, message): pass
    def on_shutdown(self, connection): pass
    def on_close(self, connection, reason):
        time.sleep(0.02)
        self.closed += 1
    def on_stop(self, server): print("closed", self.closed, flush=True)

async def main():
    server = vespiary.Server()
    server.add(Closes(), "ws://127.0.0.1:0")
    async with server:
        clients = [await vespiary.connect(server.urls[0]) for _ in range(150)]
        print("up", flush=True)
        await server.wait_stopped()
"""


@pytest.mark.parametrize("runner", RUNNERS[:2])
def test_many_short_callbacks_are_not_a_handler_that_does_not_yield(runner: str) -> None:
    with Program(MANY_SHORT, runner) as program:
        program.process.send_signal(signal.SIGTERM)
        assert program.process.stderr is not None
        while "Stopping" not in program.process.stderr.readline():
            pass
        program.process.send_signal(signal.SIGTERM)
        output, log = program.process.communicate(timeout=60)
    assert output == "closed 150\n", log
    assert program.process.returncode == 0
