"""A server of `vespiary run` that is reloaded or upgraded again and again, as a process."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

PLUGIN = """\
import vespiary

class Echo(vespiary.Handler):
    def on_message(self, connection, message):
        connection.send(message)

    def on_shutdown(self, connection):
        # Connections stay until the end of drain_seconds.
        pass
"""
CONFIGURATION = """\
driver = "{driver}"
{workers}
[endpoints.echo]
url = "ws://127.0.0.1:0/"
plugin = "plug.py:Echo"
config = {{}}
deadlines.drain_seconds = "{drain_seconds}s"
"""
PATIENCE_SECONDS = 120.0
_URL = re.compile(r"Serving (ws://\S+)")
_UPGRADED = re.compile(r"Upgraded: process (\d+) serves")
_RELOADED = re.compile(r"Reloaded: (?:generation|replaced)")


class ServerError(Exception):
    """The server did not do what it was asked for; the text has its log."""


class Server:
    """A server in a folder of its own.

    Args:
        folder: Where its configuration and its plug-in are written.
        workers: How many worker processes it has; 0 for none.
        drain_seconds: How long old connections may stay.
        driver: Of its loops.
    """

    def __init__(self, folder: Path, workers: int, drain_seconds: float, driver: str) -> None:
        self._plugin = folder / "plug.py"
        self._plugin.write_text(PLUGIN)
        head = f"workers = {workers}" if workers else ""
        text = CONFIGURATION.format(driver=driver, workers=head, drain_seconds=drain_seconds)
        (folder / "wasp.toml").write_text(text.replace("config = {}\n", ""))
        self._lines: list[str] = []
        self._first = subprocess.Popen(
            [sys.executable, "-m", "vespiary", "run", str(folder / "wasp.toml")],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self._process = self._first.pid
        self._wait(lambda: _URL.search(self.log))
        self.url = _URL.findall(self.log)[0]

    def _read(self) -> None:
        assert self._first.stderr is not None
        self._lines.extend(iter(self._first.stderr.readline, ""))

    @property
    def log(self) -> str:
        """What the processes have logged."""
        return "".join(self._lines)

    def _wait(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > end:
                raise ServerError(self.log)
            time.sleep(0.005)

    def reload(self) -> None:
        """Change the plug-in, reload, and wait until the new one serves.

        Raises:
            ServerError: it does not.
        """
        before = len(_RELOADED.findall(self.log))
        self._plugin.write_text(self._plugin.read_text() + "\n")
        os.kill(self._process, signal.SIGHUP)
        self._wait(lambda: len(_RELOADED.findall(self.log)) > before)

    def upgrade(self) -> None:
        """Upgrade, and wait until the new process serves.

        Raises:
            ServerError: it does not.
        """
        before = len(_UPGRADED.findall(self.log))
        os.kill(self._process, signal.SIGUSR2)
        self._wait(lambda: len(_UPGRADED.findall(self.log)) > before)
        self._process = int(_UPGRADED.findall(self.log)[-1])

    def stop(self) -> None:
        """Stop it at once, and wait for the end of every process."""
        for _ in range(2):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process, signal.SIGTERM)
        self._first.wait()
        # The end of the stream is the end of the last process that has it.
        self._reader.join()
        assert self._first.stderr is not None
        self._first.stderr.close()
