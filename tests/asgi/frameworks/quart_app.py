"""Quart."""

from collections.abc import AsyncIterator

from quart import Quart, Response, request, websocket

app = Quart(__name__)
started: list[str] = []


@app.before_serving
async def startup() -> None:
    started.append("yes")


@app.get("/json")
async def hello() -> dict[str, str]:
    return {"message": "hello"}


@app.get("/state")
async def state() -> str:
    return started[-1]


@app.post("/echo")
async def echo() -> Response:
    data = await request.get_data()
    return Response(data)


@app.post("/upload")
async def upload() -> str:
    file = (await request.files)["file"]
    return f"{file.filename} {len(file.read())}"


@app.get("/stream")
async def stream() -> Response:
    async def lines() -> AsyncIterator[bytes]:
        for number in range(3):
            yield f"{number}\n".encode()

    return Response(lines())


@app.get("/fail")
async def fail() -> str:
    raise ZeroDivisionError("planted")


@app.websocket("/ws")
async def talk() -> None:
    while True:
        await websocket.send(await websocket.receive())
