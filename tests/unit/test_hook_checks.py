"""Mistakes in a handler, or in the name of an option, are errors with a suggestion."""

import dataclasses
import functools
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import vespiary
from vespiary._hook_checks import HOOKS
from vespiary._hooks import as_handler
from vespiary.errors import ConfigurationError


def with_method(name: str, method: object, base: type = vespiary.Handler) -> Any:
    return type("Mistaken", (base,), {name: method})()


def refused(handler: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        as_handler(handler)
    return str(caught.value)


def plain(self: object, *details: object) -> None:
    del self, details


async def coroutine(self: object, *details: object) -> None:
    del self, details


def test_the_checks_know_exactly_the_hooks_that_a_handler_has() -> None:
    assert set(HOOKS) == {name for name in vars(vespiary.Handler) if name.startswith("on_")}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("on_mesage", "on_message"),
        ("on_connect", "on_"),
        ("on_messages", "on_message"),
        ("on_opened", "on_open"),
        ("on_closed", "on_close"),
        ("onMessage", "on_message"),
        ("onopen", "on_open"),
        ("on_Request", "on_request"),
        ("on_disconnect", "on_"),
    ],
)
@pytest.mark.parametrize("method", [plain, coroutine, None, 5])
def test_a_misspelt_hook_is_an_error_with_the_nearest_name(
    name: str, meant: str, method: object
) -> None:
    text = refused(with_method(name, method))
    assert f"Mistaken.{name} is not a hook" in text
    assert meant in text


def test_a_misspelt_hook_of_a_base_class_or_of_the_object_itself_is_found_too() -> None:
    class Base:
        def on_mesage(self) -> None: ...

    class Below(vespiary.Handler, Base): ...

    assert "on_mesage is not a hook" in refused(Below)
    handler = vespiary.Handler()
    handler.on_opne = plain  # type: ignore[attr-defined]
    assert "did you mean 'on_open'?" in refused(handler)


@pytest.mark.parametrize("name", sorted(HOOKS))
@pytest.mark.parametrize("value", [None, 5, "text", property(lambda self: None)])
def test_a_hook_that_cannot_be_called_is_an_error(name: str, value: object) -> None:
    assert f"Mistaken.{name} is" in refused(with_method(name, value))


@pytest.mark.parametrize("name", ["on_part", "on_drain", "on_end", "on_limit"])
def test_an_async_hook_that_nobody_awaits_is_an_error(name: str) -> None:
    assert "make it a plain method" in refused(with_method(name, coroutine))


@pytest.mark.parametrize("name", sorted(HOOKS))
@pytest.mark.parametrize("count", [-1, 1])
def test_a_hook_with_the_wrong_number_of_parameters_is_an_error(name: str, count: int) -> None:
    names = ", ".join(["self", *(f"p{n}" for n in range(len(HOOKS[name]) + count))])
    scope: dict[str, Any] = {}
    exec(f"def method({names}): pass", scope)
    text = refused(with_method(name, scope["method"]))
    assert f"Mistaken.{name} is called with ({', '.join(HOOKS[name])})" in text


@pytest.mark.parametrize("name", sorted(HOOKS))
def test_a_hook_may_take_any_parameters_be_static_or_partial(name: str) -> None:
    def loose(*details: object) -> None: ...

    partial = staticmethod(functools.partial(loose))  # A later Python binds a bare one.
    for method in (loose, staticmethod(loose), partial, plain):
        as_handler(with_method(name, method))


def test_a_hook_with_a_yield_is_an_error() -> None:
    async def on_message(
        self: object, connection: object, message: object
    ) -> AsyncIterator[object]:
        yield message

    assert "contains a yield" in refused(with_method("on_message", on_message))


def test_an_async_object_with_hooks_is_an_error_as_they_would_never_be_called() -> None:
    class Guarded:
        async def __call__(self, connection: vespiary.Connection) -> None: ...

        def on_request(self, request: vespiary.Request) -> vespiary.Response:
            return request.respond(401)

    text = refused(Guarded())
    assert "on_request would never be called" in text
    assert "subclass vespiary.Handler" in text


