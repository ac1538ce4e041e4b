"""The exceptions of Vespiary, and `CloseReason`, which says why a connection ended.

::

    Exception
     +-- VespiaryError
          +-- ConfigurationError       an option or argument is not valid; also a ValueError
          |    +-- EndpointError       the URL of an endpoint
          |    +-- LimitsError         a field of Limits or Deadlines
          +-- ConnectionClosed         the connection has ended: see its `reason`
          |    +-- LocalClosed         cleanly, by this end
          |    +-- RemoteClosed        cleanly, by the peer
          |    +-- ConnectionBroken
          |         +-- LocalError     by this end: a limit, a deadline, a rule
          |         +-- RemoteError    by the peer or the network
          +-- HandshakeRefused         the server refused the handshake
          |    +-- RedirectRefused     it redirected, and that is not followed
          |    +-- ProxyRefused        a proxy did not open the way to the server
          +-- SendRefused              this message was not accepted; others may be
          |    +-- WriteQueueFull
          +-- ReceiveConflict          two receivers on one connection
          +-- ThreadCallsFull          the loop runs no calls of other threads
          +-- DriverUnavailable        the driver that was forced is not available
          +-- WorkerFailed             a worker process could not start
          +-- ApplicationFailed        an ASGI application could not start

The text of an exception says what happened and what to do, and its attributes contain the facts.
The text is one line that can be logged and shown: control characters from a peer are escaped. The
attributes contain them unchanged. Errors of the operating system (an address in use, a refused
connection) are an `OSError`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from vespiary._counted import counted
from vespiary._credentials import bare_url
from vespiary._printable import escaped
from vespiary.close_code import CloseCode
from vespiary.headers import Headers

__all__ = [
    "ApplicationFailed",
    "CloseReason",
    "ConfigurationError",
    "ConnectionBroken",
    "ConnectionClosed",
    "DriverUnavailable",
    "EndpointError",
    "HandshakeRefused",
    "LimitsError",
    "LocalClosed",
    "LocalError",
    "ProxyRefused",
    "ReceiveConflict",
    "Redirect",
    "RedirectRefused",
    "RemoteClosed",
    "RemoteError",
    "SendRefused",
    "ThreadCallsFull",
    "VespiaryError",
    "WorkerFailed",
    "WriteQueueFull",
]


@dataclass(frozen=True, slots=True)
class CloseReason:
    """Why a connection ended: which end closed it, whether cleanly, and with which code and text.

    Attributes:
        side: `local` if this end ended the connection, `remote` if the peer or the network did.
        kind: `closed` if the end was clean, `broken` if the reason was an error, a limit, a
            deadline or a violation of the protocol. If the peer closes a WebSocket, the end is
            clean with the codes 1000, 1001, 1012 or no code. With any other code, including the
            codes of applications (3000 to 4999), it is broken. For the end that sends the code, it
            is clean in each case.
        code: The WebSocket close code (RFC 6455 section 7.4). 1006 if the connection ended without
            a close frame: after a reset, `abort()`, a limit, or silence. None on streams, and for
            a connection that was never open.
        text: What happened, as a sentence. For a close frame from the peer, the text in this frame.
        error: The error that the kernel reported, if any.
        status: The HTTP status of a refused handshake, where there is one.
    """

    side: Literal["local", "remote"]
    kind: Literal["closed", "broken"]
    code: int | None = None
    text: str = ""
    error: OSError | None = field(default=None, compare=False)
    status: int | None = None

    def __str__(self) -> str:
        who = "this end" if self.side == "local" else "the peer"
        words = [f"{self.kind} by {who}"]
        if self.code is not None and self.code != CloseCode.ABNORMAL:
            words.append(f"with code {self.code}")
        if self.status is not None:
            words.append(f"with HTTP status {self.status}")
        story = self.text or (str(self.error) if self.error else "")
        return " ".join(words) + (f": {escaped(story)}" if story else "")


class VespiaryError(Exception):
    """The base class of all exceptions of Vespiary."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class ConfigurationError(VespiaryError, ValueError):
    """An option, an argument or a combination of them is not valid. Nothing was started.

    Attributes:
        subject: The name of what is wrong: a URL, a field, an option.
        value: The value it had.
    """

    def __init__(self, text: str, *, subject: str = "", value: object = None) -> None:
        super().__init__(text)
        self.subject = subject
        self.value = value


class EndpointError(ConfigurationError):
    """The URL of an endpoint cannot be served or connected to."""


