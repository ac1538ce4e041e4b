"""SIGINT and SIGTERM end a program: gracefully, and then as they would without a server."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap

import pytest

import vespiary

from .kit import WS, Echo, serving

ASYNCIO = "asyncio.run(main())"
RUNNERS = [ASYNCIO, "vespiary.run(main())", "import uvloop; uvloop.run(main())"]

PROGRAM = """
import asyncio, logging, sys, vespiary

logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")

class Echo(vespiary.Handler):
    def on_message(self, connection, message): connection.send(message)
    def on_stop(self, server): print("stopped", flush=True)

def make():
    server = vespiary.Server()
    server.add(Echo(), "ws://127.0.0.1:0")
    return server

async def forever(server):
    print("up", flush=True)
    await asyncio.Future()
"""

IN_BLOCK = """
async def main():
    async with make() as server:
        await forever(server)
"""
IN_TASK_GROUP = """
async def main():
    async with make() as server, asyncio.TaskGroup() as group:
        group.create_task(forever(server))
"""
STOPPED = """
async def main():
    async with make() as server:
        await server.stop()
        await forever(server)
"""
WAITS = """
async def main():
    async with make() as server:
        print("up", flush=True)
        await server.wait_stopped()
    print("after", flush=True)
"""
WAITS_FOR_ONE = """
async def main():
    first, second = make(), make()
    async with first, second:
        print("up", flush=True)
        await first.wait_stopped()
    print("after", flush=True)
"""
STARTS = """
class Starting(Echo):
    async def on_start(self, server):
        print("up", flush=True)
        try:
            await asyncio.Future()
        finally:
            print("undone", flush=True)

async def main():
    server = vespiary.Server()
    deadlines = vespiary.Deadlines(drain_seconds=3600)
    server.add(Starting(), "ws://127.0.0.1:0", deadlines=deadlines)
    async with server:
        await forever(server)
"""
SERVES = """
vespiary.serve(
    Starting(),
    "ws://127.0.0.1:0",
    deadlines=vespiary.Deadlines(drain_seconds=3600),
    on_serving=lambda urls: print("serving", flush=True),
)
print("after", flush=True)
"""
RUN_TWICE = """
class Mistaken(Starting):
    async def on_start(self, server):
        def run():
            try:
                server.run()
            except RuntimeError:
                print("refused", flush=True)

        run()
        await asyncio.to_thread(run)
        await super().on_start(server)

server = vespiary.Server()
deadlines = vespiary.Deadlines(drain_seconds=3600)
server.add(Mistaken(), "ws://127.0.0.1:0", deadlines=deadlines)
server.run()
print("after", flush=True)
"""
TWO_SERVERS = """
async def main():
    async with make() as first, make() as second:
        await forever(first)
"""


class Program:
    """A program that runs until a signal ends it."""

    def __init__(self, code: str, runner: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(PROGRAM + code) + runner],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A thread that waits in a write to a buffered standard error holds a lock that the
            # interpreter needs at its exit.
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )

    def __enter__(self) -> "Program":
        self.wait_for("up")
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.communicate()

    def wait_for(self, line: str) -> None:
        """Read lines of its output until this one."""
        assert self.process.stdout is not None
        while (got := self.process.stdout.readline()) != f"{line}\n":
            assert got, "the program has ended"

    def end(self, number: signal.Signals) -> tuple[int, str, str]:
        """Send a signal, once; its status, what is left of its output, and its log."""
        self.process.send_signal(number)
        output, log = self.process.communicate(timeout=60)
        return self.process.returncode, output, log


@pytest.fixture(params=["epoll"], autouse=True)
def driver(request: pytest.FixtureRequest) -> str:
    """These do not depend on the kernel's driver."""
    name: str = request.param
    return name


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("code", [IN_BLOCK, IN_TASK_GROUP], ids=["block", "task group"])
def test_one_signal_stops_the_server_and_then_ends_the_program(code: str, runner: str) -> None:
    with Program(code, runner) as program:
        status, output, log = program.end(signal.SIGINT)
    assert status == -signal.SIGINT
    assert output == "stopped\n"
    assert log.rstrip().endswith("KeyboardInterrupt")
    assert "raising SIGINT again" in log


