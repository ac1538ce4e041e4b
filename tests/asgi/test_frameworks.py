"""The frameworks that people use, each with one application of the same paths."""

import asyncio
import importlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest

import vespiary

from .kit import HTTP, serving

ASGI = ("starlette", "fastapi", "quart", "litestar", "django")
WSGI = ("flask", "django")
WITH_WEBSOCKETS = ("starlette", "fastapi", "quart", "litestar")

pytestmark = pytest.mark.filterwarnings("default")  # What frameworks use is their own matter.


def load(framework: str, interface: str = "ASGI") -> vespiary.Handler:
    """The application of a framework, as a handler."""
    module = importlib.import_module(f"tests.asgi.frameworks.{framework}_app")
    if interface == "ASGI":
        return vespiary.ASGI(module.app)
    return vespiary.WSGI(getattr(module, "wsgi_app", module.app))


every_framework: Callable[[Any], Any] = pytest.mark.parametrize(
    ("framework", "interface"),
    [*((name, "ASGI") for name in ASGI), *((name, "WSGI") for name in WSGI)],
)


@every_framework
async def test_it_answers_takes_bodies_and_uploads_and_streams(
    framework: str, interface: str
) -> None:
    async with (
        serving(load(framework, interface), HTTP) as server,
        httpx.AsyncClient(base_url=server.urls[0]) as client,
    ):
        for _ in range(2):
            assert (await client.get("/json")).json() == {"message": "hello"}
        for body in (b"", b"honey", bytes(range(256)) * 1000):
            assert (await client.post("/echo", content=body)).content == body
        files = {"file": ("comb.bin", b"x" * 300_000)}
        assert (await client.post("/upload", files=files)).text == "comb.bin 300000"
        assert (await client.get("/stream")).text == "0\n1\n2\n"
        assert (await client.get("/nothing")).status_code == 404
        assert (await client.head("/json")).content == b""


@every_framework
async def test_an_exception_is_answered_500_and_the_server_goes_on(
    framework: str, interface: str
) -> None:
    async with (
        serving(load(framework, interface), HTTP) as server,
        httpx.AsyncClient(base_url=server.urls[0]) as client,
    ):
        for _ in range(2):
            assert (await client.get("/fail")).status_code == 500
            assert (await client.get("/json")).status_code == 200


@pytest.mark.parametrize("framework", ["starlette", "fastapi", "quart", "litestar"])
async def test_what_its_startup_has_made_is_there(framework: str) -> None:
    async with (
        serving(load(framework), HTTP) as server,
        httpx.AsyncClient(base_url=server.urls[0]) as client,
    ):
        assert (await client.get("/state")).text == "yes"


@pytest.mark.parametrize("framework", WITH_WEBSOCKETS)
async def test_it_talks_on_websockets(framework: str) -> None:
    async with serving(load(framework), HTTP) as server:
        url = server.urls[0].replace("http", "ws", 1)

        async def talk(number: int) -> None:
            async with vespiary.connect(f"{url}ws") as connection:
                for count in range(5):
                    connection.send(f"{number} {count}")
                    assert await connection.receive() == f"{number} {count}"

        await asyncio.gather(*(talk(number) for number in range(10)))
        with pytest.raises(vespiary.HandshakeRefused):
            await vespiary.connect(f"{url}nothing")


@every_framework
async def test_many_requests_at_the_same_time_get_their_own_answers(
    framework: str, interface: str
) -> None:
    async with (
        serving(load(framework, interface), HTTP) as server,
        httpx.AsyncClient(base_url=server.urls[0]) as client,
    ):
        bodies = [f"{number}".encode() * 100 for number in range(40)]
        replies = await asyncio.gather(*(client.post("/echo", content=body) for body in bodies))
        assert [reply.content for reply in replies] == bodies
