"""Wait until a server is ready."""

from __future__ import annotations

import contextlib
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from vespiary.prove.acceptance.suite import Ready
from vespiary.prove.acceptance.work.context import Context
from vespiary.prove.acceptance.work.output import Search
from vespiary.prove.acceptance.work.program import Program, exit_text
from vespiary.prove.acceptance.work.sockets import is_bound

__all__ = ["Notifications", "get", "is_ready"]

_PAUSE_SECONDS = 0.02
_ANSWER_SECONDS = 5.0


class Notifications:
    """The socket to which a server sends READY=1 (sd_notify(3))."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self._is_ready = False

    @property
    def is_ready(self) -> bool:
        """Whether it came."""
        with contextlib.suppress(BlockingIOError):
            while not self._is_ready:
                lines = self._socket.recv(4096).decode(errors="replace").splitlines()
                self._is_ready = "READY=1" in lines
        return self._is_ready

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()
        self.path.unlink(missing_ok=True)


def get(url: str) -> tuple[int, str]:
    """The status and the body that a GET is answered with; OSError if there is no answer."""
    try:
        with urllib.request.urlopen(url, timeout=_ANSWER_SECONDS) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")


def is_ready(
    context: Context, program: Program, ready: Ready, notified: Notifications | None
) -> bool:
    """Wait until a server is ready; what went wrong is put down."""
    deadline = time.monotonic() + context.within(ready.within)
    awaited = None
    if ready.output is not None:
        awaited = program.output.search(context.pattern(ready.output))
    missing = list(_missing(context, ready, notified, awaited))
    while missing:
        if program.code is not None:
            text = f"{program.label} ended with {exit_text(program.code)} before it was ready"
            context.result.add("server-ended", text, program.last_lines)
            return False
        if time.monotonic() >= deadline:
            text = f"{program.label} was not ready after {context.within(ready.within):g} s:"
            text = f"{text} {'; '.join(missing)}"
            context.result.add("not-ready", text, program.last_lines)
            return False
        time.sleep(_PAUSE_SECONDS)
        missing = list(_missing(context, ready, notified, awaited))
    return True


def _missing(
    context: Context, ready: Ready, notified: Notifications | None, awaited: Search | None
) -> Iterator[str]:
    """What is not so yet."""
    if ready.port is not None:
        port = context.text(str(ready.port))
        if not is_bound(int(port)):
            yield f"nothing listens on port {port}"
    if awaited is not None and awaited.look() is None:
        yield f"its output does not match {awaited.pattern!r}"
    if notified is not None and not notified.is_ready:
        yield "no READY=1 came to NOTIFY_SOCKET"
    if ready.http is not None:
        url = context.text(ready.http)
        try:
            status, _ = get(url)
        except OSError as error:
            yield f"{url} gives no answer ({error})"
        else:
            if status != ready.status:
                yield f"{url} is answered with {status} instead of {ready.status}"
