"""The mailbox of a synchronous connection: what its threads wait for."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vespiary._core import Hooks, end_with_peer
from vespiary._logging import address_text
from vespiary.errors import CloseReason, ConnectionClosed

if TYPE_CHECKING:
    from vespiary._background import Background
    from vespiary._core import Connection as NativeConnection
    from vespiary.client import Connecting
    from vespiary.client_options import ClientOptions
    from vespiary.limits import Limits

__all__ = ["Mailbox", "Part"]

_GOING_AWAY = 1001


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a message, as it arrived.

    Attributes:
        data: Its bytes; text is UTF-8, checked, and may be cut within a character.
        last: Whether the message ends with it.
        text: Whether the message is text.
    """

    data: bytes
    last: bool
    text: bool


class Mailbox:
    """What the loop's thread puts in and others take out: messages, and then the end.

    In the main thread a signal's handler may raise between any two calls (KeyboardInterrupt, an
    alarm of a test runner), and then nothing may be lost or stay locked. Therefore:

    * Threads wait in `queue.SimpleQueue.get`, which takes an item or raises, and not in a
      `threading.Condition`, whose lock stays locked if `__exit__` is interrupted.
    * The result of a call is lost if a handler raises directly behind the call, but CPython calls
      no handlers between the step of an iterator and what follows without a call. So the last step
      of `take` is that of an iterator.
    * Whether reading is held is changed by the loop's thread only, which runs no handlers. Other
      threads ask for it, and the next `take` asks again.
    """

    shared: Background

    def __init__(self, limits: Limits, close_seconds: float | None) -> None:
        self.close_seconds = close_seconds
        self.sending = threading.Lock()
        self.unwatched_bytes = 0
        self.is_within_message = False
        self.native: NativeConnection | None = None
        self.address = ""
        self.reason: CloseReason | None = None
        self.failure: BaseException | None = None
        self.limits = limits
        self._is_abandoned = False
        self._opening: asyncio.Task[object] | None = None
        self._waiting: queue.SimpleQueue[tuple[Any, int]] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._put_bytes = 0
        self._taken_bytes = 0
        self._is_held = False
        self._may_end_with_peer = True
        self.is_of_main_thread = threading.current_thread() is threading.main_thread()

    def hooks(self, options: ClientOptions, *, parts: bool) -> Hooks:
        """What the connection calls, on the loop's thread."""
        hooks = Hooks(close=self._close)
        if parts:
            hooks.part = self._part
        else:
            hooks.message = self._put
        if options.get("half_close"):
            hooks.end = self._end
            self._may_end_with_peer = False
        return hooks

    def guard_filters(self, hooks: Hooks) -> None:
        """Let what a filter raises concern this connection only."""

        def guarded(
            function: Callable[[NativeConnection, bytes], bytes | None],
        ) -> Callable[[NativeConnection, bytes], bytes | None]:
            def call(native: NativeConnection, data: bytes) -> bytes | None:
                try:
                    return function(native, data)
                except (KeyboardInterrupt, SystemExit) as error:
                    self._fail(error)
                    raise RuntimeError("a filter wants to end the program") from error

            return call

        if hooks.filter_received is not None:
            hooks.filter_received = guarded(hooks.filter_received)
        if hooks.filter_sent is not None:
            hooks.filter_sent = guarded(hooks.filter_sent)

    def _fail(self, failure: BaseException) -> None:
        self.failure = failure
        if self._opening is not None:
            self._opening.cancel()

    async def open(self, connecting: Connecting) -> NativeConnection:
        """Connect; on the loop's thread, as are the next five."""
        self._opening = asyncio.current_task()
        try:
            native = await connecting
        except BaseException:
            if self.failure is not None:
                raise self.failure from None
            raise
        finally:
            self._opening = None
        self.native = native
        self.address = address_text(native.peer)
        if self.reason is None:
            self.shared.open.add(self)
        if self._is_abandoned:
            native.abort()
        return native

    def abandon(self) -> None:
        """Nobody gets the connection: `connect` was interrupted."""
        self._is_abandoned = True
        if self.native is not None:
            with contextlib.suppress(RuntimeError):  # The loop may have ended.
                self.native.abort()

    def _put(self, native: NativeConnection, message: Any) -> None:
        self._put_bytes += _length(message)
        self._waiting.put((message, self._put_bytes))
        if not self._is_held and self._is_full():
            native._hold_reading(True)
            self._is_held = True

    def _is_full(self) -> bool:
        count = self._waiting.qsize()
        waiting_bytes = self._put_bytes - self._taken_bytes
        return count >= self.limits.inbox_messages_max or (
            count > 0 and waiting_bytes >= self.limits.inbox_bytes_max
        )

    def _read_on(self) -> None:
        if self._is_held and self.native is not None and not self._is_full():
            self.native._hold_reading(False)
            self._is_held = False

    def _part(self, native: NativeConnection, data: bytes, last: bool, text: bool) -> None:
        self._put(native, Part(data, last, text))

    def _end(self, _native: NativeConnection) -> None:
        self._waiting.put(_END)

    def _close(self, _native: NativeConnection, reason: CloseReason) -> None:
        self.shared.open.discard(self)
        self.reason = reason
        self._waiting.put(_END)
        self._ended.put(None)

    def close_for_exit(self) -> None:
        """The interpreter exits."""
        if self.native is not None:
            self.native.close(_GOING_AWAY, "the client's program has ended")

    def allows(self, size: int) -> bool:
        """Whether a message of so many bytes may be sent without waiting for the loop's thread.

        Between two calls that wait, and so see how much the peer has left unread, messages of
        `write_high_bytes` in all may go. The write queue stays below twice that, and so below
        `write_bytes_max`, where messages are refused.
        """
        limits = self.limits
        with self.sending:
            sent = self.unwatched_bytes + size
            if self.reason is not None or self.is_within_message:
                return False
            if sent > limits.write_high_bytes:
                return False
            if 3 * limits.write_high_bytes > limits.write_bytes_max:
                return False
            self.unwatched_bytes = sent
            return True

    def take(self, timeout: float | None) -> Any:
        """The next message; the end, as an exception, behind the last one."""
        deadline = _Deadline(timeout)
        if self._may_end_with_peer:
            self._end_with_peer(False)
            self._may_end_with_peer = False
        while True:
            if self._is_held and self._waiting.qsize() <= 1:
                with contextlib.suppress(RuntimeError):  # The loop may have ended.
                    self.shared.call_soon(self._read_on)
            get = functools.partial(self._waiting.get, True, deadline.wait_seconds())
            try:
                # Between the iterator's step and the return there must be no call: see the class.
                for item in iter(get, None):
                    if item is _END:
                        self._waiting.put(_END)
                        break
                    message, self._taken_bytes = item
                    return message
            except queue.Empty:
                if deadline.is_over():
                    raise TimeoutError(f"no message was received within {timeout:g} s") from None
            else:
                reason = self.reason or _FINISHED
                raise ConnectionClosed.from_reason(reason, self.address) from self.failure

    def _end_with_peer(self, on: bool) -> None:
        """Let the peer's FIN be the end, even if unread messages come before it."""
        if self.native is not None and self.reason is None:
            self.shared.call_soon(end_with_peer, self.native, on)

    def wait_closed(self, timeout: float | None) -> CloseReason:
        """Why the connection ended, once it has."""
        deadline = _Deadline(timeout)
        if self._may_end_with_peer:
            self._end_with_peer(True)
        while self.reason is None:
            try:
                self._ended.get(True, deadline.wait_seconds())
            except queue.Empty:
                if deadline.is_over():
                    text = f"the connection has not ended within {timeout:g} s"
                    raise TimeoutError(text) from None
            else:
                self._ended.put(None)  # For the next thread.
        return self.reason


_END: tuple[Any, int] = (None, 0)
"""Is in the queue behind the last message, and stays there."""

_WAIT_SECONDS = 1.0
"""How long a thread waits before it looks again: another may have taken what would wake it."""


class _Deadline:
    """When the time of a call is over."""

    def __init__(self, timeout: float | None) -> None:
        self._end = None if timeout is None else time.monotonic() + timeout

    def wait_seconds(self) -> float:
        """How long to wait at a time."""
        if self._end is None:
            return _WAIT_SECONDS
        return min(_WAIT_SECONDS, max(0.0, self._end - time.monotonic()))

    def is_over(self) -> bool:
        return self._end is not None and time.monotonic() >= self._end


_FINISHED = CloseReason("remote", "closed", text="the peer has finished sending")


def _length(message: Any) -> int:
    return len(message.data if isinstance(message, Part) else message)
