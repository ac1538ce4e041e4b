"""A client without a loop: connections that block, for scripts, tests and threads.

::

    with vespiary.sync.connect("ws://127.0.0.1:9001") as connection:
        connection.send("hello")
        print(connection.receive(timeout=5))

It is the same client as `vespiary.connect`, with the same limits and deadlines, on a loop that all
synchronous connections of the process share (see `vespiary._background`). Messages are taken from
the network as they come, up to `inbox_messages_max` and `inbox_bytes_max`, and wait until they are
received; a peer that is not listened to is held back.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import enum
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, Unpack

from vespiary._asked import without_credentials
from vespiary._background import Background, NotInTime, background
from vespiary._core import Hooks, end_with_peer
from vespiary._logging import address_text
from vespiary._option_checks import check_values
from vespiary._seconds import check_seconds
from vespiary.client import connecting, ended_in_time
from vespiary.client_options import ClientOptions, check_options
from vespiary.errors import CloseReason, ConnectionClosed, SendRefused, WriteQueueFull
from vespiary.limits import Deadlines, Limits
from vespiary.loop import Loop
from vespiary.statistics import ConnectionStatistics

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from vespiary._core import Connection as NativeConnection

__all__ = ["Connection", "Part", "connect"]

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


def connect(
    url: str,
    *,
    timeout: float | None = None,
    parts: bool = False,
    **options: Unpack[ClientOptions],
) -> Connection:
    """Connect to a server, and wait until the connection is open.

    Args:
        url: As for `vespiary.connect`.
        timeout: How long to wait at most, in seconds, with `reconnect=` over all attempts.
            Default: `handshake_seconds` bounds each attempt.
        parts: Receive parts of messages as they arrive (`Part`), whatever the messages' size.
        options: See `vespiary.ClientOptions`. Filters run on the loop's thread.

    Raises:
        TimeoutError: the connection is not open after `timeout` seconds.
        RuntimeError: `vespiary.run` runs in this thread; its loop would be blocked.
        Exception: what `vespiary.connect` raises.
    """
    check_options(options, "timeout", "parts")
    check_values(parts=parts)
    check_seconds("timeout", timeout)
    deadlines = options.get("deadlines") or Deadlines()
    mailbox = _Mailbox(options.get("limits") or Limits(), deadlines.close_seconds)
    hooks = mailbox.hooks(options, parts=parts)
    made = connecting(url, hooks, options, reads_when_crowded=True).used()
    shared = mailbox.shared = background()
    shared.check()
    _check_no_loop_runs()

    async def open_it() -> NativeConnection:
        native = await made
        mailbox.open(native)
        return native

    try:
        native = shared.run(open_it(), timeout, lambda native: native.abort())
    except NotInTime:
        where = without_credentials(url)[0]
        text = f"cannot connect to {where}: it was not open within {timeout:g} s"
        raise TimeoutError(text) from None
    return Connection(shared, mailbox, native)


def _check_no_loop_runs() -> None:
    """Check that no loop of Vespiary's runs in this thread: it serves nothing while this waits."""
    if isinstance(asyncio._get_running_loop(), Loop):
        raise RuntimeError(
            "vespiary.sync.connect would block the loop that runs in this thread, with its servers"
            " and connections: await vespiary.connect(...) instead, or call it in another thread"
            " (asyncio.to_thread)"
        )


class _Mailbox:
    """What the loop's thread puts in and others take out: messages, and then the end."""

    shared: Background

    def __init__(self, limits: Limits, close_seconds: float | None) -> None:
        self.close_seconds = close_seconds
        self.changed = threading.Condition()
        self.sending = threading.Lock()
        self.unwatched_bytes = 0
        self.is_within_message = False
        self.native: NativeConnection | None = None
        self.address = ""
        self.reason: CloseReason | None = None
        self.has_finished = False
        self.limits = limits
        self._waiting: deque[Any] = deque()
        self._bytes = 0
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

    def open(self, native: NativeConnection) -> None:
        """The connection is open; on the loop's thread, as are the next four."""
        self.native = native
        self.address = address_text(native.peer)
        if self.reason is None:
            self.shared.open.add(self)

    def _put(self, native: NativeConnection, message: Any) -> None:
        with self.changed:
            self._waiting.append(message)
            self._bytes += _length(message)
            is_full = (
                len(self._waiting) >= self.limits.inbox_messages_max
                or self._bytes >= self.limits.inbox_bytes_max
            )
            if is_full and not self._is_held:
                self._is_held = True
                native._hold_reading(True)
            self.changed.notify()

    def _part(self, native: NativeConnection, data: bytes, last: bool, text: bool) -> None:
        self._put(native, Part(data, last, text))

    def _end(self, _native: NativeConnection) -> None:
        with self.changed:
            self.has_finished = True
            self.changed.notify_all()

    def _close(self, _native: NativeConnection, reason: CloseReason) -> None:
        self.shared.open.discard(self)
        with self.changed:
            self.reason = reason
            self.changed.notify_all()

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
        with self.changed:
            if self._may_end_with_peer:
                self._may_end_with_peer = False
                self._end_with_peer(False)
            came = self.changed.wait_for(
                lambda: self._waiting or self.reason is not None or self.has_finished, timeout
            )
            if not came:
                raise TimeoutError(f"no message was received within {timeout:g} s")
            if not self._waiting:
                raise ConnectionClosed.from_reason(self.reason or _FINISHED, self.address)
            message = self._waiting.popleft()
            self._bytes -= _length(message)
            if self._is_held and not self._waiting and self.native is not None:
                self._is_held = False
                with contextlib.suppress(RuntimeError):  # The loop may have ended.
                    self.shared.call_soon(self.native._hold_reading, False)
            return message

    def _end_with_peer(self, on: bool) -> None:
        """Let the peer's FIN be the end, whatever messages nobody receives stand before it."""
        if self.native is not None and self.reason is None:
            self.shared.call_soon(end_with_peer, self.native, on)

    def wait_closed(self, timeout: float | None) -> CloseReason:
        """Why the connection ended, once it has."""
        with self.changed:
            if self._may_end_with_peer:
                self._end_with_peer(True)
            self.changed.wait_for(lambda: self.reason is not None, timeout)
            if self.reason is None:
                raise TimeoutError(f"the connection has not ended within {timeout:g} s")
            return self.reason


