"""Litestar."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from litestar import Litestar, Request, WebSocket, get, post, websocket
from litestar.datastructures import State, UploadFile
from litestar.enums import RequestEncodingType
from litestar.exceptions import WebSocketDisconnect
from litestar.params import Body
from litestar.response import Response, Stream


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    app.state.started = "yes"
    yield


@get("/json")
async def hello() -> dict[str, str]:
    return {"message": "hello"}


@get("/state", media_type="text/plain")
async def state(state: State) -> str:
    started: str = state.started
    return started


@post("/echo", status_code=200)
async def echo(request: Request[Any, Any, Any]) -> Response[bytes]:
    return Response(await request.body(), media_type="application/octet-stream")


@post("/upload", status_code=200, media_type="text/plain")
async def upload(
    data: Annotated[dict[str, UploadFile], Body(media_type=RequestEncodingType.MULTI_PART)],
) -> str:
    file = data["file"]
    return f"{file.filename} {len(await file.read())}"


@get("/stream")
async def stream() -> Stream:
    async def lines() -> AsyncIterator[str]:
        for number in range(3):
            yield f"{number}\n"

    return Stream(lines())


@get("/fail")
async def fail() -> None:
    raise ZeroDivisionError("planted")


@websocket("/ws")
async def talk(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect:
        return


app = Litestar(
    [hello, state, echo, upload, stream, fail, talk], lifespan=[lifespan], openapi_config=None
)
