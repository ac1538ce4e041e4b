"""FastAPI."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, File, Request, Response, UploadFile, WebSocket, WebSocketDisconnect
from fastapi.responses import PlainTextResponse, StreamingResponse


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
    yield {"started": "yes"}


app = FastAPI(lifespan=lifespan)


@app.get("/json")
def hello() -> dict[str, str]:
    return {"message": "hello"}


@app.get("/state")
async def state(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.state.started)


@app.post("/echo")
async def echo(request: Request) -> Response:
    return Response(b"".join([piece async for piece in request.stream()]))


@app.post("/upload")
async def upload(file: Annotated[UploadFile, File()]) -> PlainTextResponse:
    return PlainTextResponse(f"{file.filename} {len(await file.read())}")


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        for number in range(3):
            yield f"{number}\n"

    return StreamingResponse(lines())


@app.get("/fail")
async def fail() -> None:
    raise ZeroDivisionError("planted")


@app.websocket("/ws")
async def talk(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        return