_FINISHED = CloseReason("remote", "closed", text="the peer has finished sending")


def _length(message: Any) -> int:
    return len(message.data if isinstance(message, Part) else message)


class Connection:
    """An open connection whose methods wait. Any thread may use it, and several at a time.

    Made by `vespiary.sync.connect`; a context manager that closes it. Threads that receive at the
    same time each get some of the messages.

    A `timeout` in seconds bounds a method, and a TimeoutError or KeyboardInterrupt leaves the
    connection as it was: a `receive` that timed out loses no message, and a `send` that timed out
    has queued its message whole or not at all.

    Attributes:
        peer: The server's address.
        local_address: The address at this end.
        subprotocol: The WebSocket subprotocol that the handshake chose, if any.
        response_headers: The fields of the server's answer to the handshake.
        tls: What TLS has agreed on; None without it.
    """

    def __init__(self, shared: Background, mailbox: _Mailbox, native: NativeConnection) -> None:
        self._shared = shared
        self._mailbox = mailbox
        self._native = native
        self.peer, self.local_address = native.peer, native.local_address
        self.subprotocol, self.response_headers = native.subprotocol, native.response_headers
        self.tls = native.tls
        self._is_websocket = native.version is not None
        self._part_thread: int | None = None
        self._part_context = contextvars.Context()

    def send(self, message: str | Buffer, *, timeout: float | None = None) -> None:
        """Send a message; waits while more than `write_high_bytes` wait for the peer.

        A message that fits is handed to the loop's thread without waiting for it. So what goes
        wrong afterwards, because the connection breaks, is raised by the next call.

        Raises:
            ConnectionClosed: the connection is closing or has ended.
            WriteQueueFull: the message alone is over `write_bytes_max`.
            TimeoutError: the peer does not read fast enough.
        """
        check_seconds("timeout", timeout)
        # What passes here is not refused on the loop's thread, where no caller would see it.
        if (
            self._is_websocket
            and (type(message) is bytes or (type(message) is str and message.isascii()))
            and self._mailbox.allows(len(message))
        ):
            self._shared.check()
            self._native._send_soon(message)
        else:
            self._send(lambda: self._native.send(message), timeout)

    def send_part(
        self, data: str | Buffer, *, last: bool = False, timeout: float | None = None
    ) -> None:
        """Send a part of a message whose bytes become known as they are sent.

        Raises:
            ConnectionClosed: the connection is closing or has ended.
            WriteQueueFull: the part alone is over `write_bytes_max`.
            TimeoutError: the peer does not read fast enough.
            SendRefused: the framing has no parts to send, as with lines and length
                prefixes; or another thread is sending a message in parts.
        """
        check_seconds("timeout", timeout)

        thread = threading.get_ident()

        def act() -> None:
            if self._part_thread not in (None, thread):
                raise SendRefused(_NOT_THE_SENDER, self._mailbox.address)
            # The native side knows the sender by its context.
            self._part_context.run(self._native.send_part, data, last=last)
            self._part_thread = None if last or not self._is_websocket else thread
            self._mailbox.is_within_message = not last

        self._send(act, timeout)

    def send_end(self, *, timeout: float | None = None) -> None:
        """Send nothing more on a stream; receiving goes on.

        Raises:
            SendRefused: a WebSocket ends in both directions at once.
        """
        check_seconds("timeout", timeout)
        self._shared.call(self._native.send_end, timeout)

    def ping(self, payload: bytes = b"", *, timeout: float | None = None) -> float:
        """Send a WebSocket ping, and wait for the pong; returns the latency in seconds.

        Args:
            payload: At most 125 bytes; default: some that no other ping has.
            timeout: How long to wait at most, in seconds.

        Raises:
            ConnectionClosed: the connection ended without a pong.
            TimeoutError: none came in time.
        """
        check_seconds("timeout", timeout)

        async def latency() -> float:
            return await self._native.ping(payload)

        return self._shared.run(latency(), timeout)

    def receive(self, timeout: float | None = None) -> Any:
        """Wait for the next message: `str` for WebSocket text, `bytes`, or a `Part`.

        Raises:
            ConnectionClosed: the connection has ended, and every message before that was received.
            TimeoutError: none came in time.
        """
        check_seconds("timeout", timeout)
        self._shared.check()
        return self._mailbox.take(timeout)

    def __iter__(self) -> Iterator[Any]:
        """Every message until the connection ends.

        Raises:
            ConnectionBroken: it did not end cleanly, so messages may be missing.
        """
        while True:
            try:
                message = self.receive()
            except ConnectionClosed as error:
                if error.reason.kind == "broken":
                    raise
                return
            yield message

    def close(
        self, code: int = 1000, reason: str = "", *, timeout: float | None = None
    ) -> CloseReason:
        """End the connection cleanly, and wait for its end; returns why it ended.

        Threads that wait for a message get the end. Without a `timeout`, `close_seconds` and
        `write_seconds` bound it.

        Raises:
            ValueError: no such code may be sent, or the reason is too long (RFC 6455 section 5.5).
            TimeoutError: the connection is still closing.
        """
        check_seconds("timeout", timeout)
        self._shared.check()
        self._native.close(code, reason)
        return self._mailbox.wait_closed(timeout)

    def abort(self) -> None:
        """End the connection at once; what waits is dropped, and the peer sees a reset."""
        self._shared.check()
        self._native.abort()

    def wait_closed(self, timeout: float | None = None) -> CloseReason:
        """Wait until the connection has ended; returns why."""
        check_seconds("timeout", timeout)
        self._shared.check()
        return self._mailbox.wait_closed(timeout)

    @property
    def is_open(self) -> bool:
        """Whether the connection has not ended."""
        return self._mailbox.reason is None

    @property
    def close_reason(self) -> CloseReason | None:
        """Why the connection ended; None while it has not."""
        return self._mailbox.reason

    def statistics(self) -> ConnectionStatistics:
        """What has happened on this connection so far."""
        return self._shared.call(self._native.statistics)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> None:
        if self._shared.is_inherited:
            return
        if kind is None:
            self.close()
            return
        self._native.close()
        leaving = ended_in_time(self._native, self._mailbox.close_seconds)
        if issubclass(kind, Exception):
            self._shared.run(leaving)
        else:  # Anyone who was interrupted does not want to wait.
            self._shared.start(leaving)

    def __repr__(self) -> str:
        reason = self._mailbox.reason
        return f"<vespiary.sync.Connection {'open' if reason is None else reason}>"

    def __del__(self) -> None:
        mailbox = getattr(self, "_mailbox", None)
        if mailbox is None or mailbox.reason is not None or self._shared.is_inherited:
            return
        if not self._shared.is_stopped:
            # First, as a filter may make an exception of the warning; the loop may end meanwhile.
            with contextlib.suppress(RuntimeError):
                self._native.close()
            warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)

    def _send(self, act: Callable[[], object], timeout: float | None) -> None:
        began = time.monotonic()
        is_full_queue = self._shared.call(lambda: self._queue(act), timeout)
        if is_full_queue:
            left = None if timeout is None else max(0.0, timeout - (time.monotonic() - began))
            self._shared.run(self._wait_for_room(), left)
            if is_full_queue is _Full.NOT_QUEUED:
                self._shared.call(act, timeout)

    def _queue(self, act: Callable[[], object]) -> _Full | None:
        """Queue something, on the loop's thread; whether to wait for room."""
        try:
            act()
        except WriteQueueFull as error:
            if error.message_bytes >= error.write_bytes_max:
                raise
            return _Full.NOT_QUEUED
        self._mailbox.unwatched_bytes = 0
        is_full_queue = self._native.queued_bytes > self._mailbox.limits.write_high_bytes
        return _Full.QUEUED if is_full_queue else None

    async def _wait_for_room(self) -> None:
        # That the connection has ended is for the next call to tell: the message was queued.
        with contextlib.suppress(ConnectionClosed):
            await self._native.drain()


_NOT_THE_SENDER = (
    "another thread is sending a message in parts on this connection, and this part would become a"
    " part of it: send all parts of a message in one thread, and hold a threading.Lock meanwhile"
    " where several send such messages"
)


class _Full(enum.Enum):
    """More waits for the peer than should."""

    QUEUED = enum.auto()
    NOT_QUEUED = enum.auto()
