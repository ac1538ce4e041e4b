"""`connection.request`: the request that opened a connection."""

import asyncio
import functools
import gc
import weakref
from typing import Any

import pytest

import vespiary

from .kit import TCP, Recorder, serving, until


async def test_a_coroutine_sees_the_request_of_its_connection() -> None:
    async def handler(connection: vespiary.Connection) -> None:
        async for _ in connection:
            request = connection.request
            assert request is not None
            connection.send(f"{request.path}?{request.query} {request.headers['x-name']}")

    async with serving(handler) as server:
        url = server.urls[0].rstrip("/") + "/chat?room=1"
        async with vespiary.connect(url, headers=[("X-Name", "bee")]) as client:
            client.send("?")
            assert await client.receive() == "/chat?room=1 bee"
            assert client.request is None


async def test_a_method_that_reads_the_request_finds_it_at_any_time() -> None:
    class Late(vespiary.Handler):
        def on_message(self, connection: vespiary.Connection, message: str) -> None:
            request = connection.request
            assert request is not None
            connection.send(request.path)

    async with serving(Late) as server:
        url = server.urls[0].rstrip("/")
        async with vespiary.connect(f"{url}/late") as client:
            client.send("?")
            assert await client.receive() == "/late"


def logged(method: Any) -> Any:
    @functools.wraps(method)
    def wrapper(*arguments: Any) -> Any:
        return method(*arguments)

    return wrapper


class Instance:
    """A decorator that no function stands behind, as far as can be seen."""

    def __init__(self, method: Any) -> None:
        self.method = method

    def __get__(self, instance: object, owner: type) -> Any:
        return functools.partial(self.method, instance)

    def __call__(self, *arguments: Any) -> Any:
        return self.method(*arguments)


class Decorated(vespiary.Handler):
    @logged
    def on_message(self, connection: Any, message: str) -> None:
        connection.send(connection.request.path)


class Hidden(vespiary.Handler):
    @Instance
    def on_message(self, connection: Any, message: str) -> None:
        connection.send(connection.request.path)


class Static(vespiary.Handler):
    @staticmethod
    def path(connection: Any) -> Any:
        return connection.request.path

    def on_message(self, connection: Any, message: str) -> None:
        connection.send(self.path(connection))


class Property(vespiary.Handler):
    @property
    def path(self) -> Any:
        return lambda connection: connection.request.path

    @functools.cached_property
    def other(self) -> Any:
        return self.path

    def on_message(self, connection: Any, message: str) -> None:
        connection.send(self.other(connection))


class Nested(vespiary.Handler):
    class Paths:
        @classmethod
        def of(cls, connection: Any) -> Any:
            return connection.request.path

    def on_message(self, connection: Any, message: str) -> None:
        connection.send(self.Paths.of(connection))


class Partial(vespiary.Handler):
    def _answer(self, prefix: str, connection: Any, message: str) -> None:
        connection.send(prefix + connection.request.path)

    on_message = functools.partialmethod(_answer, "")


@pytest.mark.parametrize("handler", [Decorated, Hidden, Static, Property, Nested, Partial])
async def test_code_behind_decorators_and_descriptors_finds_it(
    handler: type[vespiary.Handler],
) -> None:
    url = "ws://127.0.0.1:0"
    async with serving(handler, url) as server, vespiary.connect(f"{server.urls[0]}late") as client:
        client.send("?")
        assert await client.receive() == "/late"


async def test_on_open_may_read_it_wherever_it_is_read_from() -> None:
    paths: list[str] = []

    def elsewhere(connection: vespiary.Connection) -> None:
        paths.append(getattr(connection, "request").path)  # noqa: B009 - Hidden on purpose.

    class Opens(Recorder):
        def on_open(self, connection: vespiary.Connection) -> None:
            super().on_open(connection)
            elsewhere(connection)

    recorder = Opens()
    async with serving(recorder) as server, vespiary.connect(server.urls[0].rstrip("/") + "/a"):
        await until(lambda: paths)
        elsewhere(recorder.connections[0])
    assert paths == ["/a", "/a"]


async def test_one_that_was_not_kept_says_how_to_keep_it() -> None:
    recorder = Recorder()
    async with serving(recorder) as server, vespiary.connect(server.urls[0]):
        await until(lambda: recorder.connections)
        with pytest.raises(RuntimeError, match="keep_request = True"):
            getattr(recorder.connections[0], "request")  # noqa: B009


async def test_a_class_may_ask_for_it_or_do_without() -> None:
    class Keeps(Recorder):
        keep_request = True

    recorder = Keeps()
    async with serving(recorder) as server, vespiary.connect(server.urls[0]):
        await until(lambda: recorder.connections)
        request = recorder.connections[0].request
        assert request is not None
        assert request.method == "GET"


async def test_it_is_the_request_that_on_request_had() -> None:
    held: list[Any] = []

    class Holds(Recorder):
        def on_request(self, request: vespiary.Request) -> None:
            held.append(request)

        def on_message(self, connection: vespiary.Connection, message: Any) -> None:
            held.append(connection.request)

    async with serving(Holds()) as server, vespiary.connect(server.urls[0]) as client:
        client.send("x")
        await until(lambda: len(held) == 2)
    assert held[0] is held[1]


async def test_streams_have_none() -> None:
    recorder = Recorder()
    async with serving(recorder, TCP) as server, vespiary.connect(server.urls[0]):
        await until(lambda: recorder.connections)
        assert recorder.connections[0].request is None


async def test_a_kept_connection_has_its_latest_request() -> None:
    paths: list[str] = []

    class Serves(vespiary.Handler):
        def on_request(self, request: vespiary.Request) -> vespiary.Response:
            assert request.connection.request == request
            paths.append(request.path)
            return request.respond(200)

    async with serving(Serves, "http://127.0.0.1:0") as server:
        port = int(server.urls[0].split(":")[2].split("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n")
        writer.write(b"Connection: close\r\n\r\n")
        await reader.read()
        writer.close()
    assert paths == ["/1", "/2"]


async def test_a_request_and_its_connection_go_away_without_the_collector() -> None:
    gone: list[weakref.ref[vespiary.Connection]] = []
    held: list[Any] = []

    class Reads(Recorder):
        def on_request(self, request: vespiary.Request) -> None:
            held.append(request)

        def on_open(self, connection: vespiary.Connection) -> None:
            gone.append(weakref.ref(connection))
            assert connection.request is held[-1]

        def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
            assert connection.request is held[-1]
            super().on_close(connection, reason)

    recorder = Reads()
    async with serving(recorder) as server:
        gc.collect()
        gc.disable()
        try:
            async with vespiary.connect(server.urls[0]):
                pass
            await until(lambda: recorder.reasons)
            await asyncio.sleep(0)
            assert held[0].connection.request == held[0]
            assert bool(gone[0]())
            assert held[0].peer[0] == "127.0.0.1"
            held.clear()
            assert [it() for it in gone] == [None]
        finally:
            gc.enable()


async def test_path_parameters_are_there_when_first_read_after_the_end() -> None:
    class Keeps(Recorder):
        keep_request = True

    recorder = Keeps()
    async with serving(recorder, "ws://127.0.0.1:0/rooms/{room}") as server:
        url = server.urls[0].replace("{room}", "bees")
        async with vespiary.connect(url):
            pass
        await until(lambda: recorder.reasons)
        await asyncio.sleep(0)
        for _ in range(2):
            request = recorder.connections[0].request
            assert request is not None
            assert dict(request.path_parameters) == {"room": "bees"}
