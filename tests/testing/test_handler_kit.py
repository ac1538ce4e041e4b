"""`check_handler`: good handlers pass, and each kind of bad one fails with what it did."""

import asyncio
import re
from typing import Any

import pytest

import vespiary
from vespiary.testing import HandlerFault, check_handler

Connection = vespiary.Connection[Any]


class Echo(vespiary.Handler[str]):
    def on_message(self, connection: Connection, message: str) -> None:
        connection.send(message)

    def on_close(self, connection: Connection, reason: vespiary.CloseReason) -> None:
        pass


async def echo(connection: Connection) -> None:
    async for message in connection:
        connection.send(message)
        await connection.drain()


class Slow(vespiary.Handler[str]):
    async def on_message(self, connection: Connection, message: str) -> None:
        await asyncio.sleep(0.2)
        connection.send(message.upper())

    async def on_close(self, connection: Connection, reason: vespiary.CloseReason) -> None:
        await asyncio.sleep(0.2)


@pytest.mark.parametrize("handler", [Echo, Echo(), echo, Slow])
def test_a_good_handler_passes(handler: Any) -> None:
    check_handler(handler, seeds=3)


@pytest.mark.parametrize("framing", [None, "line", vespiary.LengthPrefix()])
def test_a_good_handler_passes_on_streams(framing: Any) -> None:
    check_handler(echo, "tcp://127.0.0.1:7", framing=framing, seeds=3)


def test_a_handler_that_takes_a_read_for_a_message_fails() -> None:
    class Counter(vespiary.Handler[bytes]):
        def on_message(self, connection: Connection, message: bytes) -> None:
            connection.send(f"{len(message)}\n")

    with pytest.raises(HandlerFault, match=r"one by one \(seed 0\): the answers are .*1\\n1\\n1"):
        check_handler(Counter, "tcp://127.0.0.1:7", messages=[b"hello"])


def test_state_that_leaks_between_connections_fails() -> None:
    class Counter(vespiary.Handler[str]):
        def __init__(self) -> None:
            self.count = 0

        def on_message(self, connection: Connection, message: str) -> None:
            self.count += 1
            connection.send(str(self.count))

    with pytest.raises(HandlerFault, match="connections side by side"):
        check_handler(Counter, seeds=1)


def test_an_exception_fails_with_its_traceback() -> None:
    class Broken(vespiary.Handler[str]):
        def on_message(self, connection: Connection, message: str) -> None:
            connection.send(message[4])

    with pytest.raises(HandlerFault, match=r"(?s)an exception was raised.*IndexError"):
        check_handler(Broken)


def test_an_exception_after_the_peer_has_gone_fails() -> None:
    class Broken(vespiary.Handler[str]):
        def on_message(self, connection: Connection, message: str) -> None:
            connection.send(message)

        def on_close(self, connection: Connection, reason: vespiary.CloseReason) -> None:
            if reason.kind == "broken":
                raise KeyError("not tidied up")

    with pytest.raises(HandlerFault, match=r"(?s)(reset|vanish).*not tidied up"):
        check_handler(Broken)


def test_a_coroutine_that_does_not_end_with_its_connection_fails() -> None:
    async def stubborn(connection: Connection) -> None:
        async for message in connection:
            connection.send(message)
        await asyncio.Event().wait()

    with pytest.raises(HandlerFault, match="tasks continue 120 virtual seconds after"):
        check_handler(stubborn)


def test_a_task_that_is_left_behind_fails() -> None:
    tasks: set[asyncio.Task[None]] = set()

    async def tick(connection: Connection) -> None:
        await asyncio.Event().wait()

    async def ticking(connection: Connection) -> None:
        tasks.add(asyncio.create_task(tick(connection)))
        async for message in connection:
            connection.send(message)

    with pytest.raises(HandlerFault, match=r"tasks continue .*tick"):
        check_handler(ticking)


def test_a_coroutine_that_swallows_cancellation_fails() -> None:
    async def stubborn(connection: Connection) -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                continue

    with pytest.raises(HandlerFault, match="tasks continue 120 virtual seconds after"):
        check_handler(stubborn)


