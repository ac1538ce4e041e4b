"""The application that our server and others serve: `python -m tests.suites.peer_server NAME ...`.

It answers with what it has been given, in the way that the field X-Plan of the request asks for.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["SEEN", "app"]

SEEN = (
    "http_version",
    "method",
    "scheme",
    "path",
    "raw_path",
    "query_string",
    "root_path",
    "headers",
)
"""What the application reports of a request, besides the size of its body and its checksum."""

Message = dict[str, Any]


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Answer one request."""
    if scope["type"] != "http":
        raise ValueError(scope["type"])
    fields = dict(scope["headers"])
    plan = json.loads(fields.get(b"x-plan", b"{}"))
    offered = scope.get("extensions") or {}
    if plan.get("hints") and "http.response.early_hint" in offered:
        await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]})
    try:
        size, checksum = await _read(receive)
    except ClientLeft:
        return
    seen = {name: scope[name] for name in SEEN} | {"size": size, "checksum": checksum}
    status = plan.get("status", 200)
    content = json.dumps(seen, default=lambda value: value.decode("latin-1")).encode()
    content = b"" if status in (204, 304) else content
    headers = [(b"x-app", b"\xe9"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    if plan.get("has_length") and content:
        headers.append((b"content-length", str(len(content)).encode()))
    trailers = bool(plan.get("trailers")) and "http.response.trailers" in offered
    start = {"type": "http.response.start", "status": status, "headers": headers}
    await send(start | ({"trailers": True} if trailers else {}))
    step = max(1, len(content) // plan.get("pieces", 1))
    for first in range(0, len(content), step):
        piece = content[first : first + step]
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
    if trailers:
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"1")]})


class ClientLeft(Exception):
    """The body has not come whole."""


async def _read(receive: Callable[[], Awaitable[Message]]) -> tuple[int, int]:
    """Read the whole body; its size and checksum."""
    size = checksum = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        body = message.get("body", b"")
        size, checksum = size + len(body), zlib.crc32(body, checksum)
        if not message.get("more_body", False):
            return size, checksum


def main() -> None:
    """Serve until SIGTERM."""
    name, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    kind, _, way = name.partition("-")
    if kind == "vespiary":
        import vespiary

        limits = vespiary.Limits(requests_per_connection_max=None)
        handler = vespiary.ASGI(app, lifespan="off")
        vespiary.serve(handler, f"http://{host}:{port}", driver=way, limits=limits)
    elif kind == "uvicorn":
        import uvicorn

        uvicorn.run(
            app, host=host, port=port, http=way, lifespan="off", ws="none", log_level="critical"
        )
    else:
        from granian import Granian
        from granian.constants import Interfaces

        Granian(
            "tests.suites.peer_server:app",
            address=host,
            port=port,
            interface=Interfaces.ASGINL,
            websockets=False,
            log_enabled=False,
        ).serve()


if __name__ == "__main__":
    main()
