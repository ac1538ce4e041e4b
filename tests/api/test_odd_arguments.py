"""Odd values at every argument of the public functions: an error that says what to write."""

import asyncio
import dataclasses
import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

import vespiary

from .kit import TCP, WS, Echo, Recorder, serving, until

ODD: list[Any] = [
    None,
    True,
    5,
    -1,
    1.5,
    float("nan"),
    float("inf"),
    10**30,
    "",
    "x",
    "a\0b",
    "\ud800",
    b"",
    b"x",
    bytearray(b"x"),
    memoryview(b"xy")[::2],
    [],
    ["x"],
    [("a", "b")],
    [5],
    {},
    {"a": 1},
    object(),
    lambda *_: None,
    Echo,
    "ws://",
    "ws://[::1",
    "ws://h:99999/",
]

RAW = re.compile(
    "is not an instance of|cannot be interpreted|cannot be converted|has no attribute|unhashable"
    "|not iterable|not subscriptable|too large|argument '|must be real number|'NoneType' object"
    "|expected .* instance|required argument|not supported between|object is not callable"
    "|unsupported operand|can't be used in|an integer is required"
)
"""Texts of errors that the interpreter or a library has raised where a value was used."""
ORDINARY = (vespiary.VespiaryError, TypeError, ValueError, OSError, TimeoutError)

Call = Callable[[Any], object]


def is_said(error: BaseException) -> bool:
    """Whether it is an error of ours, which says what is wrong."""
    return isinstance(error, ORDINARY) and RAW.search(str(error)) is None


def plain_faults(call: Call, values: list[Any] = ODD) -> list[str]:
    """The values at which something else is raised than an error that says what is wrong."""
    found = []
    for value in values:
        try:
            call(value)
        except Exception as error:
            if not is_said(error):
                found.append(f"{value!r}: {type(error).__name__}: {error}")
    return found


async def faults(call: Call, values: list[Any] = ODD) -> list[str]:
    """The same, awaited as far as it does not wait."""
    found = []
    for value in values:
        try:
            result = call(value)
            if inspect.isawaitable(result):
                waiting = asyncio.ensure_future(result)
                done, _ = await asyncio.wait([waiting], timeout=0)
                waiting.cancel()
                if done:
                    waiting.result()
        except asyncio.CancelledError:
            pass
        except Exception as error:
            if not is_said(error):
                found.append(f"{value!r}: {type(error).__name__}: {error}")
    return found


def nothing(*_: object) -> None:
    """A callback."""


CONNECTION: dict[str, Callable[[vespiary.Connection, Any], object]] = {
    "send": lambda it, odd: it.send(odd),
    "send compress": lambda it, odd: it.send(b"a", compress=odd),
    "send_part": lambda it, odd: it.send_part(odd, last=True),
    "send_part last": lambda it, odd: it.send_part(b"a", last=odd),
    "send_part compress": lambda it, odd: it.send_part(b"a", last=True, compress=odd),
    "ping": lambda it, odd: it.ping(odd),
    "subscribe": lambda it, odd: it.subscribe(odd),
    "unsubscribe": lambda it, odd: it.unsubscribe(odd),
    "subscribe_pattern": lambda it, odd: it.subscribe_pattern(odd),
    "unsubscribe_pattern": lambda it, odd: it.unsubscribe_pattern(odd),
    "set_timer": lambda it, odd: it.set_timer(odd, nothing),
    "set_timer callback": lambda it, odd: it.set_timer(3600, odd),
    "data": lambda it, odd: setattr(it, "data", odd),
    "close code": lambda it, odd: it.close(odd),
    "close reason": lambda it, odd: it.close(1000, odd),
}

SERVER: dict[str, Callable[[vespiary.Server, Any], object]] = {
    "publish": lambda it, odd: it.publish(odd, "message"),
    "publish message": lambda it, odd: it.publish("topic", odd),
    "publish exclude": lambda it, odd: it.publish("topic", "message", exclude=odd),
    "publish compress": lambda it, odd: it.publish("topic", "message", compress=odd),
    "subscribers": lambda it, odd: it.subscribers(odd),
    "publish retain": lambda it, odd: it.publish("topic", "message", retain=odd),
    "subscribed_connections": lambda it, odd: it.subscribed_connections(odd),
    "retained": lambda it, odd: it.retained(odd),
    "presence": lambda it, odd: it.presence(odd),
    "discard_retained": lambda it, odd: it.discard_retained(odd),
    "set_timer": lambda it, odd: it.set_timer(odd, lambda: None),
    "set_timer callback": lambda it, odd: it.set_timer(3600, odd),
    "call_soon_threadsafe": lambda it, odd: it.call_soon_threadsafe(odd),
}


@pytest.mark.parametrize("url", [WS, TCP])
@pytest.mark.parametrize("name", CONNECTION)
async def test_a_method_of_a_connection(name: str, url: str) -> None:
    recorder = Recorder()
    async with serving(recorder, url) as server, vespiary.connect(server.urls[0]) as client:
        await until(lambda: recorder.connections)
        call = CONNECTION[name]
        for connection in (recorder.connections[0], client):
            assert await faults(lambda odd: call(connection, odd)) == []  # noqa: B023
        with_timeout = await faults(lambda odd: client.receive(odd), [*ODD, 0])
        assert with_timeout == []