def test_answers_that_differ_each_time_may_be_allowed() -> None:
    class Clock(vespiary.Handler[str]):
        def on_message(self, connection: Connection, message: str) -> None:
            connection.send(str(asyncio.get_running_loop().time()))

    with pytest.raises(HandlerFault, match="the answers are"):
        check_handler(Clock)
    check_handler(Clock, repeatable=False, seeds=3)


def test_the_clients_options_reach_the_handler() -> None:
    class Named(vespiary.Handler[str]):
        def on_request(self, request: vespiary.Request) -> vespiary.Response:
            return request.accept() if "x-name" in request.headers else request.respond(401)

        def on_message(self, connection: Connection, message: str) -> None:
            connection.send(message)

    with pytest.raises(HandlerFault, match=r"could not connect: .*401"):
        check_handler(Named)
    check_handler(Named, client={"headers": [("X-Name", "bee")]}, seeds=2)


def test_a_wrong_argument_is_an_error_and_not_a_fault_of_the_handler() -> None:
    with pytest.raises(vespiary.ConfigurationError, match=r"write client=\{'headers': \.\.\.\}"):
        check_handler(Echo, headers={"X-Name": "bee"})  # type: ignore[call-arg]
    with pytest.raises(vespiary.ConfigurationError, match="did you mean 'headers'"):
        check_handler(Echo, client={"header": {}})  # type: ignore[arg-type]
    with pytest.raises(vespiary.ConfigurationError, match="needs a certificate"):
        check_handler(Echo, "wss://127.0.0.1:80")


def test_a_handshake_that_fails_shows_what_the_server_logged() -> None:
    class Broken(vespiary.Handler[str]):
        def on_request(self, request: vespiary.Request) -> vespiary.Response:
            raise KeyError("the room")

    with pytest.raises(HandlerFault, match=r"(?s)status 500.*the server logged:.*the room"):
        check_handler(Broken)


class Rooms(vespiary.Handler[str]):
    keep_request = True

    def on_message(self, connection: Connection, message: str) -> None:
        assert connection.request
        connection.send(f"{connection.request.path_parameters['room']}: {message}")


def test_a_handler_with_path_parameters_passes() -> None:
    check_handler(Rooms, "ws://127.0.0.1:80/rooms/{room}", seeds=1)
    check_handler(Rooms, "ws://127.0.0.1:80/rooms/{room}", path="/rooms/7?a=b", seeds=1)
    check_handler(Rooms, "ws://127.0.0.1:80/files/{room:path}", path="/files/a/b", seeds=1)


def test_the_path_reaches_the_handler_and_its_faults_are_found() -> None:
    class Numbered(Rooms):
        def on_message(self, connection: Connection, message: str) -> None:
            assert connection.request
            connection.send(str(int(connection.request.path_parameters["room"])))

    url = "ws://127.0.0.1:80/rooms/{room}"
    check_handler(Numbered, url, path="/rooms/7", seeds=1)
    with pytest.raises(HandlerFault, match="invalid literal for int"):
        check_handler(Numbered, url, path="/rooms/seven", seeds=1)


@pytest.mark.parametrize(
    ("url", "path", "words"),
    [
        ("ws://127.0.0.1:80/rooms/{room}", "/room/7", "such as '/rooms/room'; got '/room/7'"),
        ("ws://127.0.0.1:80/rooms/{room}", "", "got ''"),
        ("tcp://127.0.0.1:7", "/rooms/7", "path is for ws:// and http:// URLs"),
    ],
)
def test_a_path_that_the_url_does_not_serve_is_an_error(url: str, path: str, words: str) -> None:
    with pytest.raises(vespiary.ConfigurationError, match=re.escape(words)):
        check_handler(Rooms, url, path=path)


def test_the_seed_of_a_fault_is_named() -> None:
    class Counter(vespiary.Handler[bytes]):
        def on_message(self, connection: Connection, message: bytes) -> None:
            connection.send(f"{len(message)}\n")

    with pytest.raises(HandlerFault) as caught:
        check_handler(Counter, "tcp://127.0.0.1:7")
    assert re.search(r"\(seed \d+\)", str(caught.value))


def test_an_object_is_given_back_as_it_was() -> None:
    handler = Echo()
    check_handler(handler, seeds=1)
    assert vars(handler) == {}
