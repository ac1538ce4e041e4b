"""One conversation with a handler or through a filter, in the simulation."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import logging
import reprlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from vespiary._core import Connection
from vespiary._counted import counted
from vespiary._faults import Faults
from vespiary.client import ClientOptions, connect
from vespiary.errors import ConnectionClosed
from vespiary.server import Server

__all__ = [
    "BYTE_BY_BYTE",
    "Ending",
    "Heard",
    "Log",
    "converse",
    "messages_of",
    "serving",
    "watch_log",
]

QUIET_SECONDS = 1.0
"""A handler that says nothing for this long (virtual time) has answered."""
ENDING_SECONDS = 120.0
"""How long a handler may take to end its connections, before it counts as never."""
ANSWERS_MAX = 10_000
CANCELS_MAX = 20

BYTE_BY_BYTE = Faults(read_bytes_max=1)
# No accept fails: the server would log it, and the log is checked for faults of the handler.
LOSSLESS = dataclasses.replace(Faults.lossless(), failed_accepts=0)
HARSH = dataclasses.replace(Faults.harsh(), failed_accepts=0)

Heard = list[str | bytes]


class Log(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record, with its traceback."""
        self.errors.append(self.format(record))


@contextlib.contextmanager
def watch_log() -> Iterator[Log]:
    """Keep what Vespiary and asyncio log as errors, and do not print it."""
    log = Log()
    loggers = [logging.getLogger("vespiary"), logging.getLogger("asyncio")]
    before = [logger.propagate for logger in loggers]
    for logger in loggers:
        logger.addHandler(log)
        logger.propagate = False
    try:
        yield log
    finally:
        for logger, propagate in zip(loggers, before, strict=True):
            logger.removeHandler(log)
            logger.propagate = propagate


@dataclass
class Ending:
    """The rest of a server's work when it should be over."""

    connections: int = 0
    going_on: list[str] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)

    def faults(self) -> Iterator[str]:
        """What should have ended."""
        after = f"{ENDING_SECONDS:g} virtual seconds after the peers had closed"
        if self.connections:
            yield f"{counted(self.connections, 'connection is', 'connections are')} open {after}"
        if self.going_on:
            yield f"tasks continue {after}: {', '.join(self.going_on)}"
        if self.tasks:
            yield f"tasks are left after the server's stop: {', '.join(self.tasks)}"


@contextlib.asynccontextmanager
async def serving(
    server: Server, ending: Ending, *, until_ended: bool = True
) -> AsyncIterator[str]:
    """Serve; when the block has ended, see what does not end by itself, or by the stop."""
    before = asyncio.all_tasks()
    await server.start()
    try:
        yield server.urls[0]
        if until_ended:
            await _wait_for_end(server, before, ending)
    finally:
        await server.stop(drain_seconds=1.0)
    await asyncio.sleep(0)
    left = asyncio.all_tasks() - before
    ending.tasks = [repr(task) for task in left]
    await _end_all(left)
    # Objects log their mistakes when they are collected, and the check reads the log.
    gc.collect()


async def _wait_for_end(server: Server, before: set[asyncio.Task[Any]], ending: Ending) -> None:
    """Wait until the connections, and the tasks that work for them, have ended by themselves."""
    loop = asyncio.get_running_loop()
    end = loop.time() + ENDING_SECONDS
    while True:
        # The set keeps them from the garbage collector, which would end them silently.
        tasks = asyncio.all_tasks() - before
        ending.connections = server.statistics().total.connections_open
        ending.going_on = [repr(task) for task in tasks]
        if (not tasks and not ending.connections) or loop.time() >= end:
            return
        await asyncio.sleep(0.1)


async def _end_all(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel tasks, even those that ignore it a few times; forget those that always ignore it."""
    for _ in range(CANCELS_MAX):
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0)
    for task in tasks:
        if not task.done():
            # The task suppresses its cancellation, and asyncio.Runner would wait for it forever.
            asyncio.tasks._unregister_task(task)
            setattr(task, "_log_destroy_pending", False)  # noqa: B010 - asyncio's own switch.


async def converse(url: str, messages: Sequence[str | bytes], options: ClientOptions) -> Heard:
    """Send messages, and hear what comes until the handler is silent or closes."""
    connection: Connection[Any] = await connect(url, **options)
    heard: Heard = []
    try:
        for message in messages:
            connection.send(message)
            await connection.drain()
        while len(heard) < ANSWERS_MAX:
            async with asyncio.timeout(QUIET_SECONDS):
                heard.append(await connection.receive())
    except (TimeoutError, ConnectionClosed):
        pass
    connection.close()
    await connection.wait_closed()
    return heard


def messages_of(url: str, heard: Heard, *, has_framing: bool) -> Heard:
    """What was heard, in a form that does not depend on how TCP cut it."""
    if url.startswith("ws:") or has_framing:
        return heard
    return [b"".join(part.encode() if isinstance(part, str) else part for part in heard)]


def shown(heard: Heard | bytes | None) -> str:
    """What was heard, short enough for an error's text."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 120
    short.maxlist = 12
    return short.repr(heard)
