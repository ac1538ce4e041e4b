"""Hooks that exit the program: it ends, and nothing else is reported."""

import asyncio
import gc
import os
import subprocess
import sys

import pytest

import vespiary

from .kit import WS, Echo, forever


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    "place", ["on_start", "added", "on_open", "on_message", "timer", "on_stop"]
)
def test_an_exit_of_the_program_leaves_no_message_of_asyncio(
    place: str, is_async: bool, driver: str, whole_log: pytest.LogCaptureFixture
) -> None:
    def exits(*_: object) -> None:
        raise SystemExit(5)

    async def exits_later(*_: object) -> None:
        await asyncio.sleep(0)
        raise SystemExit(5)

    class Sets(Echo):
        def on_open(self, connection: vespiary.Connection) -> None:
            connection.set_timer(0.001, exits)

    def handler(where: str) -> type[Echo]:
        return type("Exits", (Echo,), {where: exits_later if is_async else exits})

    async def main() -> None:
        server = vespiary.Server(signals=False)
        if place == "added":
            server.add(Echo, WS)
        else:
            server.add(Sets if place == "timer" else handler(place), WS)
        async with server:
            if place == "added":
                server.add(handler("on_start"), WS)
            async with vespiary.connect(server.urls[0]) as client:
                client.send("hello")
                if place != "on_stop":
                    await forever()

    with pytest.raises(SystemExit) as raised:
        vespiary.run(main(), driver=driver)
    assert raised.value.code == 5
    gc.collect()
    assert "never retrieved" not in whole_log.text
    assert "failed" not in whole_log.text


AT_EXIT = """
import atexit, threading, vespiary

class Echo(vespiary.Handler):
    def on_message(self, connection, message): connection.send(message)

server = vespiary.Server(signals=False)
server.add(Echo(), "ws://127.0.0.1:0")
serving = threading.Event()
run = lambda: server.run(on_serving=lambda urls: serving.set())
threading.Thread(target=run, daemon=True).start()
serving.wait()
if {is_used}:
    vespiary.sync.connect(server.urls[0]).close()

@atexit.register
def last():
    port = server.urls[0].rpartition(":")[2]
    for host in ("127.0.0.1", "localhost"):
        with vespiary.sync.connect(f"ws://{{host}}:{{port}}") as connection:
            connection.send("the last words")
            print(connection.receive(timeout=20), flush=True)
"""


@pytest.mark.parametrize("is_used", [True, False])
def test_a_blocking_client_connects_in_a_function_of_atexit(driver: str, is_used: bool) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", AT_EXIT.format(is_used=is_used)],
        env={**os.environ, "VESPIARY_DRIVER": driver},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    may_be_refused = not is_used and sys.version_info >= (3, 12)
    if may_be_refused and "at interpreter shutdown" in ended.stderr:
        # CPython 3.12 starts no thread there, and so no loop of the client's.
        return
    assert ended.stdout == "the last words\n" * 2, ended.stderr
    assert ended.returncode == 0
