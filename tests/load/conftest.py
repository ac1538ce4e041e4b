"""Servers that echo rightly and wrongly, and the command that must say which."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

Behaviour = Callable[[socket.socket], None]
Serve = Callable[[Behaviour], str]


@dataclass(frozen=True)
class Outcome:
    """What a run of the command left: its status, and what it wrote."""

    status: int
    output: str
    errors: str

    @property
    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.output)
        return report

    @property
    def problem(self) -> dict[str, Any]:
        """The first problem."""
        first: dict[str, Any] = self.report["problems"][0]
        return first


Load = Callable[..., Outcome]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "vespiary", "load", *arguments]


@pytest.fixture
def load() -> Load:
    """Run `vespiary load`, with its report as JSON unless something else is asked for.

    A script given as `before` runs first, in the same process.
    """

    def run(*arguments: object, json: bool = True, before: str = "") -> Outcome:
        texts = [str(argument) for argument in arguments] + (["--json", "-"] if json else [])
        whole = command(*texts)
        if before:
            whole = [sys.executable, "-c", f"{before}\nimport os\nos.execv({whole[0]!r}, {whole})"]
        done = subprocess.run(whole, capture_output=True, text=True, timeout=100)
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def io_uring_refusal() -> str | None:
    """Why io_uring is not available on this machine; None when it can."""
    options = ["tcp://127.0.0.1:1", "--messages", "0", "--driver", "uring", "--json", "-"]
    done = subprocess.run(command(*options), capture_output=True, text=True, timeout=100)
    return done.stderr if done.returncode == 2 else None


@pytest.fixture(params=["uring", "epoll"])
def driver(request: pytest.FixtureRequest, io_uring_refusal: str | None) -> str:
    """Each of the kernel's drivers."""
    name: str = request.param
    if name == "uring" and io_uring_refusal:
        pytest.skip(io_uring_refusal)
    return name


@pytest.fixture
def interrupted_load() -> Load:
    """Run `vespiary load`, and send it a signal as soon as it says that it is sending."""

    def run(*arguments: object, json: bool = True, number: int = signal.SIGINT) -> Outcome:
        texts = [str(argument) for argument in arguments] + (["--json", "-"] if json else [])
        with subprocess.Popen(
            command(*texts), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            told = ""
            for line in process.stderr:
                told += line
                if "sending" in line:
                    break
            os.kill(process.pid, number)
            output, errors = process.communicate(timeout=60)
        return Outcome(process.returncode, output, told + errors)

    return run


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server that treats each connection, in a thread of its own, as `behaviour` does."""
    with contextlib.ExitStack() as stack:

        def start(behaviour: Behaviour) -> str:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1000))
            open_sockets: list[socket.socket] = []
            stack.callback(_stop, listener, open_sockets)
            threading.Thread(
                target=_accept, args=(listener, behaviour, open_sockets), daemon=True
            ).start()
            return f"tcp://127.0.0.1:{listener.getsockname()[1]}"

        yield start


def _accept(listener: socket.socket, behaviour: Behaviour, kept: list[socket.socket]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        kept.append(connection)
        threading.Thread(target=_treat, args=(connection, behaviour), daemon=True).start()


def _treat(connection: socket.socket, behaviour: Behaviour) -> None:
    # The client may go away at any time, and the end of a test closes what is still open.
    with contextlib.suppress(OSError), connection:
        behaviour(connection)


def _stop(listener: socket.socket, kept: list[socket.socket]) -> None:
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    for connection in kept:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def refusing_url() -> Iterator[str]:
    """The address of nobody: a port that is taken and does not listen."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"tcp://127.0.0.1:{taken.getsockname()[1]}"
