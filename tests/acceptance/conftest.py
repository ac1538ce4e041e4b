"""Examples as processes of their own: started, watched, and stopped as an operator would.

Each runs under the lock detector, and has taken its locks in orders that cannot deadlock when it
ends well. With VESPIARY_TEST_LOOP=asyncio or =uvloop each runs in that loop, of which Vespiary is a
guest.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from vespiary import DriverUnavailable
from vespiary.loop import Loop
from vespiary.prove.locks.analysis import analyse
from vespiary.prove.locks.preload import environment as locks_environment
from vespiary.prove.locks.preload import room
from vespiary.prove.locks.record import records
from vespiary.prove.locks.rendering import finding_text
from vespiary.prove.locks.together import Together

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SECONDS = 60.0
SERVING = re.compile(r"Serving (\S+)$", re.M)


def loop_runner() -> list[str]:
    """What stands before a program to run it in the loop that was asked for."""
    kind = os.environ.get("VESPIARY_TEST_LOOP", "vespiary")
    runner = Path(__file__).with_name("in_another_loop.py")
    return [] if kind == "vespiary" else [str(runner), kind]


class Example:
    """An example that runs; `urls` are its addresses, in the order in which it was given them."""

    def __init__(
        self, name: str, urls: list[str], driver: str, settings: dict[str, str], serving: int
    ) -> None:
        self._records = Path(tempfile.mkdtemp(prefix="vespiary-example-", dir=room()))
        watched = locks_environment(self._records, None)
        environment = {**watched, **settings, "VESPIARY_DRIVER": driver, "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-W", "error", *loop_runner(), str(EXAMPLES / name), *urls]
        self._process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self._driver = driver
        self.urls = self._addresses(serving)

    @property
    def url(self) -> str:
        """The address, where there is one."""
        (url,) = self.urls
        return url

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the first address."""
        parts = urlsplit(self.urls[0])
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def output(self) -> str:
        """Everything it has written so far."""
        with self._news:
            return "".join(self._lines)

    def wait_for(self, text: str) -> None:
        """Wait until it has written a text."""
        with self._news:
            assert self._news.wait_for(lambda: text in "".join(self._lines), SECONDS), self._lines

    def wait_for_lines(self, count: int) -> None:
        """Wait until it has written so many lines."""
        with self._news:
            assert self._news.wait_for(lambda: len(self._lines) >= count, SECONDS), self._lines

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def resident_bytes(self) -> int:
        """Its resident memory (proc(5))."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def stop(self, signal_number: int = signal.SIGTERM) -> float:
        """Ask it to end, as service managers do; how long that took, in seconds."""
        self.send_signal(signal_number)
        return self.wait_stopped()

    def wait_stopped(self) -> float:
        """Wait until it has ended well; how long that took, in seconds."""
        began = time.monotonic()
        try:
            status = self._process.wait(SECONDS)
            seconds = time.monotonic() - began
            self._check_locks()
        finally:
            self.kill()
        assert status == 0, self.output
        assert "Traceback" not in self.output, self.output
        return seconds

    def _check_locks(self) -> None:
        """Its locks were seen, and taken in orders that cannot deadlock."""
        operations = 0
        for record in records(self._records):
            operations += record.operations
            told = [finding for finding in analyse(Together([record])) if finding.is_told]
            assert not told, "\n".join(finding_text(finding) for finding in told)
        assert operations > 0, "no lock operation was seen"

    def kill(self) -> None:
        """End it, whatever its state."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        shutil.rmtree(self._records, ignore_errors=True)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                self._lines.append(line.decode())
                self._news.notify_all()
        with self._news:
            self._lines.append("\n")
            self._news.notify_all()

    def _addresses(self, count: int) -> list[str]:
        def found() -> bool:
            ended = self._lines[-1:] == ["\n"]
            return ended or len(SERVING.findall("".join(self._lines))) >= count

        with self._news:
            self._news.wait_for(found, SECONDS)
            written = "".join(self._lines)
        urls = SERVING.findall(written)
        if len(urls) < count:
            self.kill()
            pytest.fail(f"the example does not serve; it wrote:\n{written}")
        name = {"uring": "io_uring", "epoll": "epoll"}[self._driver]
        assert name in written or "Using " not in written, written
        return urls


class Start:
    """Starts examples, and ends what a failed test has left."""

    def __init__(self, driver: str) -> None:
        self.driver = driver
        self._started: list[Example] = []

    def __call__(
        self, name: str, *urls: str, serving: int | None = None, **settings: str
    ) -> Example:
        """Start `examples/NAME` with URLs and settings of its environment.

        Waits until it serves at as many addresses as `serving` says; default: those of the URLs
        with port 0, since others are addresses that it talks to.
        """
        if serving is None:
            serving = sum(url.rstrip("/").endswith(":0") for url in urls)
        example = Example(name, list(urls), self.driver, settings, serving)
        self._started.append(example)
        return example

    def end_all(self) -> None:
        """End what still runs."""
        for example in self._started:
            example.kill()


@pytest.fixture(params=["uring", "epoll"])
def driver(request: pytest.FixtureRequest) -> str:
    """Each of the kernel's drivers."""
    name: str = request.param
    try:
        Loop(driver=name).close()
    except DriverUnavailable as error:
        pytest.skip(str(error))
    return name


@pytest.fixture
def start(driver: str) -> Iterator[Start]:
    """Starts examples on a driver."""
    starter = Start(driver)
    yield starter
    starter.end_all()
