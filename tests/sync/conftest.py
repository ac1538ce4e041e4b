"""What the tests of the synchronous client share: a server on a thread, and each driver."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import vespiary
from vespiary import _background
from vespiary.handler import AsyncHandler
from vespiary.loop import Loop

AnyHandler = vespiary.Handler | type[vespiary.Handler] | AsyncHandler


class Running:
    """A server that runs in a loop on a thread."""

    def __init__(self, handler: AnyHandler, url: str, options: dict[str, Any]) -> None:
        self.url = ""
        self.server = vespiary.Server()
        self.server.add(handler, url, **options)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=lambda: vespiary.run(self._main()))
        self._thread.start()
        assert self._ready.wait(10)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with self.server:
            self.url = self.server.urls[0]
            self._ready.set()
            await self.server.wait_stopped()

    def stop(self) -> None:
        """Stop cleanly."""
        assert self._loop is not None
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self.server.stop_soon)
            self._thread.join(15)
        assert not self._thread.is_alive()


Serving = Callable[..., Running]


@pytest.fixture(params=["uring", "epoll"], autouse=True)
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Each of the kernel's drivers, with a background loop of its own for each test."""
    name: str = request.param
    try:
        Loop(driver=name).close()
    except vespiary.DriverUnavailable as error:
        pytest.skip(str(error))
    monkeypatch.setenv("VESPIARY_DRIVER", name)
    monkeypatch.setattr(_background, "_shared", None)
    yield name
    if _background._shared is not None:
        _background._shared.stop()
        # At an exit, stop waits for a second only.
        _background._shared._thread.join(10)
        assert _background._shared.is_stopped


@pytest.fixture
def serving() -> Iterator[Serving]:
    """Start servers; the test's end stops them."""
    running: list[Running] = []

    def start(handler: AnyHandler, url: str = "ws://127.0.0.1:0", **options: Any) -> Running:
        running.append(Running(handler, url, options))
        return running[-1]

    yield start
    for one in running:
        one.stop()
