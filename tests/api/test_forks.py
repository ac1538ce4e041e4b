"""A forked child leaves its parent's engine alone, in everything that it does."""

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
    server.add(Forks, "ws://127.0.0.1:0", executor={executor!r})
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

PLACES = ("on_request", "body", "timer", "application", "pieces of an application")
ON_THREADS = """
import asyncio, os, sys
import vespiary

children = []

def fork(place):
    if place == {place!r}:
        child = os.fork()
        if child == 0:
            {ends}
        else:
            children.append(child)

def body():
    fork("body")
    yield b"parent"

class Forks(vespiary.Handler):
    def on_open(self, connection):
        connection.set_timer(0, lambda _: fork("timer"))

    def on_request(self, request):
        if {place!r} == "timer":
            return None
        fork("on_request")
        return vespiary.Response(200, (), body())

def pieces():
    fork("pieces of an application")
    yield b"parent"

def application(environ, start_response):
    fork("application")
    start_response("200 OK", [])
    return pieces()

async def main():
    server = vespiary.Server()
    if "application" in {place!r}:
        server.add(vespiary.WSGI(application), "http://127.0.0.1:0")
    else:
        server.add(Forks, "ws://127.0.0.1:0", executor="threads")
    async with server:
        port = server.urls[0].rstrip("/").rpartition(":")[2]
        if {place!r} == "timer":
            async with vespiary.connect(server.urls[0]):
                while not children:
                    await asyncio.sleep(0)
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n")
            assert b"parent" in await reader.read()
            writer.close()
        _, status = await asyncio.to_thread(os.waitpid, children[0], 0)
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

EVERYTHING = """
import asyncio, os, sys
import vespiary
from vespiary import sync

ARGUMENTS = {{
    "send": ("x",), "send_part": ("x",), "subscribe": ("topic",), "unsubscribe": ("topic",),
    "subscribe_pattern": ("topic/#",), "unsubscribe_pattern": ("topic/#",),
    "discard_retained": ("topic",), "retained": ("topic",), "subscribed_connections": ("topic",),
    "set_timer": (0, print), "call_soon_threadsafe": (print, "called"), "receive": (60,),
    "publish": ("topic", "from the child"), "subscribers": ("topic",), "update": (60,),
    "presence": ("topic",), "enter": (None, "topic"), "leave": (None, "topic"),
    "connection_id": (None,), "send_to": ("0.a.1", "from the child"),
    "add": (vespiary.Handler(), "tcp://127.0.0.1:0"),
}}
opened = []

class Echo(vespiary.Handler):
    def on_open(self, connection):
        opened.append(connection)
        connection.subscribe("topic")

    def on_message(self, connection, message):
        connection.send(message)

def first_step(awaitable):
    try:
        awaitable.__await__().send(None)
    except StopIteration:
        return "returns at once"
    return "waits"

def use(owner, name, *arguments):
    try:
        value = getattr(owner, name)
        if callable(value):
            value = value(*arguments or ARGUMENTS.get(name, ()))
        return first_step(value) if hasattr(value, "__await__") else "returns at once"
    except Exception as error:
        return f"{{type(error).__name__}}: {{error}}"

async def use_everything(**owners):
    for kind, owner in owners.items():
        for name in sorted(dir(owner), key=lambda name: (name in ("abort", "close"), name)):
            if not name.startswith("_") and (kind, name) != ("server", "run"):
                print(kind, name, use(owner, name), flush=True)
    print("server __aenter__", use(owners["server"], "__aenter__"), flush=True)
    print("server __aexit__", use(owners["server"], "__aexit__", None, None, None), flush=True)
    print("blocking __exit__", use(owners["blocking"], "__exit__", None, None, None), flush=True)

async def main():
    server = vespiary.Server(signals=False)
    server.add(Echo, "ws://127.0.0.1:0")
    async with server, vespiary.connect(server.urls[0]) as client:
        blocking = await asyncio.to_thread(sync.connect, server.urls[0])
        timer = server.set_timer(3600, print)
        child = os.fork()
        if child == 0:
            asyncio._set_running_loop(None)
            using = use_everything(
                connection=opened[0], client=client, blocking=blocking, timer=timer, server=server
            )
            vespiary.run(using)
            os._exit(0)
        await asyncio.to_thread(os.waitpid, child, 0)
        client.send("parent")
        assert await client.receive() == "parent"
        await asyncio.to_thread(blocking.send, "parent")
        assert await asyncio.to_thread(blocking.receive, 60) == "parent"
        assert server.subscribers("topic") == len(opened) == 2
        await asyncio.to_thread(blocking.close)
    print("parent ends", flush=True)

