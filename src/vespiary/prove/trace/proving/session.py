"""A pytest process that runs the tests it is asked for, as often as it is asked.

Collecting takes seconds, a test milliseconds; so one process runs many tests (`plugin.py` is its
other end). A test that hangs without a mark takes the process with it, and the next one is asked
of a new process.
"""

import contextlib
import difflib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vespiary.errors import ConfigurationError
from vespiary.prove.trace.proving.record import CRASH, TIMEOUT, last_lines
from vespiary.trace import VARIABLE

__all__ = ["NotCollected", "Session", "did_not_end", "end"]

_COLLECT_SECONDS = 120.0
_OPTIONS = ("-p", "vespiary.prove.trace.plugin", "-p", "no:randomly")


def end(process: "subprocess.Popen[Any]") -> None:
    """Kill a process that leads a group of its own, with all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def did_not_end(seconds: float) -> str:
    """What is said of a test that took longer than its limit."""
    return f"it did not end within {seconds:g} s"


def _missing(root: Path, arguments: Iterable[str]) -> Iterator[str]:
    """A line on each file that is named and does not exist, with the file that may be meant."""
    for argument in arguments:
        name = argument.partition("::")[0]
        if not name.endswith(".py") or name.startswith("-") or (root / name).exists():
            continue
        folder = (root / name).parent
        names = [path.relative_to(root).as_posix() for path in folder.glob("*.py")]
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
        meant = f": did you mean {near[0]}?" if near else ""
        yield f"\nrun.pytest in trace.toml has {name}, which does not exist{meant}"


class NotCollected(ConfigurationError):
    """pytest cannot collect the tests."""


class Session:
    """One pytest process.

    Attributes:
        claims: The tests that claim something, and what.
        places: The file and the line of the function of each test.

    Raises:
        NotCollected: pytest cannot collect the tests; the text has its last words.
    """

    def __init__(
        self,
        root: Path,
        arguments: tuple[str, ...],
        environment: Mapping[str, str],
        only: tuple[str, ...] = (),
    ) -> None:
        """Start it, and collect.

        Args:
            root: Where pytest runs.
            arguments: Its arguments.
            environment: Its environment. pytest keeps its cache next to the shared file.
            only: The files to collect, of those that the arguments name; all if empty.
        """
        ours, theirs = socket.socketpair()
        self._connection = ours
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        folder = Path(environment[VARIABLE]).parent
        self._cache = tempfile.mkdtemp(prefix="cache-", dir=folder)
        options = [*_OPTIONS, "-o", f"cache_dir={self._cache}"]
        command = [sys.executable, "-m", "pytest", *options, "-q"]
        scope = [f"--trace-only={file}" for file in only]
        with theirs:
            self._process = subprocess.Popen(
                [*command, f"--trace-serve={theirs.fileno()}", *scope, *arguments],
                cwd=root,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._buffer = b""
        self._from = 0
        listed = self._answer(_COLLECT_SECONDS)
        if listed is None:
            words, status = self._last_words(), self._process.poll()
            self.close()
            how = f"in {_COLLECT_SECONDS:g} s" if status is None else f"and ended with {status}"
            raise NotCollected(
                f"pytest does not collect {' '.join(arguments)} {how}:\n{words}"
                + "".join(_missing(root, arguments))
            )
        self.claims: dict[str, tuple[str, ...]] = {
            item["id"]: tuple(item["claims"]) for item in listed
        }
        self.places: dict[str, tuple[str, int]] = {
            item["id"]: (item["file"], item["line"]) for item in listed
        }

    def run(self, test: str, seconds: float) -> tuple[str, str, str]:
        """Run a test; its outcome, and if it failed, how, and the last lines of its error.

        The outcome is a timeout after that many seconds, and a crash if the process has ended.
        Afterwards the session cannot be used again.
        """
        self._from = os.fstat(self._output.fileno()).st_size
        try:
            self._connection.sendall(json.dumps(test).encode() + b"\n")
        except OSError:
            return "failed", CRASH, self._words_of_the_end()
        answer = self._answer(seconds)
        if answer is None:
            alive = self._process.poll() is None
            words = f"{self._last_words()}\n{did_not_end(seconds)}"
            if not alive:
                words = self._words_of_the_end()
            self.close()
            return ("timeout", TIMEOUT, last_lines(words)) if alive else ("failed", CRASH, words)
        return str(answer["outcome"]), str(answer["how"]), str(answer["words"])

    def files(self, names: list[str]) -> dict[str, str]:
        """The real paths from which modules have been imported there; only of those that are."""
        try:
            self._connection.sendall(json.dumps({"modules": names}).encode() + b"\n")
        except OSError:
            return {}
        return self._answer(_COLLECT_SECONDS) or {}

    @property
    def alive(self) -> bool:
        """Whether it can run another test."""
        return self._connection.fileno() >= 0 and self._process.poll() is None

    def kill(self) -> None:
        """End the process, and all that its tests have started."""
        end(self._process)

    def close(self) -> None:
        """The same, and release what belongs to it."""
        self._connection.close()
        self.kill()
        self._output.close()
        shutil.rmtree(self._cache, ignore_errors=True)

    def _answer(self, seconds: float) -> Any:
        """The next line that the process writes; none if there is none in time."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._connection], [], [], left)[0]:
                return None
            received = self._connection.recv(1 << 16)
            if not received:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(max(deadline - time.monotonic(), 0.0))
                return None
            self._buffer += received
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    def _words_of_the_end(self) -> str:
        """How the process ended within a test: it may have ended or closed more than it meant."""
        ended = f"its process ended without a result, with status {self._process.wait()}"
        return last_lines(f"{self._last_words()}\n{ended}")

    def _last_words(self) -> str:
        """The end of what the process wrote since it began to collect, or since its last test."""
        self._output.seek(self._from)
        return self._output.read().decode(errors="replace")[-3000:].strip()