@pytest.mark.parametrize("name", SERVER)
async def test_a_method_of_a_server(name: str) -> None:
    async with serving(Echo) as server:
        assert await faults(lambda odd: SERVER[name](server, odd)) == []


@pytest.mark.parametrize("name", ["send", "send_part", "send_part last", "ping", "code", "reason"])
async def test_a_method_of_a_blocking_client(name: str) -> None:
    calls: dict[str, Callable[[vespiary.sync.Connection, Any], object]] = {
        "send": lambda it, odd: it.send(odd),
        "send_part": lambda it, odd: it.send_part(odd, last=True),
        "send_part last": lambda it, odd: it.send_part(b"a", last=odd),
        "ping": lambda it, odd: it.ping(odd),
        "code": lambda it, odd: it.close(odd),
        "reason": lambda it, odd: it.close(1000, odd),
    }

    def use(url: str) -> list[str]:
        with vespiary.sync.connect(url) as client:
            found = plain_faults(lambda odd: calls[name](client, odd))
            waits = [client.receive, client.wait_closed]
            for call in waits if name == "ping" else ():
                odd = [one for one in ODD if one is not None and one not in (5, 1.5)]
                found += plain_faults(call, odd)
            return found

    async with serving(Echo) as server:
        assert await asyncio.to_thread(use, server.urls[0]) == []


ADDED = [name for name in vespiary.ServerOptions.__annotations__ if name != "nothing"]
ASKED = list(vespiary.ClientOptions.__annotations__)


async def test_the_url_and_the_handler_of_an_endpoint() -> None:
    assert await faults(lambda odd: vespiary.Server().add(Echo, odd)) == []
    assert await faults(lambda odd: vespiary.Server().add(odd, WS)) == []
    assert await faults(lambda odd: vespiary.Server(signals=odd)) == []
    assert await faults(lambda odd: vespiary.connect(odd)) == []


@pytest.mark.parametrize("option", ADDED)
async def test_an_option_of_an_endpoint(option: str) -> None:
    for url in (WS, TCP):

        def add(odd: Any) -> None:
            options: dict[str, Any] = {option: odd}
            vespiary.Server().add(Echo, url, **options)  # noqa: B023

        assert await faults(add) == []


@pytest.mark.parametrize("option", ASKED)
async def test_an_option_of_a_client(option: str) -> None:
    for url in ("ws://127.0.0.1:1", "tcp://127.0.0.1:1"):

        def connect(odd: Any) -> object:
            options: dict[str, Any] = {option: odd}
            return vespiary.connect(url, **options)  # noqa: B023

        assert await faults(connect) == []


VALUES: list[Any] = [
    vespiary.Limits,
    vespiary.Deadlines,
    vespiary.WebSocket,
    vespiary.Compression,
    vespiary.Backoff,
    vespiary.LengthPrefix,
]


@pytest.mark.parametrize("cls", VALUES)
async def test_a_field_of_an_option(cls: Any) -> None:
    for field in dataclasses.fields(cls):
        assert await faults(lambda odd: cls(**{field.name: odd})) == [], field.name  # noqa: B023


async def test_a_response() -> None:
    class Answers(vespiary.Handler):
        async def on_request(self, request: vespiary.Request) -> vespiary.Response:
            found.extend(await faults(lambda odd: request.respond(odd)))
            found.extend(await faults(lambda odd: request.respond(200, odd)))
            found.extend(await faults(lambda odd: request.respond(200, headers=odd)))
            found.extend(await faults(lambda odd: request.redirect(odd)))
            found.extend(await faults(lambda odd: request.redirect("/", odd)))
            found.extend(await faults(lambda odd: request.accept(odd)))
            found.extend(await faults(lambda odd: request.accept(None, odd)))
            found.extend(await faults(lambda odd: vespiary.Response(odd)))
            found.extend(await faults(lambda odd: vespiary.Response(200, odd)))
            found.extend(await faults(lambda odd: vespiary.Response(200, body=odd)))
            return request.accept()

    found: list[str] = []
    async with serving(Answers) as server, vespiary.connect(server.urls[0]):
        assert found == []


async def test_the_rest() -> None:
    assert await faults(vespiary.Endpoint.parse) == []
    assert await faults(lambda odd: vespiary.ServerTLS(odd, odd)) == []
    assert await faults(lambda odd: vespiary.ClientTLS(ca=odd)) == []
    assert await faults(lambda odd: vespiary.ClientTLS(server_name=odd)) == []
    for odd in ODD:
        async with serving(Echo) as server:
            assert await faults(lambda odd: server.stop(odd), [odd]) == []


def test_run_and_serve(driver: str) -> None:
    assert plain_faults(lambda odd: vespiary.run(odd)) == []
    for name in ("driver", "spin_microseconds", "on_serving", "signals"):

        def serve(odd: Any) -> None:
            # A framing that there is not: nothing is served, whatever the value.
            options: dict[str, Any] = {"framing": "nothing", name: odd}  # noqa: B023
            vespiary.serve(Echo, TCP, **options)

        assert plain_faults(serve) == []