vespiary.run(main(), driver={driver!r})
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


LOOP = """
import asyncio, os, warnings
import vespiary

class Echo(vespiary.Handler):
    def on_message(self, connection, message):
        connection.send(message)

async def talk():
    await asyncio.to_thread(print, end="")
    async with vespiary.connect(server.urls[0]) as client:
        client.send("hello")
        return await client.receive()

async def run_on():
    # A child's first turns must not take what the kernel has for its parent.
    os.write(writing, b"x")
    await asyncio.sleep(0.5)

loop = vespiary.loop.Loop(driver={driver!r})
server = vespiary.Server(signals=False)
server.add(Echo, "ws://127.0.0.1:0")
loop.run_until_complete(server.start())
reading, writing = os.pipe()
watched, other_end = os.pipe()
loop.add_reader(watched, lambda: print("watched", os.read(watched, 1), flush=True))
child = os.fork()
if child == 0:
    warnings.simplefilter("ignore")
    loop.run_until_complete(run_on())
    loop.remove_reader(watched)
    loop.call_soon_threadsafe(print, "called")
    server.stop_soon()
    loop.close()
    os._exit(7)
os.read(reading, 1)
while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
    assert loop.run_until_complete(asyncio.wait_for(talk(), 30)) == "hello"
os.write(other_end, b"x")
assert loop.run_until_complete(asyncio.wait_for(talk(), 30)) == "hello"
loop.run_until_complete(server.stop())
loop.close()
print("child", os.waitstatus_to_exitcode(ended[1]), flush=True)
"""

ATTRIBUTES = ("peer", "local_address", "subprotocol", "response_headers", "tls")
"""What a blocking connection keeps from its handshake."""


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


@pytest.mark.parametrize("executor", [None, "threads"])
@pytest.mark.parametrize("child", CHILDREN)
def test_the_parents_connections_survive_a_child_that(
    child: str, executor: str | None, driver: str
) -> None:
    code, status = CHILDREN[child]
    program = textwrap.dedent(PROGRAM).format(child=code, executor=executor, driver=driver)
    assert lines_of(program) == [f"child {status}"] * 3 + ["closed 1000", "parent ends"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("ends", "status"), [("sys.exit(7)", 7), ("returns = True", 1)])
def test_a_child_of_a_thread_ends_when_the_call_ends_in(
    place: str, ends: str, status: int, driver: str
) -> None:
    program = ON_THREADS.format(ends=ends, driver=driver, place=place)
    assert lines_of(program) == [f"child {status}", "parent ends"]


QUIET = {
    "connection": {"abort", "close", "data", "is_open"},
    "client": {"abort", "close", "data", "is_open"},
    "blocking": {"is_open", "close_reason", "__exit__", *ATTRIBUTES},
    "server": {"stop", "stop_soon", "urls", "datagram_sockets", "worker", "__aexit__"},
    "timer": set(),
}
"""What does nothing in a child, or what it says is known there; everything else is an error."""


def test_whatever_a_child_does_with_what_it_inherits_the_parent_does_not_notice(
    driver: str,
) -> None:
    *lines, last = lines_of(EVERYTHING.format(driver=driver))
    assert last == "parent ends"
    assert len(lines) > 60
    for line in lines:
        kind, name, outcome = line.split(" ", 2)
        if name in QUIET[kind]:
            assert outcome == "returns at once" or "process" in outcome, line
        else:
            assert outcome.startswith("RuntimeError: "), line
            assert "parent" in outcome or "forked child" in outcome, line


def test_a_child_that_runs_and_closes_the_loop_takes_nothing_from_its_parent(driver: str) -> None:
    assert lines_of(LOOP.format(driver=driver)) == ["watched b'x'", "child 7"]


# From CPython 3.14 on no task ends in a child: the loop is not the running one there any more, and
# SystemExit is replaced by a RuntimeError about that, on every loop.
if sys.version_info < (3, 14):

    def test_a_child_that_exits_in_a_task_ends_with_its_status(driver: str) -> None:
        # Not in other loops: a child that closes asyncio's takes its parent's wake-ups, and with
        # uvloop's one of the two is aborted now and then.
        factory = "vespiary.loop.new_event_loop"
        program = f"import {factory.partition('.')[0]}\n" + TASKS.format(factory=factory)
        lines = lines_of(program, VESPIARY_DRIVER=driver)
        assert lines == ["child 7"] * 2 + ["closed 1000"] * 2 + ["parent ends"]
