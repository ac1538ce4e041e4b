"""A forked child leaves its parent's engine alone, whatever it does then."""

import os
import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
import asyncio, os, sys, threading
import vespiary

class Forks(vespiary.Handler):
    def on_message(self, connection, message):
        if os.fork() == 0:
            {child}
        connection.send("parent")

    def on_close(self, connection, reason):
        print("closed", reason.code, flush=True)

async def main():
    server = vespiary.Server()
    server.add(Forks, "ws://127.0.0.1:0")
    async with server:
        async with vespiary.connect(server.urls[0]) as client:
            for _ in range(3):
                client.send("x")
                assert await client.receive() == "parent"
                _, status = await asyncio.to_thread(os.wait)
                print("child", os.waitstatus_to_exitcode(status), flush=True)

vespiary.run(main(), driver={driver!r})
print("parent ends", flush=True)
"""

TASKS = """
import asyncio, os, sys
import vespiary

async def fork():
    if os.fork() == 0:
        sys.exit(7)
    _, status = await asyncio.to_thread(os.wait)
    print("child", os.waitstatus_to_exitcode(status), flush=True)

async def handler(connection):
    async for message in connection:
        await asyncio.sleep(0)
        if message == "fork":
            await fork()
        connection.send("parent")
    print("closed", connection.close_reason.code, flush=True)

async def main():
    server = vespiary.Server()
    server.add(handler, "ws://127.0.0.1:0")
    async with server, vespiary.connect(server.urls[0]) as client:
        async with vespiary.connect(server.urls[0]) as waiting:
            for connection in (waiting, client):
                for message in ("first", "fork"):
                    connection.send(message)
                    assert await connection.receive() == "parent"

with asyncio.Runner(loop_factory={factory}) as runner:
    runner.run(main())
print("parent ends", flush=True)
"""

CHILDREN = {
    "sys.exit": ("sys.exit(7)", 7),
    "os._exit": ("os._exit(7)", 7),
    "raises": ("raise ValueError('in the child')", 1),
    "returns": ("return", 1),
    "sends and exits": (
        "\n            try: connection.send('child')"
        "\n            except RuntimeError: sys.exit(7)"
        "\n            sys.exit(1)",
        7,
    ),
    "closes and exits": ("connection.close(); connection.abort(); sys.exit(7)", 7),
    "a thread of the child": (
        "\n            thread = threading.Thread(target=sys.exit); thread.start(); thread.join()"
        "\n            sys.exit(7)",
        7,
    ),
    "a loop of the child's own": (
        "\n            asyncio._set_running_loop(None)"
        "\n            vespiary.run(asyncio.sleep(0.01)); sys.exit(7)",
        7,
    ),
}


def lines_of(program: str, **settings: str) -> list[str]:
    """Run a program to its end; what it has printed."""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


@pytest.mark.parametrize("child", CHILDREN)
def test_the_parents_connections_survive_a_child_that(child: str, driver: str) -> None:
    code, status = CHILDREN[child]
    program = textwrap.dedent(PROGRAM).format(child=code, driver=driver)
    assert lines_of(program) == [f"child {status}"] * 3 + ["closed 1000", "parent ends"]


# From CPython 3.14 on no task ends in a child: the loop is not the running one there any more, and
# SystemExit is replaced by a RuntimeError about that, on every loop.
if sys.version_info < (3, 14):

    @pytest.mark.parametrize("factory", ["vespiary.loop.new_event_loop", "uvloop.new_event_loop"])
    def test_a_child_that_exits_in_a_task_ends_with_its_status(factory: str, driver: str) -> None:
        # Not in asyncio's own loop: a child that closes that takes its parent's wake-ups.
        program = f"import {factory.partition('.')[0]}\n" + TASKS.format(factory=factory)
        lines = lines_of(program, VESPIARY_DRIVER=driver)
        assert lines == ["child 7"] * 2 + ["closed 1000"] * 2 + ["parent ends"]
