"""Restart a server whenever its source changes, for development.

Two processes: this parent watches files, the child serves. They are joined by one socket pair. Over
it the child says which source files it has loaded and which URLs it serves (one JSON object a
line), and by its end of stream the child learns that the parent is gone. The parent looks at the
files' times and sizes four times per second: a few hundred `stat` calls, and no dependency. It
starts every further child with the URLs that the first one got, so that port 0 stays what it
became.

A child that ends by itself is left alone until a file changes: a syntax error should not spin.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from vespiary.prove.exits import of_status

__all__ = ["REPORT_VARIABLE", "ChildReport", "Reloader", "Watch", "own_source_files"]

REPORT_VARIABLE = "VESPIARY_RELOAD_DESCRIPTOR"
"""Names the descriptor of the child's end of the socket pair, in the child's environment."""

_LOOK_SECONDS = 0.25
_GRACE_SECONDS = 1.0
_KILL_SECONDS = 5.0


@dataclass(slots=True)
class Watch:
    """Files, and what they looked like; says which have changed since."""

    seen: dict[Path, tuple[int, int] | None] = field(default_factory=dict)

    def add(self, files: Iterable[Path], since: int = sys.maxsize) -> None:
        """Watch further files; those watched already keep what was seen of them.

        A file modified after `since` (nanoseconds since the epoch) counts as changed: anyone who
        loaded it then may have loaded what was there before.
        """
        for path in files:
            if path not in self.seen:
                now = _look(path)
                self.seen[path] = None if now and now[0] > since else now

    def changed(self) -> list[Path]:
        """The files that were changed, made or removed since they were checked last."""
        found = []
        for path, before in self.seen.items():
            now = _look(path)
            if now != before:
                self.seen[path] = now
                found.append(path)
        return found


def _look(path: Path) -> tuple[int, int] | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size


def own_source_files() -> set[Path]:
    """The source files of all loaded modules but Python's own and installed ones."""
    paths = sysconfig.get_paths()
    foreign = tuple(
        {paths[name] + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    )
    found = set()
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.endswith(".py") and not file.startswith(foreign):
            found.add(Path(file).absolute())
    return found


class ChildReport:
    """The child's end: tells the parent what there is to know, and ends with it."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._socket = socket.socket(fileno=descriptor)
        self._files: set[Path] = set()

    @classmethod
    def from_environment(cls) -> "ChildReport | None":
        """The report that a reloading parent asked for, if there is such a parent."""
        descriptor = os.environ.pop(REPORT_VARIABLE, "")
        return cls(int(descriptor)) if descriptor.isdecimal() else None

    def files(self) -> None:
        """Tell the source files that were loaded since the last time."""
        new = own_source_files() - self._files
        if new:
            self._files |= new
            self._tell({"files": sorted(map(str, new))})

    def serving(self, urls: Sequence[str]) -> None:
        """Tell the URLs as they are served, with their real ports, and begin to watch.

        From now on a thread tells new files every second, and ends this process with its parent.
        """
        self._tell({"urls": list(urls)})
        threading.Thread(target=self._watch, name="vespiary-reload", daemon=True).start()

    def _watch(self) -> None:
        while True:
            self.files()
            if select.select([self._socket], [], [], 1.0)[0]:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def _tell(self, fact: dict[str, list[str]]) -> None:
        # If the parent has ended, `_watch` ends this process.
        with contextlib.suppress(OSError):
            self._socket.sendall(json.dumps(fact).encode() + b"\n")


class Reloader:
    """The parent: runs `command(urls)` as a child, again after each change."""

    def __init__(
        self,
        command: Callable[[Sequence[str]], Sequence[str]],
        urls: Sequence[str],
        files: Iterable[Path] = (),
        inherited: Iterable[int] = (),
    ) -> None:
        """Prepare; `files` are watched even if the child never gets as far as reporting its own.

        Each child gets the descriptors `inherited`.
        """
        self._inherited = list(inherited)
        self._command = command
        self._urls = list(urls)
        self._watch = Watch()
        self._watch.add(files)
        self._signal: int | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._unread = b""
        self._started = 0

    def run(self) -> int:
        """Serve until a signal asks to stop; gives the last child's exit status."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        self._start()
        while self._signal is None:
            self._read_report()
            changed = self._watch.changed()
            if changed:
                names = ", ".join(_relative(path) for path in sorted(changed))
                click.echo(f"vespiary: {names} changed; restarting", err=True)
                self._stop()
                self._start()
            self._tell_if_ended()
        return self._stop()

    def _on_signal(self, number: int, frame: object) -> None:
        del frame
        if self._signal is not None and self._child is not None:
            self._child.send_signal(number)  # The second signal ends at once, there as here.
        self._signal = number

    def _start(self) -> None:
        self._started = time.time_ns()
        ours, theirs = socket.socketpair()
        with theirs:
            # A group of its own: Ctrl-C reaches this parent only, which passes on one signal.
            self._child = subprocess.Popen(
                self._command(self._urls),
                pass_fds=[theirs.fileno(), *self._inherited],
                env={**os.environ, REPORT_VARIABLE: str(theirs.fileno())},
                process_group=0,
            )
        self._socket, self._unread = ours, b""

    def _stop(self) -> int:
        """Ask the child to stop, then to stop at once, then end it."""
        child = self._child
        if child is None:
            return 0
        is_forced = False
        for patience, number in ((_GRACE_SECONDS, signal.SIGTERM), (_KILL_SECONDS, signal.SIGTERM)):
            if child.poll() is None:
                child.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(patience)
                break
            is_forced = True
        if is_forced:
            # The whole group: processes that the program has started would outlive it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        self._close_socket()
        self._child = None
        # The second signal may come when the child has already put back what signals do, and ends.
        return 0 if child.returncode == -signal.SIGTERM else of_status(child.returncode)

    def _read_report(self) -> None:
        """Wait a moment for what the child tells; take it in."""
        if self._socket is None:
            time.sleep(_LOOK_SECONDS)
            return
        if not select.select([self._socket], [], [], _LOOK_SECONDS)[0]:
            return
        data = self._socket.recv(1 << 16)
        if not data:
            self._close_socket()
            return
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            fact = json.loads(line)
            self._watch.add((Path(name) for name in fact.get("files", ())), self._started)
            self._urls = fact.get("urls", self._urls)

    def _tell_if_ended(self) -> None:
        if self._child is not None and self._child.poll() is not None:
            status = self._child.returncode
            self._child = None
            click.echo(
                f"vespiary: the server ended with status {status}; waiting for a change", err=True
            )

    def _close_socket(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _relative(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