class LimitsError(ConfigurationError):
    """A field of `Limits` or `Deadlines` has a value that is not valid."""


class ConnectionClosed(VespiaryError):
    """The connection has ended.

    Attributes:
        reason: Why the connection ended.
        address: The peer, as `host:port` or a path; empty when it is not known.
    """

    def __init__(self, reason: CloseReason, address: str = "") -> None:
        super().__init__(reason, address)
        self.reason = reason
        self.address = address

    def __str__(self) -> str:
        peer = f" to {escaped(self.address)}" if self.address else ""
        return f"the connection{peer} was {self.reason}"

    @property
    def code(self) -> int | None:
        """The WebSocket close code, where there is one."""
        return self.reason.code

    @staticmethod
    def from_reason(reason: CloseReason, address: str = "") -> "ConnectionClosed":
        """The exception of the class that belongs to the reason."""
        return _CLOSED_CLASSES[reason.side, reason.kind](reason, address)


class LocalClosed(ConnectionClosed):
    """This end closed the connection cleanly, with `close()` and any code."""


class RemoteClosed(ConnectionClosed):
    """The peer closed the connection cleanly: on a WebSocket with 1000, 1001, 1012 or no code."""


class ConnectionBroken(ConnectionClosed):
    """The connection did not end cleanly; messages may be lost."""


class LocalError(ConnectionBroken):
    """This end ended the connection: a limit, a deadline, a protocol error, or a failed handler."""


class RemoteError(ConnectionBroken):
    """The peer or the network broke the connection.

    On a WebSocket this includes a close frame with a code other than 1000, 1001 and 1012: 1011,
    1013, or an application's own (3000 to 4999). `code` has it.
    """


_CLOSED_CLASSES: Mapping[tuple[str, str], type[ConnectionClosed]] = {
    ("local", "closed"): LocalClosed,
    ("remote", "closed"): RemoteClosed,
    ("local", "broken"): LocalError,
    ("remote", "broken"): RemoteError,
}


@dataclass(frozen=True, slots=True)
class Redirect:
    """A redirect during a handshake.

    Attributes:
        url: The URL that redirected.
        status: The status of the redirect.
        location: The target, as the server sent it.
    """

    url: str
    status: int
    location: str

    def __str__(self) -> str:
        place, location = escaped(bare_url(self.url)), bare_url(self.location)
        return f"{place} redirected to {location!r} with HTTP status {self.status}"


