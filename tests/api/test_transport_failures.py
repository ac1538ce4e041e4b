"""What goes wrong on native transports: exceptions, dead peers, misuse."""

import asyncio
import gc
import socket
import threading
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.waiting import until
from vespiary.loop import Loop

from .transports import KINDS, Recorder, connected, run


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """What the sockets are."""
    return str(request.param)


def test_what_cannot_be_written_is_a_type_error(driver: str, kind: str) -> None:
    async def main() -> None:
        async with connected(Recorder(), kind) as (transport, _):
            for wrong in ("text", None, 5):
                with pytest.raises(TypeError, match="bytes-like"):
                    transport.write(wrong)
            with pytest.raises(TypeError):
                transport.write()
            transport.write(b"")
            transport.write_eof()
            with pytest.raises(RuntimeError, match="write_eof"):
                transport.write(b"more")

    run(main(), driver)


def test_a_dead_peer_is_an_error_of_the_connection(driver: str) -> None:
    async def main() -> None:
        protocol = Recorder()
        server = await asyncio.get_running_loop().create_server(lambda: protocol, "127.0.0.1", 0)
        client = socket.create_connection(server.sockets[0].getsockname())
        await until(lambda: hasattr(protocol, "transport"))
        # RST instead of FIN.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        await until(lambda: protocol.lost)
        assert isinstance(protocol.lost[0], ConnectionResetError)
        for _ in range(8):
            protocol.transport.write(b"nobody gets it")
        server.close()

    run(main(), driver)


class Faulty(Recorder):
    """One of its methods raises."""

    def __init__(self, method: str) -> None:
        super().__init__()
        setattr(self, method, self._fail)

    def _fail(self, *_arguments: object) -> None:
        raise ZeroDivisionError("planted")


class FaultyBuffered(asyncio.BufferedProtocol):
    """One of its two methods raises, or its buffer has no room."""

    def __init__(self, method: str) -> None:
        self.lost: list[Exception | None] = []
        self.method = method

    def get_buffer(self, _sizehint: int) -> bytearray:
        if self.method == "get_buffer":
            raise ZeroDivisionError("planted")
        return bytearray(0 if self.method == "no room" else 100)

    def buffer_updated(self, _nbytes: int) -> None:
        raise ZeroDivisionError("planted")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Faulty("data_received"),
        lambda: Faulty("eof_received"),
        lambda: FaultyBuffered("get_buffer"),
        lambda: FaultyBuffered("buffer_updated"),
        lambda: FaultyBuffered("no room"),
    ],
)
def test_an_exception_of_a_protocol_is_reported_and_ends_the_connection(
    driver: str, kind: str, make: Callable[[], Any]
) -> None:
    async def main() -> None:
        reports: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: reports.append(context))
        protocol = make()
        async with connected(protocol, kind) as (transport, theirs):
            theirs.send(b"hello")
            theirs.shutdown(socket.SHUT_WR)
            await until(lambda: protocol.lost)
            assert len(reports) == 1
            assert reports[0]["transport"] is transport
            assert reports[0]["protocol"] is protocol
            assert "call failed" in reports[0]["message"]
            assert protocol.lost == [reports[0]["exception"]]

    run(main(), driver)


def test_the_exception_of_a_callback_is_reported_and_the_loop_runs_on(driver: str) -> None:
    async def main() -> None:
        reports: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: reports.append(context))
        handle = loop.call_soon(lambda: 1 // 0)
        ran = asyncio.Event()
        loop.call_soon(ran.set)
        await ran.wait()
        assert len(reports) == 1
        assert reports[0]["handle"] is handle
        assert isinstance(reports[0]["exception"], ZeroDivisionError)
        assert "lambda" in reports[0]["message"]

    run(main(), driver)


def test_keyboard_interrupt_of_a_protocol_ends_the_loop(loop: Loop) -> None:
    class Interrupted(Recorder):
        def data_received(self, data: bytes) -> None:
            self.transport.write(b"written before")
            raise KeyboardInterrupt

    ours, theirs = socket.socketpair()
    protocol = Interrupted()
    transport, _ = loop.run_until_complete(loop.create_connection(lambda: protocol, sock=ours))
    with theirs:
        theirs.send(b"hello")
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        theirs.setblocking(False)
        assert theirs.recv(100) == b"written before"
        transport.abort()
        loop.run_until_complete(asyncio.sleep(0))


def test_debug_mode_refuses_calls_from_other_threads_and_reports_slow_callbacks(
    driver: str, whole_log: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        refused: list[BaseException] = []

        def call() -> None:
            for act in (partial(loop.call_soon, print), partial(loop.call_later, 1, print)):
                try:
                    act()
                except RuntimeError as error:
                    refused.append(error)

        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        assert ["Non-thread-safe" in str(error) for error in refused] == [True, True]
        with pytest.raises(TypeError, match="coroutines cannot be used"):
            loop.call_soon(main)
        loop.slow_callback_duration = 0.0
        handle = loop.call_soon(len, "")
        assert handle._source_traceback  # type: ignore[attr-defined]
        assert handle._source_traceback[-1].name == "main"  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    run(main(), driver, debug=True)
    assert any("Executing <Handle" in text for text in whole_log.messages)


def test_a_transport_that_is_forgotten_is_warned_of(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    connecting = loop.create_connection(asyncio.Protocol, sock=ours)
    transport, _ = loop.run_until_complete(connecting)
    with theirs, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop.close()
        del transport
        gc.collect()
    assert any("unclosed transport" in str(warning.message) for warning in caught)
