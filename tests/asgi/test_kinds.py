"""Which kind of application an object is, and what is said about those that cannot be served."""

import functools
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest

import vespiary
from vespiary._served import as_served
from vespiary.http._kinds import kind_of


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    return []


async def handler(connection: Any) -> None: ...


def asgi2(scope: Any) -> Any: ...


def create_app() -> Any: ...


def create_app_with(settings: str = "production") -> Any: ...


class ASGIObject:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class WSGIObject:
    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        return []


class WSGIClass:
    def __init__(self, environ: Any, start_response: Any) -> None: ...

    def __iter__(self) -> Any: ...


class ASGI2Class:
    def __init__(self, scope: Any) -> None: ...

    async def __call__(self, receive: Any, send: Any) -> None: ...


def plainly(app: Callable[..., Awaitable[None]]) -> Any:
    def wrapper(scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        return app(scope, receive, send)

    return wrapper


def wrapped(app: Any) -> Any:
    @functools.wraps(app)
    def wrapper(*arguments: Any, **named: Any) -> Any:
        return app(*arguments, **named)

    return wrapper


def with_more(more: int, environ: Any, start_response: Any) -> Iterable[bytes]:
    return []


KINDS: list[tuple[Any, str]] = [
    (asgi, "ASGI"),
    (ASGIObject(), "ASGI"),
    (ASGIObject().__call__, "ASGI"),
    (plainly(asgi), "ASGI"),
    (wrapped(asgi), "ASGI"),
    (functools.partial(asgi), "ASGI"),
    (wsgi, "WSGI"),
    (WSGIObject(), "WSGI"),
    (WSGIClass, "WSGI"),
    (wrapped(wsgi), "WSGI"),
    (functools.partial(with_more, 1), "WSGI"),
    (asgi2, "ASGI 2"),
    (ASGI2Class, "ASGI 2"),
    (create_app, "factory"),
    (create_app_with, "factory"),
    (ASGIObject, "factory"),
    (handler, "handler"),
    (5, "unknown"),
    (None, "unknown"),
]


@pytest.mark.parametrize(("found", "kind"), KINDS)
def test_the_kind_of_an_object_is_known_by_how_it_is_called(found: Any, kind: str) -> None:
    assert kind_of(found) == kind


@pytest.mark.parametrize(("found", "kind"), KINDS)
def test_only_an_application_of_its_kind_is_taken(found: Any, kind: str) -> None:
    for wanted, make in (("ASGI", vespiary.ASGI), ("WSGI", vespiary.WSGI)):
        if kind == wanted:
            make(found)
            continue
        with pytest.raises(vespiary.ConfigurationError, match=f"{wanted} takes a callable with"):
            make(found)


@pytest.mark.parametrize(
    ("found", "advice"),
    [
        (wsgi, r"use vespiary.WSGI\(app\)"),
        (create_app, "call it, and pass what it returns"),
        (asgi2, "guarantee_single_callable"),
        (handler, r"pass it to serve\(\) itself"),
    ],
)
def test_what_to_do_instead_is_in_the_error(found: Any, advice: str) -> None:
    with pytest.raises(vespiary.ConfigurationError, match=advice):
        vespiary.ASGI(found)


@pytest.mark.parametrize("found", [asgi, ASGIObject(), wsgi, WSGIObject()])
def test_an_application_by_itself_is_refused_with_advice(found: Any) -> None:
    kind = kind_of(found)
    with pytest.raises(vespiary.ConfigurationError, match=rf"vespiary.{kind}\(app\)"):
        vespiary.Server().add(found, "http://127.0.0.1:0")


@pytest.mark.parametrize(
    ("url", "options", "match"),
    [
        ("tcp://127.0.0.1:0", {}, "ASGI applications are served on http:// and https://"),
        ("udp://127.0.0.1:0", {}, "ASGI applications are served on http:// and https://"),
        ("http://127.0.0.1:0", {"executor": "threads"}, "executor= is for the methods of a Han"),
    ],
)
def test_an_asgi_application_is_served_on_http_alone(
    url: str, options: dict[str, Any], match: str
) -> None:
    with pytest.raises(vespiary.ConfigurationError, match=match):
        vespiary.Server().add(vespiary.ASGI(asgi), url, **options)


def test_a_wsgi_application_has_no_websockets() -> None:
    with pytest.raises(vespiary.ConfigurationError, match="WSGI has no WebSockets"):
        vespiary.Server().add(vespiary.WSGI(wsgi), "ws://127.0.0.1:0")


def test_options_of_websockets_are_for_asgi_on_http_too() -> None:
    websocket = vespiary.WebSocket(origins=["https://example.com"])
    vespiary.Server().add(vespiary.ASGI(asgi), "http://127.0.0.1:0", websocket=websocket)
    with pytest.raises(vespiary.ConfigurationError, match="is not a WebSocket endpoint"):
        vespiary.Server().add(vespiary.WSGI(wsgi), "http://127.0.0.1:0", websocket=websocket)


@pytest.mark.parametrize(
    ("cls", "options", "match"),
    [
        (vespiary.ASGI, {"lifespan": "maybe"}, "lifespan is 'auto', 'on' or 'off'; got 'maybe'"),
        (vespiary.ASGI, {"root_path": "api"}, "root_path is empty, or a path that begins with"),
        (vespiary.ASGI, {"access_log": "yes"}, "access_log is True or False"),
        (vespiary.WSGI, {"threads": 0}, "threads is a number from 1 to 1000"),
        (vespiary.WSGI, {"threads": True}, "threads is a number from 1 to 1000"),
        (vespiary.WSGI, {"root_path": None}, "root_path is empty, or a path"),
    ],
)
def test_wrong_options_are_refused(cls: Any, options: dict[str, Any], match: str) -> None:
    app = asgi if cls is vespiary.ASGI else wsgi
    with pytest.raises(vespiary.ConfigurationError, match=match):
        cls(app, **options)


def test_the_command_finds_out_which_kind_it_serves() -> None:
    assert isinstance(as_served(asgi, "app:asgi", {}), vespiary.ASGI)
    assert isinstance(as_served(wsgi, "app:wsgi", {}), vespiary.WSGI)
    assert as_served(handler, "app:handler", {}) is handler
    assert isinstance(as_served(vespiary.ASGI(asgi), "app:made", {}), vespiary.ASGI)


@pytest.mark.parametrize(
    ("found", "options", "match"),
    [
        (create_app, {}, r"name the application itself, for which a line such as app = made\(\)"),
        (ASGI2Class, {}, "is an ASGI 2 application"),
        (wsgi, {"lifespan": "on"}, "--lifespan is for ASGI applications, and app:made is not one"),
        (asgi, {"threads": 3}, "--threads is for WSGI applications"),
        (handler, {"access_log": True}, "--access-log is for ASGI and WSGI applications"),
        (5, {}, "app:made is an object of type int: it must be"),
    ],
)
def test_the_command_refuses_what_it_cannot_serve(
    found: Any, options: dict[str, Any], match: str
) -> None:
    with pytest.raises(vespiary.ConfigurationError, match=match):
        as_served(found, "app:made", options)
