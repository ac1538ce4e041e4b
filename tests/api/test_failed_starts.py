"""A start that fails half-way leaves nothing, and may be repeated."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

import vespiary

from .kit import TCP, WS, Echo, Recorder, serving

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


def descriptors() -> list[str]:
    """Where the process's descriptors lead."""
    return sorted(
        str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()
    )


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
        before = descriptors()
        for _ in range(2):
            with pytest.raises((OSError, ZeroDivisionError)):
                await server.start()
            assert descriptors() == before
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
    server.add(recorder, TCP)
    server.add(handler, WS)
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
