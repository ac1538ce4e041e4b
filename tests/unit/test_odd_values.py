"""Whatever value an option is given, it is taken, or refused as what it is: by name, at once."""

import asyncio
import dataclasses
import math
import socket
from collections.abc import Callable
from typing import Any

import pytest

import vespiary
from vespiary.client_options import ClientOptions
from vespiary.server_options import ServerOptions

CLASSES = (
    vespiary.Limits,
    vespiary.Deadlines,
    vespiary.WebSocket,
    vespiary.Compression,
    vespiary.Backoff,
)

ODD: list[Any] = [
    *(None, True, False, 0, -1, 5, 1 << 40, 1 << 80, 10**400),
    *(1.5, -1.5, math.nan, math.inf, -math.inf, 1 + 2j),
    *("", "x", "chat", "a b", "ü", "\0", "\r\n", "\ud800", "x" * 5000),
    *("127.0.0.1", "127.0.0.1\0", "::1", "fe80::1%lo", "1.2.3.4.5", "http://h", "http://h:99999"),
    *(b"x", bytearray(b"x"), memoryview(b"x")),
    *([], [5], [None], [[]], [""], ["x", "x"], ["ch at"], ["ü"], [b"x"], (), ("x",), ("x", 0)),
    *({}, {"a": 1}, {1: "a"}, {"a": "b"}, {"a\n": "b"}, {"a": "\r\nb"}, set(), {5}, range(3)),
    *(object(), len, int, (lambda: None), (lambda one: None), NotImplemented, ...),
    *(cls for cls in CLASSES),
    *(cls() for cls in CLASSES),
    *(vespiary.Filter, vespiary.Filter(), [vespiary.Filter()], [vespiary.Filter]),
    *(vespiary.Handler, vespiary.Handler(), vespiary.Server, socket.socket),
]
URLS = ("ws://127.0.0.1:1", "tcp://127.0.0.1:1", "unix:///nowhere.sock")

# Only the options are checked here; nothing connects.
pytestmark = pytest.mark.filterwarnings("ignore:.* was never awaited:RuntimeWarning")


class Echo(vespiary.Handler):
    def on_message(self, connection: vespiary.Connection, message: Any) -> None:
        connection.send(message)


class Stops(Echo):
    def on_start(self, server: vespiary.Server) -> None:
        server.stop_soon()


def refusal(act: Callable[[], object]) -> vespiary.ConfigurationError | None:
    """The error of a wrong value; any other one fails the test."""
    try:
        act()
    except vespiary.ConfigurationError as error:
        return error
    return None


def check(name: str, value: object, act: Callable[[], object]) -> None:
    error = refusal(act)
    if isinstance(error, vespiary.errors.LimitsError):
        assert name in str(error), (value, error)
    elif error is not None:
        assert error.subject == name, (value, error)
        assert len(str(error)) < 1000 or len(repr(value)) > 200


@pytest.mark.parametrize("cls", CLASSES)
def test_fields(cls: Any) -> None:
    for field in dataclasses.fields(cls):
        for value in ODD:
            check(field.name, value, lambda: cls(**{field.name: value}))  # noqa: B023


@pytest.mark.parametrize("name", ServerOptions.__annotations__)
def test_options_of_an_endpoint(name: str) -> None:
    for url in URLS:
        for value in ODD:
            server = vespiary.Server()
            check(name, value, lambda: server.add(Echo, url, **{name: value}))  # noqa: B023


@pytest.mark.parametrize("name", ClientOptions.__annotations__)
def test_options_of_a_client(name: str) -> None:
    for url in URLS:
        for value in ODD:
            check(name, value, lambda: vespiary.connect(url, **{name: value}))  # noqa: B023


@pytest.mark.parametrize("name", ["source", "proxy", "subprotocols", "headers"])
def test_what_is_taken_from_a_client_is_understood_when_it_connects(name: str) -> None:
    deadlines = vespiary.Deadlines(handshake_seconds=0.01)

    async def attempt(options: Any) -> None:
        with pytest.raises((OSError, vespiary.ConnectionClosed)):
            await vespiary.connect("ws://127.0.0.1:1", deadlines=deadlines, **options)

    for value in ODD:
        if name == "headers" and value is socket.socket:
            continue  # It would be called, and nobody would close what it makes.
        check(name, value, lambda: asyncio.run(attempt({name: value})))  # noqa: B023


@pytest.mark.parametrize("name", ClientOptions.__annotations__)
def test_the_blocking_client_refuses_what_the_other_one_refuses(name: str) -> None:
    for value in ODD:
        options: Any = {name: value}
        error = refusal(lambda: vespiary.connect("ws://127.0.0.1:1", **options))  # noqa: B023
        if error is not None:
            with pytest.raises(vespiary.ConfigurationError) as caught:
                vespiary.sync.connect("ws://127.0.0.1:1", **options)
            assert str(caught.value) == str(error)


@pytest.mark.parametrize("name", ["timeout", "parts"])
def test_options_of_the_blocking_client_alone(name: str) -> None:
    for value in ODD:
        options: Any = {name: value}

        def connect() -> None:
            with pytest.raises(OSError, match=r"connect"):
                vespiary.sync.connect("tcp://127.0.0.1:1", **options)  # noqa: B023

        check(name, value, connect)


SERVE = ["driver", "spin_microseconds", "on_serving", "signals"]


@pytest.mark.parametrize("name", SERVE)
def test_options_of_serve_and_of_what_it_calls(name: str) -> None:
    for value in ODD:
        options: Any = {name: value}
        error = refusal(lambda: vespiary.serve(Stops, "tcp://127.0.0.1:0", **options))  # noqa: B023
        if error is None:
            continue
        assert error.subject == name
        server = vespiary.Server()
        calls: list[Callable[[], object]] = [lambda: server.run(**options)]  # noqa: B023
        if name == "signals":
            calls = [lambda: vespiary.Server(**options)]  # noqa: B023
        elif name != "on_serving":
            calls.append(lambda: vespiary.run(asyncio.sleep(0), **options))  # noqa: B023
            calls.append(lambda: vespiary.loop.Loop(**options))  # noqa: B023
        for call in calls:
            again = refusal(call)
            assert str(again) == str(error)


def shown(value: object) -> str:
    """A test's name for a value: the same in every process, so without an address."""
    return repr(value).partition(" at 0x")[0][:20]


@pytest.mark.parametrize("url", ODD, ids=shown)
def test_urls(url: Any) -> None:
    assert refusal(lambda: vespiary.connect(url)) is not None
    assert refusal(lambda: vespiary.sync.connect(url)) is not None
    assert refusal(lambda: vespiary.Server().add(Echo, url)) is not None
    assert refusal(lambda: vespiary.serve(Echo, url)) is not None


@pytest.mark.parametrize("handler", ODD, ids=shown)
def test_handlers(handler: Any) -> None:
    is_handler = handler is vespiary.Handler or isinstance(handler, vespiary.Handler)
    error = refusal(lambda: vespiary.Server().add(handler, "ws://127.0.0.1:0"))
    assert (error is None) == is_handler
    refused = refusal(lambda: vespiary.connect("ws://127.0.0.1:1", handler))
    assert (refused is None) == (is_handler or handler is None)
