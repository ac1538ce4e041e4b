"""A FastAPI application: the server of fastapi.toml."""

import threading

from fastapi import FastAPI

app = FastAPI()
_lock = threading.Lock()
_asked = 0


@app.get("/count")
async def count() -> dict[str, int]:
    """How many items were asked for; answered on the loop."""
    return {"items": _asked}


@app.get("/items/{number}")
def item(number: int) -> dict[str, int | str]:
    """An item; answered on a thread."""
    global _asked
    with _lock:
        _asked += 1
    return {"number": number, "name": f"item {number}"}