def test_a_handler_with_a_call_method_is_an_error() -> None:
    class Both(vespiary.Handler):
        async def __call__(self, connection: vespiary.Connection) -> None: ...

    assert "__call__ would never be called" in refused(Both())


async def _too_few() -> None: ...


async def _too_many(connection: object, path: object) -> None: ...


async def _generator(connection: object) -> AsyncIterator[object]:
    yield connection


@pytest.mark.parametrize("function", [_too_few, _too_many])
def test_an_async_function_that_does_not_take_a_connection_is_an_error(function: object) -> None:
    assert "takes a connection" in refused(function)


def test_what_is_nearly_a_handler_is_an_error_that_says_why() -> None:
    class Call:
        async def __call__(self, connection: vespiary.Connection) -> None: ...

    class Demanding(vespiary.Handler):
        def __init__(self, name: str) -> None: ...

    assert "its yield makes it a generator" in refused(_generator)
    assert "pass an object of this class" in refused(Call)
    assert "cannot be created without arguments" in refused(Demanding)


@pytest.mark.parametrize(
    ("make", "name", "meant"),
    [
        (vespiary.Limits, "mesage_bytes_max", "message_bytes_max"),
        (vespiary.Deadlines, "idle_second", "idle_seconds"),
        (vespiary.WebSocket, "origin", "origins"),
        (vespiary.Compression, "levels", "level"),
        (vespiary.Backoff, "first_second", "first_seconds"),
        (vespiary.LengthPrefix, "widht", "width"),
        (functools.partial(dataclasses.replace, vespiary.Limits()), "header_max", "headers_max"),
        (
            functools.partial(vespiary.Server().add, vespiary.Handler, "tcp://127.0.0.1:1"),
            "framng",
            "framing",
        ),
        (
            functools.partial(vespiary.serve, vespiary.Handler, "tcp://127.0.0.1:1"),
            "slow_consumers",
            "slow_consumer",
        ),
    ],
)
def test_a_misspelt_option_is_an_error_with_the_nearest_name(
    make: Callable[..., object], name: str, meant: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"has no '{name}': did you mean '{meant}'"):
        make(**{name: 1})


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("on_connect", "it is on_open"),
        ("on_disconnect", "it is on_close"),
        ("on_error", "on_close"),
        ("on_text", "it is on_message"),
        ("on_data", "it is on_message"),
        ("on_pong", "connection.ping()"),
        ("on_upgrade", "it is on_request"),
    ],
)
def test_hooks_of_other_libraries_are_answered_with_what_to_write(name: str, written: str) -> None:
    assert written in refused(with_method(name, plain))


def test_on_part_beside_on_message_is_an_error() -> None:
    class Base(vespiary.Handler):
        def on_message(self, connection: vespiary.Connection, message: object) -> None: ...

    class Both(Base):
        def on_part(
            self, connection: vespiary.Connection, part: bytes, last: bool, text: bool
        ) -> None: ...

    assert "both on_part and on_message" in refused(Both)
    as_handler(with_method("on_message", vespiary.Handler.on_message, Both))


@pytest.mark.parametrize("framing", ["line", "crlf"])
def test_parts_of_lines_are_an_error_on_servers_and_clients(framing: Any) -> None:
    class Parts(vespiary.Handler):
        def on_part(
            self, connection: vespiary.Connection, part: bytes, last: bool, text: bool
        ) -> None: ...

    url = "tcp://127.0.0.1:9"
    for use in (
        lambda: vespiary.Server().add(Parts, url, framing=framing),
        lambda: vespiary.connect(url, Parts(), framing=framing),
        lambda: vespiary.sync.connect(url, parts=True, framing=framing),
    ):
        with pytest.raises(ConfigurationError, match="has no parts of messages"):
            use()
