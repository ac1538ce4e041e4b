"""The garbage collector runs finalizers in the middle of calls, and these use connections too."""

import subprocess
import sys

RECEIVES = """
import asyncio, gc, sys, vespiary

done = asyncio.Event()

class Receives:
    def __init__(self, connection):
        self.connection, self.circle = connection, self

    def __del__(self):
        try:
            next(self.connection.receive().__await__())
        except BaseException as error:
            print(type(error).__name__, flush=True)

async def handler(connection):
    received = connection.receive().__await__()
    gc.collect()
    gc.disable()
    Receives(connection)
    gc.set_threshold(1)
    gc.enable()
    try:
        next(received)
        next(connection.receive().__await__())
    except vespiary.VespiaryError as error:
        print(type(error).__name__, flush=True)
    gc.disable()
    print("lives", flush=True)
    done.set()

async def main(driver):
    server = vespiary.Server(signals=False)
    server.add(handler, "ws://127.0.0.1:0")
    async with server, vespiary.connect(server.urls[0]):
        await done.wait()

vespiary.run(main(sys.argv[1]), driver=sys.argv[1])
"""


def test_a_finalizer_that_receives_while_a_coroutine_does_ends_nothing(driver: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RECEIVES, driver],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "lives" in done.stdout
    assert "Panic" not in done.stdout + done.stderr
    assert "panicked" not in done.stderr
