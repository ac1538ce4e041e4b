"""The applications that are measured, each of a few lines."""

from __future__ import annotations

import json
from typing import Any

CONTENT = {"message": "hello", "numbers": [1, 2, 3]}
LARGE = b"x" * 65536


async def small(scope: Any, receive: Any, send: Any) -> None:
    """A small JSON answer, and an echo for WebSockets."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "bytes": message["bytes"]})
        return
    if scope["type"] != "http":
        raise ValueError(scope["type"])
    body = json.dumps(CONTENT).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def large(scope: Any, receive: Any, send: Any) -> None:
    """An answer of 64 KiB."""
    if scope["type"] != "http":
        raise ValueError(scope["type"])
    headers = [(b"content-length", b"65536")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": LARGE})


async def upload(scope: Any, receive: Any, send: Any) -> None:
    """The size of the request's body, of which nothing is kept."""
    if scope["type"] != "http":
        raise ValueError(scope["type"])
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message["body"])
        more = message["more_body"]
    body = b"%d" % size
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    """A small JSON answer by WSGI."""
    body = json.dumps(CONTENT).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]


def starlette() -> Any:
    """The same under Starlette."""
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def answer(request: Any) -> JSONResponse:
        return JSONResponse(CONTENT)

    return Starlette(routes=[Route("/", answer)])


def fastapi() -> Any:
    """The same under FastAPI."""
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/")
    async def answer() -> dict[str, Any]:
        return CONTENT

    return app


def named(name: str) -> Any:
    """The application of a scenario."""
    return (
        {"starlette": starlette, "fastapi": fastapi}[name]() if name in FACTORIES else NAMED[name]
    )


FACTORIES = ("starlette", "fastapi")
NAMED = {"small": small, "large": large, "upload": upload, "wsgi": wsgi}
