"""How tests wait: for conditions and for turns of a loop, never for a fixed time.

What needs a clock uses the simulation's (`vespiary.testing`, `virtual_time` of `tests/api/kit.py`).
"""

import asyncio
import contextlib
import gc
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

SECONDS_MAX = 60.0
PAUSE_SECONDS = 0.002
WAITING_CALLS = ("232", "281", "426", "441")
"""epoll_wait, epoll_pwait, io_uring_enter and epoll_pwait2 on x86-64."""


def open_descriptors() -> list[str]:
    """What this process has open, by kind, once what awaits the collector is collected."""
    for _ in range(2):
        gc.collect()
    links = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(str(descriptor.readlink()).partition(":[")[0])
    return sorted(links)


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so; the test's own timeout bounds it."""
    while not condition():  # noqa: ASYNC110 - There are many things to wait for.
        await asyncio.sleep(PAUSE_SECONDS)


def wait_until(condition: Callable[[], T | None], explain: Callable[[], str] | None = None) -> T:
    """Wait in this thread until something is so, and return it; a loop in it is blocked meanwhile.

    Raises:
        AssertionError: it was not so within a minute.
    """
    end = time.monotonic() + SECONDS_MAX
    while not (result := condition()):
        assert time.monotonic() < end, explain() if explain else "it did not happen"
        time.sleep(PAUSE_SECONDS)
    assert result is not None
    return result


def signal_when_asleep(number: int) -> threading.Thread:
    """Send a signal to this process as soon as its main thread waits for the kernel's events."""
    state = Path(f"/proc/self/task/{threading.main_thread().native_id}/syscall")

    def is_asleep() -> bool:
        return state.read_text().split()[0] in WAITING_CALLS

    def send() -> None:
        wait_until(is_asleep)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


async def forever() -> None:
    """Wait for longer than any test may take."""
    await asyncio.sleep(3600)


async def turns(count: int = 10) -> None:
    """Let the loop ask the kernel this often what has happened, and handle it.

    What has been sent over loopback before is received then: so this shows that something does not
    happen, in no time.
    """
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        for _ in range(count):
            received = asyncio.ensure_future(loop.sock_recv(theirs, 1))
            await asyncio.sleep(0)
            ours.send(b"x")
            await received


async def still_waits(future: asyncio.Future[Any]) -> bool:
    """Whether something is not done after many turns of the loop."""
    for _ in range(20):
        await turns()
        if future.done():
            return False
    return True


def are_gone(references: Iterable["weakref.ref[Any]"]) -> bool:
    """Whether nothing is left of these objects after a garbage collection."""
    gc.collect()
    return all(reference() is None for reference in references)
