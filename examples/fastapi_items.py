"""A FastAPI application with pages, JSON, a stream of events and a WebSocket on one address.

Vespiary serves the application with `vespiary.ASGI`. `vespiary serve fastapi_items.py:app
http://127.0.0.1:8000` does the same.

Run:   .venv/bin/python examples/fastapi_items.py [URL]     (default http://127.0.0.1:8000)
Talk:  curl http://127.0.0.1:8000/items
       curl -d '{"name": "comb"}' -H 'Content-Type: application/json' http://127.0.0.1:8000/items
       curl -N http://127.0.0.1:8000/ticks
       .venv/bin/python -m websockets ws://127.0.0.1:8000/echo
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, WebSocket
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

import vespiary


class Item(BaseModel):
    """An item of the store."""

    name: str
    price: float = 0.0


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Run code before the first request and after the last one."""
    app.state.items = {1: Item(name="honey", price=4.5)}
    yield
    app.state.items.clear()


app = FastAPI(lifespan=lifespan)


@app.get("/items")
async def all_items() -> dict[int, Item]:
    """Return all items."""
    items: dict[int, Item] = app.state.items
    return items


@app.get("/items/{number}")
async def one_item(number: int) -> Item:
    """Return one item."""
    if number not in app.state.items:
        raise HTTPException(404, "there is nothing with this number")
    item: Item = app.state.items[number]
    return item


@app.post("/items", status_code=201)
async def add_item(item: Item) -> dict[str, int]:
    """Add an item."""
    number = max(app.state.items, default=0) + 1
    app.state.items[number] = item
    return {"number": number}


@app.get("/ticks")
async def ticks(count: int = 3) -> StreamingResponse:
    """Send events, for a browser's EventSource."""

    async def events() -> AsyncIterator[str]:
        for number in range(count):
            yield f"data: {number}\n\n"
            await asyncio.sleep(0.1)

    return StreamingResponse(events(), media_type="text/event-stream")


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    """Send each message back."""
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


def main() -> None:
    """Serve."""
    url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"
    vespiary.serve(vespiary.ASGI(app, lifespan="on"), url)


if __name__ == "__main__":
    main()
