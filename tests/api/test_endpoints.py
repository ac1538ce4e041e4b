"""Endpoints: addresses of every kind, adding and starting, stopping and draining."""

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import threading
from pathlib import Path

import pytest

import vespiary
from tests.waiting import signal_when_asleep

from .kit import (
    OWN_TCP,
    OWN_WS,
    TCP,
    WS,
    Echo,
    Recorder,
    echo,
    forever,
    serving,
    turns,
    until,
    wait_until,
)


async def say_hello(url: str) -> None:
    async with vespiary.connect(url) as client:
        client.send(b"hello")
        assert await client.receive() == b"hello"


async def test_port_0_is_replaced_by_the_kernels_choice() -> None:
    async with serving(Echo, TCP) as server:
        port = int(server.urls[0].rpartition(":")[2])
        assert port > 0
        await say_hello(server.urls[0])


async def test_ipv6_is_served() -> None:
    async with serving(Echo, "ws://[::1]:0/") as server:
        assert server.urls[0].startswith("ws://[::1]:")
        async with vespiary.connect(server.urls[0]) as client:
            assert client.peer is not None
            assert client.peer[0] == "::1"
        await say_hello(server.urls[0])


async def test_names_are_served() -> None:
    async with serving(Echo, "tcp://localhost:0") as server:
        await say_hello(server.urls[0])


async def test_every_interface_can_be_served() -> None:
    async with serving(Echo, "tcp://0.0.0.0:0") as server:
        await say_hello(server.urls[0].replace("0.0.0.0", "127.0.0.5"))


async def test_unix_sockets_are_served_and_their_file_goes_with_them(tmp_path: Path) -> None:
    path = tmp_path / "echo.sock"
    async with serving(Echo, f"unix://{path}") as server:
        assert path.is_socket()
        assert server.urls == [f"unix://{path}"]
        async with vespiary.connect(server.urls[0]) as client:
            assert client.peer == str(path)
            client.send(b"hello")
            assert await client.receive() == b"hello"
    assert not path.exists()


async def test_a_unix_socket_that_a_dead_server_left_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "left.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.listen()
    left.close()
    async with serving(Echo, f"unix://{path}") as server:
        await say_hello(server.urls[0])


