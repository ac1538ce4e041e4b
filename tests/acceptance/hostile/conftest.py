"""What the hostile tests share: servers to attack."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.hostile.server_process import Server

Serve = Callable[..., Server]


@pytest.fixture
def serve(driver: str, tmp_path: Path) -> Iterator[Serve]:
    """Start a server with endpoints, each described by a dictionary; the test's end kills it."""
    with contextlib.ExitStack() as stack:

        def start(
            descriptors: int | None = None,
            headroom: int | None = None,
            **endpoints: dict[str, Any],
        ) -> Server:
            log = tmp_path / "server.log"
            server = Server(log, driver, descriptors, endpoints, headroom)
            return stack.enter_context(server)

        yield start
