"""A start that fails half-way leaves nothing, and may be repeated."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import vespiary

from .kit import (
    OWN_HOST,
    OWN_TCP,
    OWN_WS,
    TCP,
    WS,
    Echo,
    Recorder,
    free_port,
    open_descriptors,
    serving,
    until,
)

Fault = Callable[[vespiary.Server, Path], AbstractContextManager[None]]
"""Adds what fails; at the end of the block it fails no more."""


@contextmanager
def port_in_use(server: vespiary.Server, folder: Path) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server.add(Echo, f"ws://127.0.0.1:{taken.getsockname()[1]}")
        yield


@contextmanager
def second_address_in_use(server: vespiary.Server, folder: Path) -> Iterator[None]:
    """A name with two addresses, one of which is taken."""

    def resolve(host: str, port: int, **options: object) -> list[object]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, (address, port)) for address in ("127.0.0.1", "127.0.0.2")]

    with socket.create_server(("127.0.0.2", 0)) as taken, pytest.MonkeyPatch.context() as patch:
        patch.setattr("vespiary._listening.socket.getaddrinfo", resolve)
        server.add(Echo, f"ws://localhost:{taken.getsockname()[1]}")
        yield


@contextmanager
def no_folder(server: vespiary.Server, folder: Path, **options: Any) -> Iterator[None]:
    server.add(Echo, f"unix://{folder}/none/x.sock", **options)
    yield
    (folder / "none").mkdir()


def no_folder_with_mode(server: vespiary.Server, folder: Path) -> AbstractContextManager[None]:
    return no_folder(server, folder, mode=0o600)


@contextmanager
def served_file(server: vespiary.Server, folder: Path) -> Iterator[None]:
    """Somebody else's socket file, which stays."""
    path = folder / "served.sock"
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(path))
        taken.listen()
        server.add(Echo, f"unix://{path}", mode=0o600)
        yield
        assert path.is_socket()


class Fails(Echo):
    def __init__(self) -> None:
        self.error: BaseException | None = ZeroDivisionError()

    def on_start(self, server: vespiary.Server) -> None:
        if self.error is not None:
            raise self.error


class FailsAsync(Fails):
    async def on_start(self, server: vespiary.Server) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().on_start(server)


class AddsWhatFails(Echo):
    """The endpoint that it adds is opened behind the last `on_start`."""

    def __init__(self, port: int) -> None:
        self.url = f"ws://127.0.0.1:{port}/"

    def on_start(self, server: vespiary.Server) -> None:
        if self.url not in server.urls:
            server.add(Echo, self.url)


@contextmanager
def added_port_in_use(server: vespiary.Server, folder: Path) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server.add(AddsWhatFails(taken.getsockname()[1]), WS)
        yield


@contextmanager
def failing(server: vespiary.Server, handler: Fails) -> Iterator[None]:
    server.add(handler, WS)
    yield
    handler.error = None


def plain_on_start(server: vespiary.Server, folder: Path) -> AbstractContextManager[None]:
    return failing(server, Fails())


def async_on_start(server: vespiary.Server, folder: Path) -> AbstractContextManager[None]:
    return failing(server, FailsAsync())


