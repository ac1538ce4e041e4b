"""Fixtures for pytest. Loaded by the entry point `vespiary-testing`; it does nothing by itself.

Every name begins with `vespiary_`, so that none of yours is hidden.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Unpack

import pytest

from vespiary._faults import FaultNames, Faults
from vespiary.handler import AnyHandler
from vespiary.server import Server
from vespiary.server_options import ServerOptions
from vespiary.testing._client import TestClient
from vespiary.testing._server import ServerThread, TestServer, serve, serve_in_thread

__all__ = ["ClientFactory", "ServerFactory", "vespiary_client", "vespiary_server"]


class ServerFactory:
    """Starts servers for one test: what the fixture `vespiary_server` gives."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack

    def __call__(
        self, handler: AnyHandler | Server, url: str = "ws", **options: Unpack[ServerOptions]
    ) -> ServerThread:
        """Start a server in a thread of its own; it stops when the test ends.

        Works in plain tests and in async ones of any plugin and loop. See
        `vespiary.testing.serve_in_thread` for the arguments.
        """
        return self._stack.enter_context(serve_in_thread(handler, url, **options))

    def in_loop(
        self, handler: AnyHandler | Server, url: str = "ws", **options: Unpack[ServerOptions]
    ) -> AbstractAsyncContextManager[TestServer]:
        """Serve in the test's own loop, for an `async with`: see `vespiary.testing.serve`."""
        return serve(handler, url, **options)


class ClientFactory:
    """Makes test clients for one test: what the fixture `vespiary_client` gives."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack

    def __call__(
        self,
        handler: AnyHandler | Server,
        url: str = "ws://127.0.0.1:80",
        *,
        seed: int | None = None,
        faults: Faults | FaultNames | None = None,
        **options: Unpack[ServerOptions],
    ) -> TestClient:
        """A started `vespiary.testing.TestClient`; it stops when the test ends."""
        client = TestClient(handler, url, seed=seed, faults=faults, **options)
        return self._stack.enter_context(client)


@pytest.fixture
def vespiary_server() -> Iterator[ServerFactory]:
    """Starts servers on free addresses; they stop when the test ends."""
    with contextlib.ExitStack() as stack:
        yield ServerFactory(stack)


@pytest.fixture
def vespiary_client() -> Iterator[ClientFactory]:
    """Drives handlers in memory and in virtual time, from plain tests."""
    with contextlib.ExitStack() as stack:
        yield ClientFactory(stack)
