"""A client for plain tests: it drives a handler in memory, and time is virtual.

Everything runs in the test's own thread, in a simulated loop that runs while one of these methods
waits. So a test is the same each time, and takes no time to wait for timeouts.
"""

from __future__ import annotations

import asyncio
import dataclasses
import http.client
import io
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, Unpack, cast

from vespiary._core import Connection
from vespiary._faults import FaultNames, Faults
from vespiary._header_lines import HeaderFields, header_lines
from vespiary.client import ClientOptions, connect
from vespiary.endpoint import Endpoint
from vespiary.errors import CloseReason, ConnectionClosed
from vespiary.handler import AnyHandler
from vespiary.limits import Deadlines
from vespiary.request import Headers
from vespiary.server import Server
from vespiary.server_options import ServerOptions
from vespiary.testing._server import address_of, take_framing
from vespiary.testing._simulation import new_loop, seed_note

__all__ = ["TestClient", "TestConnection", "TestResponse"]

T = TypeVar("T")
M = TypeVar("M")

TIMEOUT_SECONDS = 60.0
"""How many virtual seconds a method waits by default."""


@dataclass(frozen=True, slots=True)
class TestResponse:
    """A handler's answer to an HTTP request.

    Attributes:
        status: The status code.
        headers: The header fields.
        body: The body.
    """

    __test__ = False

    status: int
    headers: Headers
    body: bytes

    @property
    def text(self) -> str:
        """The body, as UTF-8."""
        return self.body.decode()