async def test_a_unix_socket_that_somebody_serves_is_not_taken(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/busy.sock"
    async with serving(Echo, url) as server:
        other = vespiary.Server()
        other.add(Echo, url)
        with pytest.raises(OSError, match="cannot listen") as refused:
            await other.start()
        assert refused.value.errno == errno.EADDRINUSE
        await say_hello(server.urls[0])


async def test_a_file_that_is_not_a_socket_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("keep me")
    server = vespiary.Server()
    server.add(Echo, f"unix://{path}")
    with pytest.raises(OSError, match="cannot listen"):
        await server.start()
    assert path.read_text() == "keep me"


async def test_an_address_can_be_served_again_at_once() -> None:
    async with serving(Echo, TCP) as server:
        url = server.urls[0]
        await say_hello(url)
        client = await vespiary.connect(url)
    assert (await client.wait_closed()).side == "remote"
    for _ in range(3):
        async with serving(Echo, url):
            await say_hello(url)


async def test_an_address_in_use_is_reported_and_nothing_listens() -> None:
    async with serving(Echo, OWN_TCP) as server:
        other = vespiary.Server()
        other.add(Echo, OWN_TCP)
        other.add(Echo, server.urls[0])
        with pytest.raises(OSError, match="another process listens there") as refused:
            await other.start()
        assert refused.value.errno == errno.EADDRINUSE
        with pytest.raises(ConnectionRefusedError):
            await vespiary.connect(other.urls[0])


async def test_reuse_port_shares_a_port() -> None:
    async with (
        serving(Echo, TCP, reuse_port=True) as one,
        serving(Echo, one.urls[0], reuse_port=True) as other,
    ):
        for _ in range(20):
            await say_hello(one.urls[0])
        totals = [server.statistics().total.connections_accepted for server in (one, other)]
        assert sum(totals) == 20


async def test_endpoints_can_be_added_while_the_server_runs() -> None:
    recorder = Recorder()
    async with serving(Echo) as server:
        endpoint = server.add(echo, TCP)
        assert endpoint.port > 0
        server.add(recorder, TCP)
        assert recorder.calls == [("start", server)]
        for url in server.urls[:2]:
            await say_hello(url)
        with pytest.raises(vespiary.ConfigurationError, match="cannot listen"):
            server.add(Echo, server.urls[1])
        assert len(server.urls) == 3
        assert len(server.statistics().endpoints) == 3
    assert recorder.names == ["start", "stop"]


async def test_a_server_starts_once_and_may_start_again_after_a_stop() -> None:
    server = vespiary.Server()
    server.add(Echo, OWN_TCP)
    await server.stop()
    for _ in range(2):
        await server.start()
        with pytest.raises(RuntimeError, match="runs already"):
            await server.start()
        await say_hello(server.urls[0])
        await asyncio.gather(server.stop(), server.stop())
        with pytest.raises(ConnectionRefusedError):
            await vespiary.connect(server.urls[0])


@pytest.mark.requirement("rfc6455/7.4.1/h7")
async def test_a_stop_tells_everybody_and_waits_for_the_slow() -> None:
    release = asyncio.Event()

    async def slow(connection: vespiary.Connection) -> None:
        async for _ in connection:
            await release.wait()
            connection.send("done after all")

    server = vespiary.Server()
    server.add(Echo, OWN_WS)
    server.add(slow, OWN_WS)
    await server.start()
    plain = await vespiary.connect(server.urls[0])
    busy = await vespiary.connect(server.urls[1])
    busy.send("work")
    await until(lambda: server.statistics().total.messages_received == 1)
    stopping = asyncio.ensure_future(server.stop())
    assert (await plain.wait_closed()).code == 1001
    with pytest.raises(ConnectionRefusedError):
        await vespiary.connect(server.urls[0])
    await turns()
    assert not stopping.done()
    release.set()
    assert await busy.receive() == "done after all"
    await stopping
    assert (await busy.wait_closed()).code == 1001


async def test_what_does_not_end_within_the_drain_is_cut(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cancelled = asyncio.Event()

    async def stubborn(connection: vespiary.Connection) -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    server = vespiary.Server()
    server.add(stubborn, WS)
    await server.start()
    client = await vespiary.connect(server.urls[0])
    await until(lambda: server.statistics().total.connections_open)
    with caplog.at_level(logging.WARNING):
        async with asyncio.timeout(5):
            await server.stop(drain_seconds=0.1)
    assert cancelled.is_set()
    reason = await client.wait_closed()
    assert (reason.kind, reason.code) == ("closed", 1001)
    assert "ending 1 connection and 1 task on" in caplog.text


async def test_a_stop_ends_handshakes_too() -> None:
    async with serving(Echo) as server:
        host, port = server.urls[0].removeprefix("ws://").rstrip("/").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\n")
        await until(lambda: server.statistics().total.handshakes_pending)
        stopping = asyncio.create_task(server.stop())
        assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
        writer.transport.abort()
        async with asyncio.timeout(60):
            await stopping


async def test_wait_stopped_waits() -> None:
    server = vespiary.Server()
    server.add(Echo, TCP)
    await server.wait_stopped()
    await server.start()
    waiting = asyncio.ensure_future(server.wait_stopped())
    await asyncio.sleep(0)
    assert not waiting.done()
    server.stop_soon()
    await waiting


async def test_the_inside_of_an_async_with_may_raise() -> None:
    urls: list[str] = []

    async def fail() -> None:
        async with serving(Echo, OWN_TCP) as server:
            urls.extend(server.urls)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    with pytest.raises(ConnectionRefusedError):
        await vespiary.connect(urls[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_ends_cleanly_upon_a_signal(driver: str, number: signal.Signals) -> None:
    handler = Recorder()
    addresses: list[str] = []

    def note(urls: object) -> None:
        addresses.extend(urls)  # type: ignore[arg-type]
        signal_when_asleep(number)

    before = signal.getsignal(number)
    vespiary.serve(handler, WS, TCP, driver=driver, on_serving=note)
    assert signal.getsignal(number) == before
    assert len(addresses) == 2
    assert handler.names == ["start", "stop"]


def refuses(host: str, port: int) -> bool:
    """Whether nothing listens there any more."""
    try:
        socket.create_connection((host, port), 5).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass  # It was in the backlog of a listener that has just been closed.
    return False


def test_a_second_signal_ends_at_once(driver: str) -> None:
    seen = threading.Event()

    class Stubborn(vespiary.Handler):
        async def on_open(self, connection: vespiary.Connection) -> None:
            seen.set()
            await forever()

    def connect_and_signal(urls: list[str]) -> None:
        host, port = urls[0].removeprefix("tcp://").split(":")
        with socket.create_connection((host, int(port)), 5) as client:
            seen.wait(30)
            os.kill(os.getpid(), signal.SIGTERM)
            wait_until(lambda: refuses(host, int(port)))
            os.kill(os.getpid(), signal.SIGTERM)
            with contextlib.suppress(ConnectionResetError):
                client.recv(1)

    threads = []

    def note(urls: object) -> None:
        thread = threading.Thread(target=connect_and_signal, args=(urls,))
        thread.start()
        threads.append(thread)

    vespiary.serve(Stubborn, OWN_TCP, driver=driver, on_serving=note)
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


def test_serve_wants_a_url() -> None:
    with pytest.raises(vespiary.ConfigurationError, match="URL"):
        vespiary.serve(Echo)


def test_a_driver_that_does_not_exist_is_reported() -> None:
    with pytest.raises((ValueError, vespiary.DriverUnavailable), match="kqueue"):
        vespiary.serve(Echo, TCP, driver="kqueue")
