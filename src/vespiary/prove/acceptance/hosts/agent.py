"""The far end of a host. execnet sends this file's text, so it imports the standard library only.

What is sent there and back are tuples; the first element says what it is.

    to the agent:   ("hello", folder, hashes), ("ship", hash, bytes, whether they are the last),
                    ("paths", hashes),
                    ("run", number, plan, hash of the suite's folder), ("alive",), ("end",)
    from the agent: ("lacks", hashes), ("ready", text), ("file", number, name, offset, bytes),
                    ("result", number, JSON), ("broken", text), ("alive",)
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pickle
import shutil
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

ALIVE_SECONDS = 1.0
SILENCE_SECONDS = 20.0
"""Without a word from the runner for this long, the agent ends everything. What was sent while it
had much to do counts: it is received first."""

LOOK_SECONDS = 0.05
PIECE_BYTES = 256 << 10
FREE_BYTES_MIN = 16 << 20
"""With less free space than this, what a case does says nothing about the server."""


class Agent:
    """Runs cases for a runner that is far away."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._running: dict[int, Any] = {}
        self._sent: dict[tuple[int, str], int] = {}
        self._archives: dict[str, bytearray] = {}
        self._folder = Path()

    def serve(self) -> None:
        """Do what the runner says, until it ends or says nothing any more."""
        heard = said = time.monotonic()
        try:
            while True:
                try:
                    message = self._channel.receive(LOOK_SECONDS)
                except self._channel.TimeoutError:
                    if time.monotonic() - heard >= SILENCE_SECONDS:
                        text = f"it heard nothing from here for {SILENCE_SECONDS:g} s"
                        return self._try_to_say(("broken", text))
                else:
                    if message[0] == "end":
                        return None
                    self._do(*message)
                    heard = time.monotonic()
                self._look()
                if time.monotonic() - said >= ALIVE_SECONDS:
                    said = time.monotonic()
                    self._channel.send(("alive",))
        except (EOFError, OSError) as error:
            self._try_to_say(("broken", f"{type(error).__name__}: {error}"))
        finally:
            for running in self._running.values():
                running.close()

    def _try_to_say(self, message: tuple[Any, ...]) -> None:
        with contextlib.suppress(EOFError, OSError):
            self._channel.send(message)

    def _do(self, what: str, *values: Any) -> None:
        if what == "hello":
            self._folder = Path(values[0]).expanduser()
            runs = self._folder / "runs"
            runs.mkdir(parents=True, exist_ok=True)
            tempfile.tempdir = str(runs)
            there = [path.name for path in self._folder.iterdir()]
            self._channel.send(("lacks", [each for each in values[1] if each not in there]))
        elif what == "ship":
            self._receive(*values)
        elif what == "paths":
            shipped = [str(self._folder / each) for each in values[0]]
            sys.path[:0] = shipped
            before = os.environ.get("PYTHONPATH")
            os.environ["PYTHONPATH"] = os.pathsep.join([*shipped, *([before] if before else [])])
            self._channel.send(("ready", sys.version.split()[0]))
        elif what == "run":
            self._start(*values)

    def _receive(self, name: str, data: bytes, is_last: bool) -> None:
        """Take a piece of an archive."""
        archive = self._archives.setdefault(name, bytearray())
        archive += data
        if is_last:
            self._unpack(name, bytes(self._archives.pop(name)))

    def _unpack(self, name: str, data: bytes) -> None:
        # Held while it is filled: a later run removes it if this one is killed (prove/folders.py).
        new = self._folder / "runs" / f"vespiary-{name}-{os.getpid()}.run"
        new.mkdir()
        held = os.open(new, os.O_RDONLY | os.O_CLOEXEC)
        with contextlib.suppress(OSError):
            fcntl.flock(held, fcntl.LOCK_SH)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist():
                path = archive.extract(entry, new)
                mode = entry.external_attr >> 16 & 0o777
                if mode:
                    Path(path).chmod(mode)
        try:
            new.rename(self._folder / name)
        except OSError:  # Another runner was faster.
            shutil.rmtree(new)
        os.close(held)

    def _start(self, number: int, plan: bytes, suite: str) -> None:
        from vespiary.prove.acceptance.running import Running

        if shutil.disk_usage(self._folder).free < FREE_BYTES_MIN:
            raise OSError(28, f"the disk of {self._folder} is full")
        moved = pickle.loads(plan).moved(str(self._folder / suite))
        self._running[number] = Running(moved)

    def _look(self) -> None:
        for number, running in list(self._running.items()):
            running.hear_now()
            is_over = running.look()
            self._send_files(number, running.artifacts)
            if not is_over:
                continue
            # What a case does on a full disk is not the server's fault.
            if shutil.disk_usage(running.artifacts).free < FREE_BYTES_MIN:
                raise OSError(28, f"the disk of {running.artifacts.parent} is full")
            self._channel.send(("result", number, json.dumps(running.result.as_json())))
            del self._running[number]
            running.close()

    def _send_files(self, number: int, folder: Path) -> None:
        """Send what was added to each file since the last time."""
        for path in sorted(folder.rglob("*")):
            if not path.is_file():
                continue
            name = str(path.relative_to(folder))
            offset = self._sent.get((number, name), 0)
            if path.stat().st_size <= offset:
                continue
            with path.open("rb") as file:
                file.seek(offset)
                while piece := file.read(PIECE_BYTES):
                    self._channel.send(("file", number, name, offset, piece))
                    offset += len(piece)
            self._sent[number, name] = offset


if __name__ == "__channelexec__":
    Agent(channel).serve()  # type: ignore[name-defined]  # noqa: F821 - execnet's.
