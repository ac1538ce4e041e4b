"""The lifespan of ASGI applications: startup, state, shutdown, and what may fail."""

import asyncio
import logging
from typing import Any, Literal

import pytest

import vespiary

from .kit import HTTP, Receive, Send, connected, respond, serving, virtual_time


class Lasting:
    """An application with a lifespan; `calls` is what happens, in order."""

    def __init__(self, startup: str = "complete", shutdown: str = "complete") -> None:
        self.calls: list[str] = []
        self.states: list[dict[str, Any]] = []
        self.startup = startup
        self.shutdown = shutdown

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            self.calls.append("request")
            self.states.append(scope["state"])
            scope["state"]["own"] = True
            return await respond(send)
        assert scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}
        assert await receive() == {"type": "lifespan.startup"}
        scope["state"]["shared"] = self.calls
        self.calls.append("startup")
        await send({"type": f"lifespan.startup.{self.startup}", "message": "no database"})
        assert await receive() == {"type": "lifespan.shutdown"}
        self.calls.append("shutdown")
        await send({"type": f"lifespan.shutdown.{self.shutdown}", "message": "lost data"})
        return None


async def test_requests_come_between_startup_and_shutdown_with_a_copy_of_the_state() -> None:
    app = Lasting()
    async with serving(vespiary.ASGI(app), HTTP) as server:
        assert app.calls == ["startup"]
        async with connected(server) as client:
            await client.ask("GET", "/")
            await client.ask("GET", "/")
    assert app.calls == ["startup", "request", "request", "shutdown"]
    assert app.states == [{"shared": app.calls, "own": True}] * 2
    assert app.states[0] is not app.states[1]


async def test_the_lifespan_runs_once_for_several_endpoints_and_again_at_the_next_start() -> None:
    app = Lasting()
    handler = vespiary.ASGI(app)
    server = vespiary.Server()
    server.add(handler, HTTP)
    server.add(handler, HTTP)
    for _ in range(2):
        async with server:
            assert app.calls[-1] == "startup"
    assert app.calls == ["startup", "shutdown"] * 2


@virtual_time
@pytest.mark.parametrize("mode", ["auto", "on"])
async def test_a_failed_startup_stops_the_start_with_its_message(
    mode: Literal["auto", "on"],
) -> None:
    server = vespiary.Server()
    server.add(vespiary.ASGI(Lasting("failed"), lifespan=mode), HTTP)
    with pytest.raises(vespiary.ApplicationFailed, match="startup failed: no database"):
        await server.start()


async def test_a_failed_shutdown_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(vespiary.ASGI(Lasting(shutdown="failed")), HTTP):
        pass
    assert "The application's shutdown failed: lost data" in caplog.text


async def unsupported(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        raise ValueError("HTTP only")
    await respond(send, b"hello")


async def returning(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await respond(send, b"hello")


@pytest.mark.parametrize("app", [unsupported, returning])
async def test_an_application_without_lifespan_is_served(
    app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vespiary")
    async with serving(vespiary.ASGI(app), HTTP) as server, connected(server) as client:
        assert (await client.ask("GET", "/")).body == b"hello"
    assert "does not support the lifespan protocol" in caplog.text


@pytest.mark.parametrize("app", [unsupported, returning])
async def test_it_is_refused_where_a_lifespan_is_required(app: Any) -> None:
    server = vespiary.Server()
    server.add(vespiary.ASGI(app, lifespan="on"), HTTP)
    with pytest.raises(vespiary.ApplicationFailed, match=r"its lifespan (raised|returned)"):
        await server.start()


async def test_the_protocol_can_be_left_off() -> None:
    app = Lasting()
    async with (
        serving(vespiary.ASGI(app, lifespan="off"), HTTP) as server,
        connected(server) as client,
    ):
        await client.ask("GET", "/")
    assert app.calls == ["request"]
    assert app.states == [{"own": True}]


@pytest.mark.parametrize(
    ("message", "match"),
    [
        ({"type": "lifespan.shutdown.complete"}, "send lifespan.startup.complete or"),
        ({"type": "http.response.start"}, "the startup is not complete"),
        ({}, "an ASGI message is a dict with a 'type'"),
    ],
)
async def test_wrong_messages_are_clear_errors(message: dict[str, Any], match: str) -> None:
    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send(message)

    server = vespiary.Server()
    server.add(vespiary.ASGI(app, lifespan="on"), HTTP)
    with pytest.raises(vespiary.ApplicationFailed) as raised:
        await server.start()
    assert match in str(raised.value)


async def test_a_lifespan_that_fails_while_the_server_runs_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fail = asyncio.Event()
    failed = asyncio.Event()

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        try:
            await fail.wait()
            raise ZeroDivisionError("planted")
        finally:
            failed.set()

    async with serving(vespiary.ASGI(app), HTTP):
        fail.set()
        await failed.wait()
    assert "The application's lifespan failed" in caplog.text


async def test_a_stop_cancels_a_startup_that_waits() -> None:
    ended: list[str] = []
    begun = asyncio.Event()

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    server = vespiary.Server()
    server.add(vespiary.ASGI(app), HTTP)
    starting = asyncio.create_task(server.start())
    await begun.wait()
    await server.stop()
    await starting
    assert ended == ["ended"]