FAULTS = [
    port_in_use,
    second_address_in_use,
    no_folder,
    no_folder_with_mode,
    served_file,
    added_port_in_use,
    plain_on_start,
    async_on_start,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_a_start_that_fails_closes_what_it_opened_and_may_be_repeated(
    fault: Fault, tmp_path: Path
) -> None:
    # What the first server of a loop opens stays with the loop.
    async with serving(Echo):
        pass
    first, last = Recorder(), Recorder()
    paths = [tmp_path / "plain.sock", tmp_path / "mode.sock"]
    server = vespiary.Server(signals=False)
    server.add(first, TCP)
    server.add(Echo, f"unix://{paths[0]}")
    server.add(Echo, f"ws+unix://{paths[1]}:/", mode=0o600)
    with fault(server, tmp_path):
        server.add(last, TCP)
        before = open_descriptors()
        for _ in range(2):
            with pytest.raises((OSError, ZeroDivisionError)):
                await server.start()
            assert open_descriptors() == before
            assert not any(path.exists() for path in paths)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            await server.wait_stopped()
            await server.stop()
        with pytest.raises(RuntimeError, match="the server does not run"):
            server.publish("topic", "x")
    has_started = fault in (plain_on_start, async_on_start, added_port_in_use)
    assert first.names[:2] == (["start", "stop"] if has_started else [])[:2]
    await server.start()
    for url in server.urls:
        async with vespiary.connect(url):
            pass
    await server.stop()
    assert first.names.count("start") == first.names.count("stop")
    assert last.names[0] == "start"
    assert not any(path.exists() for path in paths)


async def test_a_start_that_fails_after_an_exit_of_the_program_is_undone_too() -> None:
    recorder, handler = Recorder(), FailsAsync()
    handler.error = SystemExit(5)
    server = vespiary.Server(signals=False)
    server.add(recorder, OWN_TCP)
    server.add(handler, OWN_WS)
    with pytest.raises(SystemExit):
        await server.start()
    assert recorder.names == ["start", "stop"]
    for url in server.urls:
        with pytest.raises(ConnectionRefusedError):
            await vespiary.connect(url)


async def test_on_stop_is_called_in_the_reverse_order_for_the_handlers_that_have_started() -> None:
    calls: list[str] = []

    class Named(Echo):
        def __init__(self, name: str) -> None:
            self.name = name

        async def on_start(self, server: vespiary.Server) -> None:
            calls.append(f"start {self.name}")
            if self.name == "c":
                raise ZeroDivisionError

        async def on_stop(self, server: vespiary.Server) -> None:
            calls.append(f"stop {self.name}")
            if self.name == "b":
                raise OSError("an error of on_stop does not hide the one of the start")

    server = vespiary.Server(signals=False)
    for name in "abcd":
        server.add(Named(name), TCP)
    with pytest.raises(ZeroDivisionError):
        await server.start()
    assert calls == ["start a", "start b", "start c", "stop b", "stop a"]


class Page(vespiary.Handler):
    """Remembers the paths that it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def on_request(self, request: vespiary.Request) -> vespiary.Response:
        self.asked.append(request.path)
        return request.respond(200, request.path)


class SlowPage(Page):
    """Its `on_start` returns, or fails, when `end` is set."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__()
        self.end = asyncio.Event()
        self.fails = fails
        self.starts = 0

    async def on_start(self, server: vespiary.Server) -> None:
        self.starts += 1
        await self.end.wait()
        if self.fails:
            raise ZeroDivisionError


def free_address() -> str:
    return f"{OWN_HOST}:{free_port()}"


async def status(client: httpx.AsyncClient, where: str, path: str) -> int:
    return (await client.get(f"http://{where}{path}")).status_code


@pytest.mark.parametrize("path", ["/a", "/"])
async def test_who_shares_the_address_of_an_endpoint_that_fails_to_start_is_served(
    path: str,
) -> None:
    failing, other, where = SlowPage(fails=True), Page(), free_address()
    async with serving(Echo, OWN_TCP) as server, httpx.AsyncClient() as client:
        server.add(failing, f"http://{where}{path}")
        server.add(other, f"http://{where}/b")
        failing.end.set()
        await until(lambda: len(server.urls) == 2)
        assert await status(client, where, "/b") == 200
        assert await status(client, where, "/a") == 404
        server.add(Page(), f"http://{where}/a")
        assert await status(client, where, "/a") == 200
        # What is open when the server stops is closed, though the first endpoint has gone.
        reader, writer = await asyncio.open_connection(*where.split(":"))
        writer.write(b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"/b")
        stopping = asyncio.ensure_future(server.stop())
        assert await asyncio.wait_for(reader.read(), 60) == b""
        await stopping
        writer.close()
    assert failing.asked == []
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*where.split(":"))


async def test_what_a_failing_on_start_has_added_on_its_own_address_is_served() -> None:
    where = free_address()

    class Adds(Page):
        def on_start(self, server: vespiary.Server) -> None:
            server.add(Page(), f"http://{where}/inner")
            raise ZeroDivisionError

    async with serving(Echo, TCP) as server, httpx.AsyncClient() as client:
        with pytest.raises(ZeroDivisionError):
            server.add(Adds(), f"http://{where}/outer")
        assert await status(client, where, "/inner") == 200
        assert await status(client, where, "/outer") == 404


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("options", [{}, {"executor": "threads"}], ids=["plain", "threads"])
async def test_nothing_is_served_before_an_on_start_on_a_shared_address_has_returned(
    options: dict[str, Any], fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    slow = SlowPage(fails=fails)
    async with serving(Page, "http://127.0.0.1:0/") as server, httpx.AsyncClient() as client:
        where = server.urls[0].removeprefix("http://").rstrip("/")
        server.add(slow, f"http://{where}/slow", **options)
        server.add(slow, f"http://{where}/again", **options)
        for path in ("/slow", "/again", "/slow"):
            answer = await client.get(f"http://{where}{path}")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert slow.asked == []
        assert caplog.text.count(f"Answering 503 at http://{where}/slow until its on_start") == 1
        assert await status(client, where, "/") == 200
        slow.end.set()
        if fails:
            await until(lambda: len(server.urls) == 1)
            answer = await client.get(f"http://{where}/slow")
            assert answer.text == "/slow", "the endpoint for everything has it now"
            assert slow.asked == []
        else:
            for path in ("/slow", "/again"):
                while await status(client, where, path) == 503:
                    pass
            assert slow.asked == ["/slow", "/again"]
    assert slow.starts == 1


async def test_a_websocket_is_refused_until_the_on_start_on_a_shared_address_has_returned() -> None:
    class Slow(Echo):
        async def on_start(self, server: vespiary.Server) -> None:
            await end.wait()

    end = asyncio.Event()
    async with serving(Page, "http://127.0.0.1:0/") as server:
        where = server.urls[0].removeprefix("http://").rstrip("/")
        server.add(Slow, f"ws://{where}/slow")
        with pytest.raises(vespiary.HandshakeRefused, match="503"):
            await vespiary.connect(f"ws://{where}/slow")
        # A stop meanwhile leaves nothing of it to the next run.
        await server.stop()
        end.set()
        await server.start()
        async with vespiary.connect(f"{server.urls[0].replace('http', 'ws')}slow") as client:
            client.send(b"hello")
            assert await client.receive() == b"hello"
