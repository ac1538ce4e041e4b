"""The loop behind the synchronous client: one thread of the process, started when it is needed.

One loop serves all synchronous connections, no matter which threads use them. A thread and a
completion port per connection would cost more than the connections themselves. The thread is a
daemon, so a program that ends does not wait for it. When the main thread ends, the connections that
it has opened are closed with 1001. Otherwise, a thread that waits for messages on one of them, and
that is not a daemon, would keep the process alive forever. Connections of other threads stay open
as long as these threads run. When the interpreter exits, every connection that is still open is
closed with 1001, and the peers have a second to answer.

A fork copies the memory, but not the thread. The child forgets the loop of its parent (and keeps
the object, so that nothing of it is closed twice), and starts its own loop when it connects. The
connections of the parent cannot be used in the child.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from vespiary._logging import callback_failed
from vespiary.loop import Loop, running_core

# Imported now, because it registers a function for the exit: what is registered later, such as the
# function of this module, is called before it. In a function of atexit it cannot be imported.
with contextlib.suppress(RuntimeError):
    from concurrent.futures import thread as thread

__all__ = ["Background", "NotInTime", "background"]

T = TypeVar("T")

EXIT_SECONDS = 1.0
"""How long the interpreter's exit waits for peers to answer the close."""


class NotInTime(TimeoutError):
    """The caller's own `timeout` is over."""


class Closable(Protocol):
    """What the exit asks of a connection."""

    @property
    def is_of_main_thread(self) -> bool: ...

    def close_for_exit(self) -> None: ...


class Background:
    """A loop on a thread of its own."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.open: set[Closable] = set()
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._loop: Loop | None = None
        self._thread = threading.Thread(target=self._run, name="vespiary-sync", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            loop = self._loop = Loop()
        except BaseException as error:
            self._failure = error
            self._started.set()
            return
        asyncio.set_event_loop(loop)
        loop.call_soon(self._begin)
        try:
            while not self._runs_to_its_end(loop):
                pass
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    def _runs_to_its_end(self, loop: Loop) -> bool:
        """Run the loop until it is stopped, or until code of one connection wants to end it.

        It serves the connections of other users too, so it continues then.
        """
        try:
            loop.run_forever()
        except (KeyboardInterrupt, SystemExit) as error:
            callback_failed("callback on the loop of vespiary.sync", error)
            return False
        return True

    def _begin(self) -> None:
        self._core = running_core()
        self._started.set()

    def run(
        self,
        coroutine: Coroutine[Any, Any, T],
        timeout: float | None = None,
    ) -> T:
        """Run a coroutine on the loop, and wait for it.

        A timeout or KeyboardInterrupt cancels the coroutine. An exception of the coroutine is
        raised here only, even one that would end a loop.

        Raises:
            NotInTime: it took longer than `timeout` seconds.
            RuntimeError: the thread is the loop's own, or the process was forked.
        """
        try:
            loop = self._checked()
        except BaseException:
            coroutine.close()
            raise
        future = asyncio.run_coroutine_threadsafe(_carried(coroutine), loop)
        try:
            return _result(future, timeout)
        except _Carried as carried:
            raise carried.error from carried.error.__cause__
        except BaseException:
            future.cancel()
            raise

    def call(self, function: Callable[[], T], timeout: float | None = None) -> T:
        """Call a function on the loop's thread, and wait for it: cheaper than a coroutine.

        It goes through the queue that messages sent from other threads go through, behind those
        that were sent before.

        Raises:
            As for `run`; what was not called in time never is.
        """
        future: Future[T] = Future()

        def do() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        self._checked()
        self._core.call_soon_threadsafe(do)
        try:
            return _result(future, timeout)
        except BaseException:
            future.cancel()
            raise

    def start(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """Run a coroutine on the loop, without waiting for it."""
        try:
            loop = self._checked()
        except BaseException:
            coroutine.close()
            raise
        asyncio.run_coroutine_threadsafe(coroutine, loop)

    def call_soon(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function on the loop's thread, without waiting for it."""
        self._checked()
        self._core.call_soon_threadsafe(lambda: function(*arguments))

    def _checked(self) -> Loop:
        self.check()
        loop = self._loop
        if loop is None or loop.is_closed():
            raise RuntimeError("the interpreter is exiting: its connections are closed")
        return loop

    @property
    def is_inherited(self) -> bool:
        """Whether it is the loop of a process that this one was forked from."""
        return self.process != os.getpid()

    @property
    def is_stopped(self) -> bool:
        """Whether its thread has ended."""
        return not self._thread.is_alive()

    def check(self) -> None:
        """See whether this process and this thread may wait for the loop.

        Raises:
            RuntimeError: they may not.
        """
        if self.is_inherited:
            raise RuntimeError(
                "the connection was made before a fork, and belongs to the parent: connect again"
            )
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                "the synchronous client was called in the thread of its own loop, which would wait"
                " for itself: call it in another thread"
            )

    def end_main_thread(self) -> None:
        """Close what the main thread has opened, as it ends."""
        if not self.is_inherited:
            for one in list(self.open):
                if one.is_of_main_thread:
                    one.close_for_exit()

    def stop(self) -> None:
        """Close what is open, and end the thread; at the interpreter's exit."""
        loop = self._loop
        if loop is None or self.is_inherited:
            return
        for one in list(self.open):
            one.close_for_exit()
        deadline = time.monotonic() + EXIT_SECONDS
        while self.open and time.monotonic() < deadline:
            time.sleep(0.001)
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(loop.stop)
        self._thread.join(EXIT_SECONDS)


def _result(future: Future[T], timeout: float | None) -> T:
    """Wait for a result; a timeout says how long it was."""
    try:
        return future.result(timeout)
    except TimeoutError as error:
        if timeout is None or error.args or future.done():
            raise
        raise NotInTime(f"not done within {timeout:g} s") from None


class _Carried(Exception):
    """Carries an exception that would end the loop to the caller, past the loop."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


async def _carried(coroutine: Coroutine[Any, Any, T]) -> T:
    try:
        return await coroutine
    except (KeyboardInterrupt, SystemExit) as error:
        raise _Carried(error) from None


_lock = threading.Lock()
_shared: Background | None = None
_of_parents: list[Background] = []


def background() -> Background:
    """The process's loop, started if need be."""
    global _shared
    with _lock:
        if _shared is None:
            _watch_main_thread()
            _shared = Background()
        return _shared


_is_watching = False


def _watch_main_thread() -> None:
    """Have connections closed at the end of the main thread: before other threads are awaited.

    atexit comes behind that. What concurrent.futures uses there is private, and the same in 3.11 to
    3.14; without it, connections are closed at the interpreter's exit. The last one that was
    registered is called first: before concurrent.futures, which waits for the threads of pools.
    """
    global _is_watching
    register = getattr(threading, "_register_atexit", None)
    if register is not None and not _is_watching:
        _is_watching = True
        # It raises RuntimeError if the main thread has already ended.
        with contextlib.suppress(RuntimeError):
            register(_at_end_of_main_thread)


def _at_end_of_main_thread() -> None:
    if _shared is not None:
        _shared.end_main_thread()


@atexit.register
def _at_exit() -> None:
    if _shared is not None:
        _shared.stop()


def _after_fork() -> None:
    global _lock, _shared
    _lock = threading.Lock()
    if _shared is not None:
        _of_parents.append(_shared)
        _shared = None


os.register_at_fork(after_in_child=_after_fork)