class HandshakeRefused(VespiaryError):
    """The server answered the opening handshake, and refused it.

    Attributes:
        status: The HTTP status of its answer.
        reason: The body of the answer, or what was wrong with the answer.
        address: The server, as `host:port`; empty when it is not known.
        headers: The fields of its answer, found by name without regard to case.
        body: The body of the answer, up to 4 KiB of it.
        redirects: The redirects that led to this server.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        address: str = "",
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        redirects: tuple[Redirect, ...] = (),
    ) -> None:
        lines = tuple(headers)
        super().__init__(status, reason, address, lines, body, redirects)
        self.status = status
        self.reason = reason
        self.address = address
        self.headers = Headers(lines)
        self.body = body
        self.redirects = redirects

    def __str__(self) -> str:
        server = self.address or "the server"
        told = f": {self.reason}" if self.reason else ""
        steps = "".join(f"; {step}" for step in self.redirects)
        text = f"{server} refused the handshake with HTTP status {self.status}{told}{steps}"
        return escaped(text)


class RedirectRefused(HandshakeRefused):
    """The server redirected the handshake, and this client did not follow.

    The last of `redirects` is the redirect that was not followed. `reason` says why.
    """

    @classmethod
    def of(
        cls, answer: HandshakeRefused, why: str, redirects: tuple[Redirect, ...]
    ) -> "RedirectRefused":
        """The exception for an answer that is a redirect."""
        reason = f"the redirect is not followed: {why}"
        lines = answer.headers.lines
        return cls(answer.status, reason, answer.address, lines, answer.body, redirects)


class ProxyRefused(HandshakeRefused):
    """The proxy did not open a tunnel to the server.

    `status`, `headers` and `body` are from the proxy's answer, and `address` is the proxy's
    URL. `status` is 0 if the proxy closed the connection, or if its answer was not valid HTTP.
    """

    def __str__(self) -> str:
        return escaped(f"no tunnel through {self.address or 'the proxy'}: {self.reason}")


class SendRefused(VespiaryError):
    """A message cannot be sent. The connection stays open.

    Attributes:
        text: Why, and what to do.
        address: The peer; empty when it is not known.
    """

    def __init__(self, text: str, address: str = "") -> None:
        super().__init__(text, address)
        self.text = text
        self.address = address

    def __str__(self) -> str:
        return escaped(f"{self.text} (peer {self.address})" if self.address else self.text)


class WriteQueueFull(SendRefused):
    """The write queue is full, because the peer reads too slowly.

    This is raised only with the policy `slow_consumer="wait"`. The other policies drop messages or
    disconnect.

    Attributes:
        queued_bytes: How many bytes wait to be sent.
        write_bytes_max: The limit that was reached.
        message_bytes: Bytes of the message that was not queued; 0 if this is not known.
    """

    def __init__(
        self, queued_bytes: int, write_bytes_max: int, address: str = "", message_bytes: int = 0
    ) -> None:
        if message_bytes >= write_bytes_max:
            text = (
                f"a message of {counted(message_bytes, 'byte')} is more than may ever wait"
                f" (write_bytes_max is {write_bytes_max}): raise the limit, or send it in parts"
                " with send_part(), awaiting drain() between them"
            )
        else:
            more = f"{message_bytes} more" if message_bytes else "more"
            overhead = ""
            if queued_bytes + message_bytes < write_bytes_max:
                overhead = ", including the memory that the queue needs for its pieces,"
            text = (
                f"the write queue has {counted(queued_bytes, 'byte')} that the peer does not read,"
                f" and {more}{overhead}"
                f" would exceed write_bytes_max ({write_bytes_max}): await connection.drain()"
                " between sends, or raise the limit"
            )
        super().__init__(text, address)
        # pickle and copy pass these to `__init__` to make the exception again.
        self.args = (queued_bytes, write_bytes_max, address, message_bytes)
        self.queued_bytes = queued_bytes
        self.write_bytes_max = write_bytes_max
        self.message_bytes = message_bytes


class ReceiveConflict(VespiaryError):
    """Two tasks wait for messages of the same connection, but only one may.

    Attributes:
        address: The peer; empty when it is not known.
    """

    def __init__(self, address: str = "") -> None:
        super().__init__(address)
        self.address = address

    def __str__(self) -> str:
        peer = f" from {escaped(self.address)}" if self.address else ""
        return (
            f"another task already waits for messages{peer} (a cancelled one has to be awaited"
            " first): let one task receive,"
            " and hand the messages on with an asyncio.Queue"
        )


class ThreadCallsFull(VespiaryError):
    """Too many calls of other threads wait for the loop.

    Attributes:
        waiting_calls: How many calls wait.
        waiting_bytes: Bytes of the messages among them.
    """

    def __init__(self, waiting_calls: int, waiting_bytes: int) -> None:
        super().__init__(waiting_calls, waiting_bytes)
        self.waiting_calls = waiting_calls
        self.waiting_bytes = waiting_bytes

    def __str__(self) -> str:
        return (
            f"{counted(self.waiting_calls, 'call')} of other threads, with"
            f" {counted(self.waiting_bytes, 'byte')} of messages, cannot be run by the loop, which"
            " has not run any for 10 s: something"
            " blocks it, such as a handler that waits for this thread"
        )


class DriverUnavailable(VespiaryError):
    """The driver does not work on this machine.

    Attributes:
        driver: Its name: `uring` or `epoll`.
        why: The error of the kernel.
    """

    def __init__(self, driver: str, why: str) -> None:
        super().__init__(driver, why)
        self.driver = driver
        self.why = why

    def __str__(self) -> str:
        return (
            f"the driver {self.driver!r} does not work here: {self.why};"
            " set neither driver= nor VESPIARY_DRIVER to use a driver that does"
        )


class WorkerFailed(VespiaryError):
    """A worker process could not start, so the server has stopped; see `vespiary.workers`.

    Attributes:
        worker: The number of the worker.
        why: What happened.
    """

    def __init__(self, worker: int, why: str) -> None:
        super().__init__(worker, why)
        self.worker = worker
        self.why = why

    def __str__(self) -> str:
        return f"worker {self.worker} could not start: {self.why}"


class ApplicationFailed(VespiaryError):
    """An ASGI application could not start, so the server has not started.

    Attributes:
        why: The message of the application, or the exception that it raised.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"the application's startup failed: {escaped(self.why)}"