@pytest.mark.parametrize("runner", RUNNERS)
def test_sigterm_ends_the_process_after_the_graceful_stop(runner: str) -> None:
    with Program(IN_BLOCK, runner) as program:
        status, output, log = program.end(signal.SIGTERM)
    assert status == -signal.SIGTERM
    assert output == "stopped\n"
    assert "Stopped after" in log


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_on_start_undoes_the_start_and_ends_the_program(
    runner: str, number: signal.Signals
) -> None:
    with Program(STARTS, runner) as program:
        status, output, log = program.end(number)
    assert status == -number
    assert output.startswith("undone\n")
    assert "because the server stops" in log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_returns_when_a_signal_comes_during_on_start(number: signal.Signals) -> None:
    with Program(STARTS, SERVES) as program:
        status, output, log = program.end(number)
    assert (status, output) == (0, "undone\nafter\n")
    assert "Traceback" not in log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_returns_after_a_signal_though_a_second_run_was_refused(number: signal.Signals) -> None:
    with Program(STARTS, RUN_TWICE) as program:
        status, output, _ = program.end(number)
    assert (status, output) == (0, "undone\nafter\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("code", [WAITS, WAITS_FOR_ONE], ids=["one", "two"])
def test_a_program_that_waits_for_the_end_continues_by_itself(
    code: str, number: signal.Signals
) -> None:
    with Program(code, ASYNCIO) as program:
        status, output, _ = program.end(number)
    assert status == 0
    assert output.endswith("stopped\nafter\n")


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_belong_to_the_program_again_after_stop(
    runner: str, number: signal.Signals
) -> None:
    with Program(STOPPED, runner) as program:
        status, _, log = program.end(number)
    assert status == -number
    assert "Received" not in log


def test_one_signal_stops_every_server_of_the_loop() -> None:
    with Program(TWO_SERVERS, ASYNCIO) as program:
        status, output, log = program.end(signal.SIGINT)
    assert status == -signal.SIGINT
    assert output == "stopped\nstopped\n"
    assert "stopping 2 servers" in log


def test_asyncios_own_handler_is_back_once_the_server_has_stopped() -> None:
    async def main() -> None:
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        async with serving(Echo, WS) as server:
            assert signal.getsignal(signal.SIGINT) != before[signal.SIGINT]
            await server.stop()
            assert {number: signal.getsignal(number) for number in before} == before

    asyncio.run(main())


async def test_a_handler_that_the_program_sets_meanwhile_stays() -> None:
    before = signal.getsignal(signal.SIGTERM)
    got: list[int] = []
    try:
        async with serving(Echo, WS):
            signal.signal(signal.SIGTERM, lambda number, frame: got.append(number))
        os.kill(os.getpid(), signal.SIGTERM)
        assert got == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_handlers_stay_until_the_last_server_has_stopped() -> None:
    before = signal.getsignal(signal.SIGTERM)
    first, second = vespiary.Server(), vespiary.Server()
    first.add(Echo, WS)
    second.add(Echo, WS)
    async with first, second:
        await first.stop()
        assert signal.getsignal(signal.SIGTERM) != before
        os.kill(os.getpid(), signal.SIGTERM)
        await second.wait_stopped()
        assert signal.getsignal(signal.SIGTERM) == before


CHAINS = """
import os, signal
del Echo.on_stop
def chain():
    before, calls = signal.getsignal({number}), []
    def call(number, frame):
        calls.append(number)
        if len(calls) > 20:
            os._exit(3)
        if callable(before):
            before(number, frame)
    signal.signal({number}, call)

async def main():
    async with make() as server:
        chain()
        if {is_early}:
            await server.stop()
        await forever(server)
"""


@pytest.mark.parametrize("is_early", [False, True])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("runner", RUNNERS)
def test_a_handler_of_the_program_may_call_the_one_that_it_replaced(
    number: signal.Signals, is_early: bool, runner: str
) -> None:
    code = CHAINS.format(number=int(number), is_early=is_early)
    with Program(code, runner) as program:
        program.process.send_signal(number)
        _, log = program.process.communicate(timeout=60)
    assert program.process.returncode == -number, log


IGNORED = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + IN_BLOCK


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_signal_that_is_ignored_stays_ignored(runner: str) -> None:
    with Program(IGNORED, runner) as program:
        program.process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            program.process.wait(0.2)
        program.process.send_signal(signal.SIGTERM)
        output, log = program.process.communicate(timeout=60)
    assert output == "stopped\n"
    assert "SIGINT" not in log
    assert program.process.returncode == -signal.SIGTERM
