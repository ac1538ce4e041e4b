"""Redirects of a handshake: which are followed, what goes along, and what is reported."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

import vespiary

from .kit import OWN_HOST, Echo, free_port, serving, virtual_time

Route = Callable[[vespiary.Request], vespiary.Response | None]


class Routes(Echo):
    """Remembers each request, and answers by its path."""

    def __init__(self, **routes: Route) -> None:
        self.routes = routes
        self.requests: list[vespiary.Request] = []

    def on_request(self, request: vespiary.Request) -> vespiary.Response | None:
        self.requests.append(request)
        route = self.routes.get(request.path.strip("/"))
        return route(request) if route is not None else None

    @property
    def paths(self) -> list[str]:
        return [request.target for request in self.requests]


def to(location: str, status: int = 302) -> Route:
    return lambda request: request.redirect(location, status)


@asynccontextmanager
async def routes(**routes: Route) -> AsyncIterator[tuple[Routes, str]]:
    handler = Routes(**routes)
    async with serving(handler) as server:
        yield handler, server.urls[0].rstrip("/")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_every_redirect_is_followed_as_far_as_it_may(status: int) -> None:
    async with routes(a=to("/b?c=d", status), b=to("e", status)) as (handler, url):
        async with vespiary.connect(f"{url}/a", redirects_max=2) as client:
            client.send("there")
            assert await client.receive() == "there"
        assert handler.paths == ["/a", "/b?c=d", "/e"]


async def test_no_redirect_is_followed_unless_it_is_asked_for() -> None:
    async with routes(a=to("/b")) as (handler, url):
        with pytest.raises(vespiary.RedirectRefused, match="redirects_max is 0") as raised:
            await vespiary.connect(f"{url}/a")
        assert raised.value.redirects == (vespiary.Redirect(f"{url}/a", 302, "/b"),)
        assert raised.value.status == 302
        assert raised.value.headers["location"] == "/b"
        assert handler.paths == ["/a"]


async def test_too_many_redirects_are_reported_with_every_step() -> None:
    async with routes(a=to("/b", 301), b=to("/c", 307), c=to("/d", 303)) as (_, url):
        with pytest.raises(vespiary.RedirectRefused, match="at most 2") as raised:
            await vespiary.connect(f"{url}/a", redirects_max=2)
        steps = [(step.url, step.status, step.location) for step in raised.value.redirects]
        assert steps == [(f"{url}/a", 301, "/b"), (f"{url}/b", 307, "/c"), (f"{url}/c", 303, "/d")]
        assert all(str(step) in str(raised.value) for step in raised.value.redirects)


async def test_a_circle_is_reported_before_it_closes() -> None:
    async with routes(a=to("/b"), b=to("/c"), c=to("/a")) as (handler, url):
        with pytest.raises(vespiary.RedirectRefused, match="in a loop"):
            await vespiary.connect(f"{url}/a", redirects_max=100)
        assert handler.paths == ["/a", "/b", "/c"]


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://[::1/", "not a valid URL"),
        ("tcp://127.0.0.1:1", "its target is not a WebSocket URL"),
        ("unix:///run/x.sock", "its target is not a WebSocket URL"),
        ("mailto:somebody", "its target is not a WebSocket URL"),
        ("/b#fragment", "fragment"),
        ("ws://user:secret@127.0.0.1:1/", "user name"),
        ("ws://127.0.0.1:99999/", "port"),
    ],
)
async def test_a_redirect_that_leads_astray_is_not_followed(location: str, why: str) -> None:
    async with routes(a=to(location)) as (_, url):
        with pytest.raises(vespiary.RedirectRefused, match=why):
            await vespiary.connect(f"{url}/a", redirects_max=5)


@pytest.mark.parametrize("headers", [[], [("Location", "/b"), ("Location", "/c")]])
async def test_a_redirect_names_one_place(headers: list[tuple[str, str]]) -> None:
    async with routes(a=lambda request: request.respond(302, headers=headers)) as (_, url):
        with pytest.raises(vespiary.RedirectRefused, match="no Location field, or several"):
            await vespiary.connect(f"{url}/a", redirects_max=5)


CREDENTIALS = [("Authorization", "Bearer secret"), ("Cookie", "session=secret"), ("X-Mine", "1")]


async def test_credentials_go_along_within_an_origin() -> None:
    async with (
        routes(a=to("/b")) as (handler, url),
        vespiary.connect(f"{url}/a", headers=CREDENTIALS, redirects_max=1),
    ):
        for request in handler.requests:
            assert [line for line in request.headers.lines if line in CREDENTIALS] == CREDENTIALS


async def test_credentials_stay_with_the_origin_they_were_meant_for() -> None:
    async with routes(back=to("/never")) as (other, elsewhere):
        async with routes(a=to(f"{elsewhere}/b".replace("ws://", "http://"))) as (handler, url):
            async with vespiary.connect(f"{url}/a", headers=CREDENTIALS, redirects_max=1):
                pass
            user_in_url = f"{url}/a".replace("ws://", "ws://me:secret@")
            async with vespiary.connect(user_in_url, redirects_max=1):
                pass
        first, second = handler.requests
        assert first.headers["authorization"] == "Bearer secret"
        assert second.headers["authorization"].startswith("Basic ")
        with_headers, with_user = other.requests
        assert with_headers.headers["x-mine"] == "1"
        for request in (with_headers, with_user):
            assert "authorization" not in request.headers
            assert "cookie" not in request.headers
            assert f"ws://{request.headers['host']}" == elsewhere


async def test_a_refusal_behind_a_redirect_tells_the_way_there() -> None:
    async with routes(a=to("/b"), b=lambda request: request.respond(403, "not you")) as (_, url):
        with pytest.raises(vespiary.HandshakeRefused, match="not you") as raised:
            await vespiary.connect(f"{url}/a", redirects_max=1)
        assert type(raised.value) is vespiary.HandshakeRefused
        assert raised.value.status == 403
        assert raised.value.body == b"not you"
        assert raised.value.redirects == (vespiary.Redirect(f"{url}/a", 302, "/b"),)
        assert "redirected" in str(raised.value)


async def test_a_failure_behind_a_redirect_tells_the_way_there() -> None:
    async with routes(a=to(f"ws://{OWN_HOST}:{free_port()}/")) as (_, url):
        with pytest.raises(ConnectionRefusedError) as raised:
            await vespiary.connect(f"{url}/a", redirects_max=1)
        assert f"{url}/a redirected to" in raised.value.__notes__[0]


@virtual_time
async def test_one_deadline_holds_for_all_steps() -> None:
    steps = itertools.count()

    class Late(vespiary.Handler):
        async def on_request(self, request: vespiary.Request) -> vespiary.Response:
            await asyncio.sleep(3)
            return request.respond(302, headers=[("Location", f"/{next(steps)}")])

    async with serving(Late) as server:
        began = asyncio.get_running_loop().time()
        deadlines = vespiary.Deadlines(handshake_seconds=10)
        with pytest.raises(TimeoutError):
            await vespiary.connect(server.urls[0], deadlines=deadlines, redirects_max=50)
        assert 10 <= asyncio.get_running_loop().time() - began < 11
    assert next(steps) >= 3


@pytest.mark.parametrize("number", [-1, True, 1.5, "5"])
async def test_a_bound_that_is_none_is_reported_at_once(number: object) -> None:
    with pytest.raises(vespiary.ConfigurationError, match="redirects_max"):
        vespiary.connect("ws://127.0.0.1:1", redirects_max=number)  # type: ignore[arg-type]
