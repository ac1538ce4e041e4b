"""A server of `vespiary run` whose plug-in does what a client asks for, and its log with times."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

__all__ = ["Server"]

PLUGIN = """\
import ctypes, os, pathlib, subprocess, sys, threading, time
import vespiary

def leak():
    held = []
    while True:
        held.append(b"x" * (4 << 20))
        time.sleep(0.005)

class Faulty(vespiary.Handler):
    def on_message(self, connection, message):
        name = message.decode()
        if name == "raise":
            raise RuntimeError("asked for")
        elif name == "exit":
            sys.exit(3)
        elif name == "leave":
            os._exit(3)
        elif name == "crash":
            ctypes.string_at(0)
        elif name == "hang":
            while True:
                pass
        elif name == "leak":
            threading.Thread(target=leak, daemon=True).start()
        elif name == "fork":
            child = subprocess.Popen(["sleep", "1000"])
            pathlib.Path(__file__).with_name("child").write_text(str(child.pid))
            os._exit(3)
        else:
            connection.send(str(os.getpid()).encode())
"""
PROCESS = """\
driver = "{driver}"

[endpoints.good]
url = "tcp://127.0.0.1:0"
plugin = "plug.py:Faulty"
framing = "line"

[endpoints.bad]
url = "tcp://127.0.0.1:0"
plugin = "plug.py:Faulty"
framing = "line"
host = "process"
process = {{ memory_bytes_max = "400MiB", hang_seconds = 1, restart_seconds_max = 1 }}
"""
WORKERS = """\
driver = "{driver}"
workers = {{ count = 2, memory_bytes_max = "400MiB", hang_seconds = 1, restart_seconds_max = 1 }}

[endpoints.bad]
url = "tcp://127.0.0.1:0"
plugin = "plug.py:Faulty"
framing = "line"
"""
PATIENCE_SECONDS = 60.0
_URL = re.compile(r"Serving tcp://127\.0\.0\.1:(\d+)")


class Server:
    """A server in a folder of its own.

    Args:
        folder: Where its files are written.
        kind: `process` or `workers`.
        driver: Of its loops.
    """

    def __init__(self, folder: Path, kind: str, driver: str) -> None:
        self.folder = folder
        (folder / "plug.py").write_text(PLUGIN)
        text = PROCESS if kind == "process" else WORKERS
        (folder / "wasp.toml").write_text(text.format(driver=driver))
        self.lines: list[tuple[float, str]] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vespiary", "run", str(folder / "wasp.toml")],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.wait_for(_URL.pattern, 0.0, count=2 if kind == "process" else 1)
        self.ports = [int(port) for _, line in self.lines for port in _URL.findall(line)]

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append((time.monotonic(), line))

    def wait_for(self, pattern: str, since: float, count: int = 1) -> float:
        """When the log had so many lines of a pattern, since a time.

        Raises:
            TimeoutError: it does not have them.
        """
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            found = [at for at, line in self.lines if at >= since and re.search(pattern, line)]
            if len(found) >= count:
                return found[count - 1]
            if time.monotonic() > end:
                raise TimeoutError(f"no {pattern!r} in {''.join(line for _, line in self.lines)}")
            time.sleep(0.005)

    def stop(self) -> int:
        """Stop it, and wait for its end; the exit status."""
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(PATIENCE_SECONDS)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            self._reader.join()
            assert self._process.stderr is not None
            self._process.stderr.close()
        return status
