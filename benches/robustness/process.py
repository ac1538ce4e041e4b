"""A server under test in a process of its own, and what is seen of it from outside."""

import json
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

SERVER = Path(__file__).with_name("server.py")
START_SECONDS = 30


class ServerError(Exception):
    """A server did not do what every version of it does."""


@dataclass(frozen=True)
class Version:
    """A version of Vespiary: its name in the table, and the interpreter that has it installed."""

    name: str
    python: str


class Server:
    """A server that runs one case. What it prints is kept."""

    def __init__(self, version: Version, case: str, driver: str) -> None:
        environment = dict(os.environ, VESPIARY_DRIVER=driver)
        command = [version.python, str(SERVER), case]
        # Not in this source tree: the interpreter's own version is wanted.
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment, cwd="/"
        )
        self._reports: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        serving = self.report("serving", START_SECONDS)
        self.ports: list[int] = serving["ports"]
        self.id: int = serving["process"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._reports.append(json.loads(line))
                self._changed.notify_all()

    def report(self, what: str, seconds: float) -> dict[str, Any]:
        """The next report of a kind; it is taken out.

        Raises:
            ServerError: none came in time.
        """

        def found() -> dict[str, Any] | None:
            return next((report for report in self._reports if report["what"] == what), None)

        with self._changed:
            self._changed.wait_for(found, seconds)
            report = found()
            if report is None:
                raise ServerError(f"the server reported no {what!r} within {seconds:g} s")
            self._reports.remove(report)
            return report

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.id, number)

    def wait(self, seconds: float) -> float | None:
        """How long it still ran; None when it did not end within so long."""
        began = time.monotonic()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        return time.monotonic() - began

    def memory(self, field: str = "VmRSS") -> int:
        """Bytes of resident memory; of its peak as `VmHWM`."""
        for line in Path(f"/proc/{self.id}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
        raise LookupError(field)

    def forget_peak(self) -> None:
        """Let the peak of resident memory count from now (proc(5), clear_refs)."""
        Path(f"/proc/{self.id}/clear_refs").write_text("5")

    def cpu_seconds(self) -> float:
        """CPU time that it has used (clock_getcpuclockid(3))."""
        return time.clock_gettime_ns((~self.id << 3) | 2) / 1e9

    def sockets(self) -> int:
        """How many of its descriptors are sockets."""
        count = 0
        for descriptor in Path(f"/proc/{self.id}/fd").iterdir():
            try:
                count += str(descriptor.readlink()).startswith("socket:")
            except FileNotFoundError:
                continue
        return count
