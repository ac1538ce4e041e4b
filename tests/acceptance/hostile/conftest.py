"""What the hostile tests share: the kernel's drivers, and servers to attack."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.hostile.rig import Server

Serve = Callable[..., Server]


@pytest.fixture(scope="session")
def uring_refusal() -> str | None:
    """Why io_uring cannot be had on this machine; None when it can."""
    code = "import vespiary.loop; vespiary.loop.Loop(driver='uring').close()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode and "DriverUnavailable" not in done.stderr:
        raise RuntimeError(done.stderr)
    return done.stderr.splitlines()[-1] if done.returncode else None


@pytest.fixture(params=["uring", "epoll"])
def driver(request: pytest.FixtureRequest, uring_refusal: str | None) -> str:
    """Each of the kernel's drivers."""
    name: str = request.param
    if name == "uring" and uring_refusal:
        pytest.skip(uring_refusal)
    return name


@pytest.fixture
def serve(driver: str, tmp_path: Path) -> Iterator[Serve]:
    """Start a server with endpoints, each told as a dictionary; the test's end kills it."""
    with contextlib.ExitStack() as stack:

        def start(descriptors: int | None = None, **endpoints: dict[str, Any]) -> Server:
            server = Server(tmp_path / "server.log", driver, descriptors, endpoints)
            return stack.enter_context(server)

        yield start
