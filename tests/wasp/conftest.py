"""Servers as processes: started with a configuration, used, sent signals, and stopped."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.addresses import free_port
from tests.waiting import wait_until

SERVING = re.compile(r"Serving (\S+)")

PLUGINS = """\
import os
import msgspec
import vespiary

class Settings(msgspec.Struct, forbid_unknown_fields=True):
    greeting: str = "hello"
    fails: bool = False

class Greeter(vespiary.Handler):
    def __init__(self, config: Settings = Settings()):
        self.config = config
        self.count = 0

    async def on_start(self, server):
        if self.config.fails:
            raise RuntimeError("the database is not there")

    def on_message(self, connection, message):
        self.count += 1
        text = message if isinstance(message, str) else message.decode()
        answer = f"{self.config.greeting} {text} {self.count}"
        connection.send(answer if isinstance(message, str) else answer.encode())

class Page(vespiary.Handler):
    def on_request(self, request):
        return request.respond(200, f"process {os.getpid()}")

class Datagrams(vespiary.Handler):
    def on_datagram(self, datagram):
        datagram.reply(datagram.data)

async def echo(connection, config):
    async for message in connection:
        connection.send(config.get("prefix", "").encode() + message)
"""


ACTIVATION = """\
import fcntl, os, sys
end = sys.argv.index("--")
high = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 50) for number in sys.argv[2:end]]
for target, number in enumerate(high, start=3):
    os.dup2(number, target)
own = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(high)), "LISTEN_FDNAMES": sys.argv[1]}
os.execve(sys.argv[end + 1], sys.argv[end + 1 :], os.environ | own)
"""
"""Passes sockets as a service manager does (sd_listen_fds(3))."""


class Running:
    """A process of `vespiary run`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.append(line.decode(errors="replace").rstrip())

    @property
    def log(self) -> str:
        """What it has logged."""
        return "\n".join(self._lines)

    def wait_for(self, words: str, times: int = 1) -> None:
        """Wait until it has logged something."""
        self.until(lambda: self.log.count(words) >= times)

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition, or the end of the process."""
        is_so = False

        def is_over() -> bool:
            nonlocal is_so
            is_so = bool(condition())
            return is_so or self.process.poll() is not None

        wait_until(is_over, lambda: self.log)
        assert is_so, self.log

    @property
    def urls(self) -> list[str]:
        """The URLs that it has served, the latest last."""
        return SERVING.findall(self.log)

    def serves(self, count: int) -> list[str]:
        """Wait until it has logged so many URLs."""
        self.until(lambda: len(self.urls) >= count)
        return self.urls

    def reload(self, times: int = 1) -> None:
        """Send SIGHUP, and wait until it has had an effect so often since the start."""
        self.process.send_signal(signal.SIGHUP)
        self.until(lambda: self.log.count("Reloaded:") + self.log.count("not reloaded") >= times)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(number)
        return self.end()

    def end_of_process(self) -> int:
        """Wait for the end of the process; another one may still write its log."""
        wait_until(lambda: self.process.poll() is not None, lambda: f"it runs on:\n{self.log}")
        return self.process.wait()

    def end(self) -> int:
        """Wait for the end."""
        code = self.end_of_process()
        self._reader.join()
        return code


Run = Callable[..., Running]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with plug-ins, for a configuration."""
    (tmp_path / "plug.py").write_text(PLUGINS)
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Iterator[Run]:
    """Starts a server with a configuration."""
    started: list[Running] = []

    def start(
        text: str,
        *,
        environment: Mapping[str, str] | None = None,
        passed: Mapping[str, socket.socket] | None = None,
    ) -> Running:
        file = folder / "wasp.toml"
        file.write_text(text)
        words = [sys.executable, "-W", "error", "-m", "vespiary", "run", str(file)]
        if passed is not None:
            numbers = [str(one.fileno()) for one in passed.values()]
            words = [sys.executable, "-c", ACTIVATION, ":".join(passed), *numbers, "--", *words]
        process = subprocess.Popen(
            words,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
            pass_fds=[one.fileno() for one in (passed or {}).values()],
        )
        running = Running(process)
        started.append(running)
        return running

    yield start
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
        running.end()
        assert running.process.stderr is not None
        running.process.stderr.close()


@pytest.fixture
def port() -> int:
    """A port that is free."""
    return free_port()


def address_of(url: str) -> tuple[str, int]:
    """The host and the port of a URL."""
    host, _, port = url.partition("://")[2].partition("/")[0].rpartition(":")
    return host, int(port)


class Lines:
    """A client of a line protocol."""

    def __init__(self, url: str) -> None:
        self.socket = socket.create_connection(address_of(url), timeout=60)
        self._file = self.socket.makefile("rb")

    def ask(self, text: str) -> str:
        """Send a line, and return the answer; empty at the end of the stream."""
        self.socket.sendall(text.encode() + b"\n")
        return self.line()

    def line(self) -> str:
        """The next line that comes; empty at the end of the stream."""
        return self._file.readline().decode().rstrip("\n")

    def end(self) -> bytes:
        """What comes until the end of the stream."""
        return self._file.read()

    def close(self) -> None:
        """Close it."""
        self._file.close()
        self.socket.close()


@pytest.fixture
def lines() -> Iterator[Callable[[str], Lines]]:
    """Connects clients, which are closed at the end."""
    made: list[Lines] = []

    def connect(url: str) -> Lines:
        made.append(Lines(url))
        return made[-1]

    yield connect
    for one in made:
        one.close()
