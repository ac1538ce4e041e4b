"""Runs cases of the suite against our server or our client, several at once, and shows how far.

One list of cases serves all the suite's processes: anyone who is free takes the next one. So they
end together, however unequal the cases are, and the longest stand first in the list. Against our
server the processes are clients, and the list is a pipe; against our client they are servers, each
of which has every case, and our client holds the list.
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.addresses import free_port
from tests.conformance.suite import (
    AGENT,
    HERE,
    Suite,
    left_in,
    log_end,
    queue_of,
    stopping,
)
from tests.conformance.verdicts import Verdict, read_verdicts

CHECKOUT = HERE.parents[1]
PROCESSES = 2
PROGRESS_SECONDS = 10.0

Tell = Callable[[str], None]
"""Shows a line to anyone who waits."""


@dataclass(frozen=True)
class Run:
    """What is to be run, and how.

    Attributes:
        suite: The installed suite.
        driver: Ours: `uring` or `epoll`.
        cases: Their numbers, those that take long first.
        messages: How many a compression case sends.
        seconds: How long all of them may take.
        environment: For our own processes.
        folder: Where the suite writes its reports.
        tell: Shows the progress.
        draft: The suite's number for what it speaks as a client: 18 is RFC 6455, 10 a draft of
            version 8.
    """

    suite: Suite
    driver: str
    cases: Sequence[str]
    messages: int
    seconds: float
    environment: Mapping[str, str]
    folder: Path
    tell: Tell
    draft: int = 18

    @property
    def folders(self) -> list[Path]:
        """One for each of the suite's processes."""
        return [self.folder / f"process{number}" for number in range(PROCESSES)]

    def ours(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a process of ours."""
        return subprocess.Popen(
            [sys.executable, "-m", f"tests.conformance.{module}", self.driver, *arguments],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self.environment,
        )


class _Progress:
    """Tells now and then how many cases are over; ends what takes too long."""

    def __init__(self, run: Run, side: str) -> None:
        self._run = run
        self._side = side
        self._began = self._told = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._tell("ended")

    def look(self, over: int) -> None:
        """So many cases are over, or nearly."""
        now = time.monotonic()
        assert now - self._began < self._run.seconds, f"{over} cases took {self._run.seconds} s"
        if now - self._told >= PROGRESS_SECONDS:
            self._told = now
            self._tell(f"{over} of {len(self._run.cases)} cases")

    def _tell(self, what: str) -> None:
        seconds = time.monotonic() - self._began
        self._run.tell(f"Autobahn, {self._side} on {self._run.driver}: {what}, {seconds:.0f} s")


@contextlib.contextmanager
def _started(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours, with its pipes; the end stops it."""
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdout, contextlib.suppress(BrokenPipeError), process.stdin, stopping(process):
        yield process


def run_server(run: Run) -> dict[str, Verdict]:
    """The verdicts on our server."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(_started(run.ours("echo_server")))
        assert server.stdout is not None
        url = server.stdout.readline().decode().strip()
        assert url.startswith("ws://"), "the server did not start"
        options = {"version": run.draft}
        ours = {"agent": AGENT, "url": url.rstrip("/"), "options": options}
        spec = {"servers": [ours], "cases": ["*"]}
        queue = stack.enter_context(queue_of(run.cases))
        clients = [
            stack.enter_context(
                stopping(run.suite.start("fuzzingclient", folder, spec, run.messages, queue))
            )
            for folder in run.folders
        ]
        progress = stack.enter_context(_Progress(run, "server"))
        while any(client.poll() is None for client in clients):
            progress.look(len(run.cases) - left_in(queue))
            time.sleep(0.1)
        for client, folder in zip(clients, run.folders, strict=True):
            assert client.returncode == 0, log_end(folder)
    return read_verdicts(run.folders)


def run_client(run: Run) -> dict[str, Verdict]:
    """The verdicts on our client."""
    urls = [f"ws://127.0.0.1:{free_port()}" for _ in run.folders]
    with contextlib.ExitStack() as stack:
        for folder, url in zip(run.folders, urls, strict=True):
            spec = {"url": url, "cases": ["*"]}
            suite = run.suite.start("fuzzingserver", folder, spec, run.messages)
            stack.enter_context(stopping(suite))
        client = stack.enter_context(_started(run.ours("echo_client", AGENT, *urls)))
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write("\n".join(run.cases).encode())
        client.stdin.close()
        progress = stack.enter_context(_Progress(run, "client"))
        for over, _ in enumerate(client.stdout):
            progress.look(over)
        assert client.wait(10) == 0, "the client failed; see what it wrote"
    return read_verdicts(run.folders)
