"""What the browser tests share: one browser for all of them, a server, and its page."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from tests.browser.chromium import Chromium, Page, find_chromium

CHECKOUT = Path(__file__).resolve().parents[2]
SECONDS = 50.0


class Server:
    """The server of the scenarios, as a process."""

    def __init__(self) -> None:
        environment = {
            name: value for name, value in os.environ.items() if name != "VESPIARY_DRIVER"
        }
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.browser.server"],
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            env=environment,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the server did not start"
        self.urls: dict[str, str] = json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def url(self, path: str, endpoint: str = "plain") -> str:
        """The URL of a path."""
        return self.urls[endpoint].rstrip("/") + path

    @property
    def page(self) -> str:
        """The URL of the page."""
        return self.url("/").replace("ws:", "http:", 1)

    def opened(self) -> list[str]:
        """The paths of the WebSockets that have opened, in order."""
        paths: list[str] = self._notes()[0]
        return paths

    def endings(self) -> list[dict[str, Any]]:
        """How WebSockets have ended, in order."""
        endings: list[dict[str, Any]] = self._notes()[1]
        return endings

    def wait_for_ending(self, **wanted: object) -> dict[str, Any]:
        """Wait until the last WebSocket has ended so; None of a field is any value."""
        end = time.monotonic() + SECONDS
        while True:
            last = (self.endings() or [{}])[-1]
            if wanted.items() <= last.items():
                return last
            assert time.monotonic() < end, f"the last ending is {last}"
            time.sleep(0.01)

    def _notes(self) -> Any:
        return httpx.get(self.page + "endings", trust_env=False).json()

    def stop(self) -> None:
        """Ask it to end cleanly, and wait for that."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(SECONDS) == 0

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """The browser, started once."""
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium on this machine: make system-deps installs one")
    with Chromium(program, tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The server of the scenarios."""
    with Server() as started:
        yield started


@pytest.fixture(scope="session")
def page(chromium: Chromium, server: Server) -> Iterator[Page]:
    """The page of the scenarios, served by that server."""
    with chromium.open(server.page) as opened:
        yield opened
