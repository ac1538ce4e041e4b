"""A client without a loop: connections that block, for scripts, tests and threads.

::

    with vespiary.sync.connect("ws://127.0.0.1:9001") as connection:
        connection.send("hello")
        print(connection.receive(timeout=5))

It is the same client as `vespiary.connect`, with the same limits and deadlines, on a loop that all
synchronous connections of the process share (see `vespiary._background`). Messages are taken from
the network as they arrive, and wait until you receive them. When `inbox_messages_max` messages or
`inbox_bytes_max` bytes wait, reading pauses, and TCP slows the peer down.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import enum
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self, Unpack

from vespiary._background import Background, NotInTime, background
from vespiary._credentials import bare_url
from vespiary._mailbox import Mailbox, Part
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
        parts: Receive parts of messages as they arrive (`Part`), regardless of the messages' size.
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
    mailbox = Mailbox(options.get("limits") or Limits(), deadlines.close_seconds)
    hooks = mailbox.hooks(options, parts=parts)
    made = connecting(url, hooks, options, reads_when_crowded=True).used()
    mailbox.guard_filters(made.hooks)
    shared = mailbox.shared = background()
    shared.check()
    _check_no_loop_runs()
    try:
        native = shared.run(mailbox.open(made), timeout)
        return Connection(shared, mailbox, native)
    except NotInTime:
        mailbox.abandon()
        text = f"cannot connect to {bare_url(url)}: it was not open within {timeout:g} s"
        raise TimeoutError(text) from None
    except BaseException:
        mailbox.abandon()
        raise


def _check_no_loop_runs() -> None:
    """Check that no loop of Vespiary's runs in this thread: it serves nothing while this waits."""
    if isinstance(asyncio._get_running_loop(), Loop):
        raise RuntimeError(
            "vespiary.sync.connect would block the loop that runs in this thread, with its servers"
            " and connections: await vespiary.connect(...) instead, or call it in another thread"
            " (asyncio.to_thread)"
        )


class Connection:
    """An open connection whose methods wait. Any thread may use it, and several at a time.

    Made by `vespiary.sync.connect`; a context manager that closes it. Threads that receive at the
    same time each get some of the messages.

    All methods take a `timeout` in seconds. A TimeoutError or KeyboardInterrupt does not damage the
    connection: a `receive` that timed out loses no message, and a `send` that timed out has queued
    its message completely or not at all.

    Attributes:
        peer: The server's address.
        local_address: The address at this end.
        subprotocol: The WebSocket subprotocol that the handshake chose, if any.
        response_headers: The fields of the server's answer to the handshake.
        tls: What TLS has agreed on; None without it.
    """

    def __init__(self, shared: Background, mailbox: Mailbox, native: NativeConnection) -> None:
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
        """Send a message. Blocks while more than `write_high_bytes` are queued for the peer.

        If there is room in the queue, `send` returns before the message is sent. If the connection
        then breaks, the next call raises the error.

        Raises:
            ConnectionClosed: the connection is closing or has ended.
            WriteQueueFull: the message is larger than `write_bytes_max`.
            TimeoutError: the peer does not read fast enough.
        """
        check_seconds("timeout", timeout)
        # Only messages that the loop's thread cannot refuse: the caller would not see its error.
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
        """Send the next part of a message that you produce piece by piece.

        Raises:
            ConnectionClosed: the connection is closing or has ended.
            WriteQueueFull: the part is larger than `write_bytes_max`.
            TimeoutError: the peer does not read fast enough.
            SendRefused: the framing has no parts to send, as with lines and length
                prefixes; or another thread is sending a message in parts.
        """
        check_seconds("timeout", timeout)

        thread = threading.get_ident()

        def act() -> None:
            if self._part_thread not in (None, thread):
                raise SendRefused(_NOT_THE_SENDER, self._mailbox.address)
            # The native side tells senders apart by their context.
            self._part_context.run(self._native.send_part, data, last=last)
            self._part_thread = None if last or not self._is_websocket else thread
            self._mailbox.is_within_message = not last

        self._send(act, timeout)

    def send_end(self, *, timeout: float | None = None) -> None:
        """Finish sending on a stream. You can still receive.

        Raises:
            SendRefused: a WebSocket ends in both directions at once.
        """
        check_seconds("timeout", timeout)
        self._shared.call(self._native.send_end, timeout)

    def ping(self, payload: bytes = b"", *, timeout: float | None = None) -> float:
        """Send a WebSocket ping, and wait for the pong; returns the latency in seconds.

        Args:
            payload: At most 125 bytes. Default: a payload that no other ping has.
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
        """Close the connection cleanly, wait until it has ended, and return the close reason.

        Threads that wait for a message are woken, and their `receive` raises ConnectionClosed.
        Without a `timeout`, `close_seconds` and `write_seconds` limit the time.

        Raises:
            ValueError: no such code may be sent, or the reason is too long (RFC 6455 section 5.5).
            TimeoutError: the connection is still closing.
        """
        check_seconds("timeout", timeout)
        self._shared.check()
        self._native.close(code, reason)
        return self._mailbox.wait_closed(timeout)

    def abort(self) -> None:
        """Reset the connection at once. Queued messages are dropped."""
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
        """Why the connection ended; None while it is open."""
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
            # Before the warning, which may be turned into an exception. The loop may have ended.
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
        # The message was queued. If the connection has ended, the next call raises.
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
