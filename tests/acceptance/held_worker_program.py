"""A server with workers whose first one is held up, in its start or in its stop.

    held_worker_program.py URL COUNT [NAME=VALUE]...

The names are those of `vespiary.Workers`. The folder FOLDER says what holds the first worker up: a
FIFO `start` or `stop` blocks its loop in `on_start` or `on_stop` until somebody writes there; a
file of that name has the hook await forever. A file `interrupted` has SIGTERM interrupt the
writing of a log line.
"""

import asyncio
import logging
import os
import signal
import sys
from ast import literal_eval
from collections.abc import Awaitable
from pathlib import Path

import vespiary

FOLDER = Path(os.environ["FOLDER"])
DEADLINES = vespiary.Deadlines(drain_seconds=0.25)


def say(line: str) -> None:
    """Write a line with one system call: other processes write to the same pipe."""
    os.write(1, f"{line}\n".encode())


class Held(vespiary.Handler):
    def on_start(self, server: vespiary.Server) -> Awaitable[None] | None:
        self.server = server
        say(f"started {server.worker} {os.getpid()}")
        return self.hold("start")

    def on_stop(self, server: vespiary.Server) -> Awaitable[None] | None:
        say(f"stopped {server.worker} {os.getpid()}")
        return self.hold("stop")

    def hold(self, stage: str) -> Awaitable[None] | None:
        file = FOLDER / stage
        if self.server.worker != 1 or not file.exists():
            return None
        if file.is_fifo():
            file.read_bytes()
            return None
        return forever()

    def on_message(self, connection: vespiary.Connection, message: str | bytes) -> None:
        if message == "stop with a drain of 5 s":
            self.server.call_soon_threadsafe(self.begin_stop)
        connection.send(f"{self.server.worker} {os.getpid()}")

    def begin_stop(self) -> None:
        self.stopping = asyncio.get_running_loop().create_task(self.server.stop(5.0))


class Interrupted(logging.Handler):
    """The writing of "Serving ..." is interrupted by SIGTERM, and refuses a second line within."""

    is_writing = False

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if self.is_writing:
            raise RuntimeError(f"a line within another one: {line}")
        self.is_writing = True
        if line.startswith("Serving"):
            signal.raise_signal(signal.SIGTERM)
        self.is_writing = False
        say(f"logged {line}")


async def forever() -> None:
    await asyncio.Event().wait()


if __name__ == "__main__":
    _, url, count, *settings = sys.argv
    options = {
        name: literal_eval(value) for name, _, value in (one.partition("=") for one in settings)
    }
    if (FOLDER / "interrupted").exists():
        logger = logging.getLogger("vespiary")
        logger.addHandler(Interrupted())
        logger.setLevel(logging.INFO)
    server = vespiary.Server()
    server.add(Held(), url, deadlines=DEADLINES)
    server.run(
        workers=vespiary.Workers(int(count), **options),
        on_serving=lambda urls: say(f"on_serving {urls}"),
    )
    say("returned")
