"""What the hostile tests share: servers to attack."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.hostile.server_process import Server
from tests.api.certificates import Certificates

ECHO = {"url": "ws://127.0.0.1:0", "handler": "echo"}
"""An endpoint that is not attacked, for the witness."""

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


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def tls(certificates: Certificates) -> dict[str, Any]:
    """An endpoint that echoes over TLS."""
    files = certificates.make("localhost", "127.0.0.1")
    return {"url": "tls://127.0.0.1:0", "handler": "echo", "tls": [str(file) for file in files]}
