"""Certificates that change while servers run: their files are watched, and SIGHUP reads them again.

Files are compared every few seconds by what stat(2) says of them (time of change, inode, size). A
library that gets events of the kernel would notice earlier, for nothing: a certificate is renewed
weeks before it expires. It would also have to follow symbolic links, renamed folders and network
mounts, for which stat(2) works as it is.

An ACME client writes several files, one after the other. So changed files are read when the next
look finds them as they are. If they are not valid, the old certificate stays in use, and the error
is logged once.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vespiary.tls import ServerTLS

__all__ = ["Watcher", "join_watcher", "watch"]


class Watcher:
    """Watches the certificates of a loop's servers, as long as one of them runs."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._watched: weakref.WeakSet[ServerTLS] = weakref.WeakSet()
        self._servers = 0
        self._wants_signal = False
        self._has_signal = False
        self._timer: asyncio.TimerHandle | None = None

    def join(self, *, signals: bool) -> None:
        """A server begins.

        Args:
            signals: Whether SIGHUP reads certificates again, where the program does not handle or
                ignore it.
        """
        self._servers += 1
        self._wants_signal |= signals

    def leave(self) -> None:
        """A server has stopped; nothing is left after the last one."""
        self._servers -= 1
        if self._servers:
            return
        _watchers.pop(self._loop, None)
        if self._timer is not None:
            self._timer.cancel()
        if self._has_signal and not self._loop.is_closed():
            self._loop.remove_signal_handler(signal.SIGHUP)

    def add(self, tls: ServerTLS) -> None:
        """Watch a certificate too."""
        self._watched.add(tls)
        self._install()
        if self._timer is None:
            self._set_timer()

    def _install(self) -> None:
        is_main = threading.current_thread() is threading.main_thread()
        if not self._wants_signal or self._has_signal or not is_main:
            return
        if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
            with contextlib.suppress(NotImplementedError):
                self._loop.add_signal_handler(signal.SIGHUP, self._reload)
                self._has_signal = True

    def _reload(self) -> None:
        for tls in list(self._watched):
            tls.reload_logged("SIGHUP")

    def _set_timer(self) -> None:
        self._timer = None
        waits = [one.watch_seconds for one in self._watched]
        wanted = [seconds for seconds in waits if seconds is not None]
        if wanted:
            self._timer = self._loop.call_later(min(wanted), self._look)

    def _look(self) -> None:
        for tls in list(self._watched):
            if tls.watch_seconds is not None:
                tls.look()
        self._set_timer()


_watchers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[Watcher]] = (
    weakref.WeakKeyDictionary()
)
"""Weak on both sides: the servers hold their loop's."""


def join_watcher(certificates: Iterable[ServerTLS], *, signals: bool) -> Watcher:
    """Watch the certificates of a server that begins in the running loop."""
    loop = asyncio.get_running_loop()
    known = _watchers.get(loop)
    watcher = known() if known is not None else None
    if watcher is None:
        watcher = Watcher()
        _watchers[loop] = weakref.ref(watcher)
    watcher.join(signals=signals)
    for tls in certificates:
        watcher.add(tls)
    return watcher


def watch(tls: ServerTLS) -> None:
    """Watch a certificate that a running server's connection uses."""
    known = _watchers.get(asyncio.get_running_loop())
    watcher = known() if known is not None else None
    if watcher is not None:
        watcher.add(tls)