class TestClient:
    """Drives a handler from a plain test: no sockets, no threads, no waiting.

    ::

        def test_echo_answers():
            with TestClient(Echo()) as client, client.connect() as connection:
                connection.send("hello")
                assert connection.receive() == "hello"

    Args:
        handler: As for `Server.add`; or a `Server` that has its endpoints already.
        url: Where the handler is served in the simulated network.
        seed: What chance follows from; see `vespiary.testing.run`.
        faults: What goes wrong: `lossless`, `harsh` or `vespiary.testing.Faults`. Default: nothing.
        options: Those of `Server.add`.

    Attributes:
        server: The server.
    """

    __test__ = False

    def __init__(
        self,
        handler: AnyHandler | Server,
        url: str = "ws://127.0.0.1:80",
        *,
        seed: int | None = None,
        faults: Faults | FaultNames | None = None,
        **options: Unpack[ServerOptions],
    ) -> None:
        if isinstance(handler, Server):
            if options:
                raise TypeError(
                    "a Server already has its options: pass them to Server.add; got"
                    f" {', '.join(options)}"
                )
            self.server = handler
        else:
            self.server = Server()
            self.server.add(handler, url, **options)
        self._seed = seed
        self._faults = faults
        self._runner: asyncio.Runner | None = None

    def connect(
        self,
        path: str = "",
        *,
        url: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
        **options: Unpack[ClientOptions],
    ) -> TestConnection[Any]:
        """Connect to the handler.

        Args:
            path: Path and query, where the handler is served at `ws`.
            url: Another endpoint of the server. Default: its first.
            timeout: Virtual seconds until TimeoutError.
            options: Those of `vespiary.connect`. Default for a stream's framing: the endpoint's.

        Raises:
            HandshakeRefused: the handler refused the request.
            OSError: the connection was refused.
        """
        base = url or self.server.urls[0]
        target = address_of(base, path)
        take_framing(self.server, base, options)

        async def open_it() -> Connection[Any]:
            return await connect(target, **options)

        return TestConnection(self, self.run(open_it(), timeout=timeout))

    def request(
        self,
        method: str,
        path: str = "/",
        *,
        headers: HeaderFields = (),
        body: bytes = b"",
        url: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> TestResponse:
        """Send an HTTP request, for `on_request` to answer.

        Args:
            method: `GET` and so on.
            path: Path and query.
            headers: Header fields: a mapping, or pairs. `Host` is added if it is not among them,
                and
                `Connection: close`.
            body: The body, sent with its Content-Length.
            url: Another endpoint of the server. Default: its first.
            timeout: Virtual seconds until TimeoutError.

        Raises:
            ConfigurationError: the headers are neither a mapping nor pairs of `str`.
            OSError: the connection was refused.
            TimeoutError: there was no response in time.
        """
        endpoint = Endpoint.parse(url or self.server.urls[0])
        lines = [("Connection", "close"), *header_lines(headers)]
        if all(name.lower() != "host" for name, _ in lines):
            lines.insert(0, ("Host", endpoint.host_header))
        if body:
            lines.append(("Content-Length", str(len(body))))
        head = "".join(f"{name}: {value}\r\n" for name, value in lines)
        asked = f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body
        return self.run(_ask(endpoint, method, asked), timeout=timeout)

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.run(asyncio.sleep(seconds), timeout=seconds + TIMEOUT_SECONDS)

    def run(self, coroutine: Coroutine[Any, Any, T], *, timeout: float = TIMEOUT_SECONDS) -> T:
        """Run a coroutine in the simulated loop, and return its result.

        Raises:
            TimeoutError: it takes longer than `timeout` virtual seconds.
            RuntimeError: the client is not in its `with` block.
            Exception: what the coroutine raises.
        """
        try:
            if self._runner is None:
                raise RuntimeError(
                    "a TestClient is used in a block: with TestClient(...) as client:"
                )
            return self._runner.run(asyncio.wait_for(coroutine, timeout))
        finally:
            coroutine.close()

    def __enter__(self) -> Self:
        if asyncio._get_running_loop() is not None:
            raise RuntimeError(
                "TestClient is for plain tests, but an event loop is running: use "
                "vespiary.testing.serve in an async test"
            )
        if self._runner is not None:
            raise RuntimeError(
                "this TestClient is already in use: create another TestClient for a "
                "simulation inside its block"
            )
        loop = new_loop(self._seed, self._faults)
        self._seed = loop.seed
        self._runner = asyncio.Runner(loop_factory=lambda: loop)
        try:
            self.run(self.server.start())
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._runner is not None
        if isinstance(error, Exception):
            error.add_note(seed_note(self._seed, self._faults))
        try:
            self.run(self.server.stop())
        finally:
            self._runner.close()
            self._runner = None


class TestConnection(Generic[M]):
    """The client's end of a connection to the handler under test. A context manager.

    `timeout` is in virtual seconds: waiting without success for an hour takes no time.
    """

    __test__ = False

    def __init__(self, client: TestClient, native: Connection[M]) -> None:
        self._client = client
        self.native = native

    def send(self, message: str | bytes) -> None:
        """Send a message, and let the handler's side run until it has been sent.

        Raises:
            ConnectionClosed: the connection has ended.
        """
        self._do(lambda: self.native.send(message))

    def send_end(self) -> None:
        """Send nothing more on a stream; receiving continues.

        Raises:
            ConnectionClosed: the connection has ended.
            SendRefused: a WebSocket ends in both directions at once.
        """
        self._do(self.native.send_end)

    def receive(self, timeout: float = TIMEOUT_SECONDS) -> M:
        """The next message.

        Raises:
            ConnectionClosed: the connection has ended.
            TimeoutError: no message came in time.
        """

        async def next_message() -> M:
            return await self.native.receive()

        try:
            return self._client.run(next_message(), timeout=timeout)
        except TimeoutError:
            raise TimeoutError(f"no message came within {timeout:g} virtual seconds") from None

    def __iter__(self) -> Iterator[M]:
        """Every message until the connection ends.

        Raises:
            ConnectionBroken: it did not end cleanly.
        """
        while True:
            try:
                message = self.receive()
            except ConnectionClosed as error:
                if error.reason.kind == "broken":
                    raise
                return
            yield message

    def close(self, code: int = 1000, reason: str = "") -> CloseReason:
        """Close the connection, wait for its end, and return the reason.

        Raises:
            TimeoutError: it has not ended in time.
        """
        self._do(lambda: self.native.close(code, reason))
        return self.wait_closed()

    def abort(self) -> None:
        """End at once, so that the handler sees a reset."""
        self._do(self.native.abort)

    def wait_closed(self, timeout: float = TIMEOUT_SECONDS) -> CloseReason:
        """Wait until the connection has ended; returns why.

        Raises:
            TimeoutError: it has not ended in time.
        """

        async def ended() -> CloseReason:
            return await self.native.wait_closed()

        return self._client.run(ended(), timeout=timeout)

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self.native.is_open

    @property
    def subprotocol(self) -> str | None:
        """The WebSocket subprotocol that the handshake chose, if any."""
        return self.native.subprotocol

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abort()

    def _do(self, act: Any) -> None:
        """Do something in the loop, and let it take a turn."""

        async def here() -> None:
            act()
            await asyncio.sleep(0)

        self._client.run(here())


async def _ask(endpoint: Endpoint, method: str, asked: bytes) -> TestResponse:
    """Send a request and take the answer apart (RFC 9112)."""
    where = endpoint
    if endpoint.scheme != "unix":
        where = dataclasses.replace(endpoint, scheme="tcp", target="")
    received = bytearray()
    deadlines = Deadlines(close_seconds=1.0)
    async with connect(str(where), deadlines=deadlines) as connection:
        connection.send(asked)
        try:
            async for part in connection:
                received += cast("bytes", part)
        except ConnectionClosed:
            if not received:
                raise
    answer = http.client.HTTPResponse(cast("Any", _Received(bytes(received))), method=method)
    answer.begin()
    body = answer.read()
    return TestResponse(answer.status, Headers(answer.getheaders()), body)


class _Received:
    """What `http.client` reads an answer from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        """The bytes, as a file."""
        del mode
        return io.BytesIO(self._data)
