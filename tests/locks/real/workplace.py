"""Where a real program runs: a folder of its own, a port, and the user it runs as."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.addresses import free_port

READY_SECONDS = 30.0


@dataclass(frozen=True)
class Room:
    """A folder that all users can come to, and a free port of 127.0.0.1."""

    folder: Path
    port: int

    def as_user(self, user: str, folder: Path, *command: str | Path) -> list[str]:
        """A command as a user to whom a folder is given, if we may; else as it is."""
        words = [str(word) for word in command]
        if os.geteuid() != 0:
            return words
        entry = pwd.getpwnam(user)
        shutil.chown(folder, entry.pw_uid, entry.pw_gid)
        ids = [f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
        return ["setpriv", *ids, "env", f"HOME={folder}", *words]

    def write(self, name: str, text: str) -> Path:
        """A file of the folder."""
        path = self.folder / name
        path.write_text(text.format(folder=self.folder, port=self.port))
        return path


@contextmanager
def room() -> Iterator[Room]:
    """A room that is cleared afterwards."""
    with tempfile.TemporaryDirectory(prefix="vespiary-real-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield Room(folder, free_port())


def do(*command: str | Path, folder: Path | None = None) -> str:
    """Run a command that belongs to the preparations or to the load; its output."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def until(is_ready: Callable[[], bool], ended: Callable[[], bool]) -> None:
    """Wait until a program is ready.

    Raises:
        AssertionError: it ended before, or needs too long.
    """
    deadline = time.monotonic() + READY_SECONDS
    while not is_ready():
        assert not ended(), "it ended before it was ready"
        assert time.monotonic() < deadline, f"it was not ready within {READY_SECONDS:.0f} s"
        time.sleep(0.02)


def listens(port: int) -> bool:
    """Whether somebody accepts connections at a port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
