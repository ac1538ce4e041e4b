"""The same application on uvicorn and on Vespiary, asked the same generated requests."""

import asyncio
import json
import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

import vespiary
from tests.waiting import wait_until

from .kit import HTTP, Client, Receive, Reply, Send, connected, serving

REQUESTS = 300
COMPARED = (
    "type",
    "http_version",
    "method",
    "scheme",
    "path",
    "raw_path",
    "query_string",
    "root_path",
    "headers",
)
METHODS = ("GET", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND")
NAMES = ("Accept", "Cookie", "X-Bees", "x-bees", "Authorization", "Range", "ETag")
VALUES = ("", "1", "a, b", 'W/"x"', "a=1; b=2", "ä", "  spaces  ", "x" * 300)
SEGMENTS = ("a", "users", "caf%C3%A9", "%2F", "a%20b", "..", ".", "a;b=c", "~x", "%e4", "a+b", "")
QUERIES = ("", "?", "?x=1", "?x=%20&y=&x=2", "?%C3%A9", "?a?b", "?x=1+2")
STATUSES = (200, 200, 200, 201, 204, 302, 304, 404, 422, 500, 503)


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answer with the scope and the body, in the way that a header field asks for."""
    if scope["type"] != "http":
        raise ValueError(scope["type"])
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    plan = json.loads(dict(scope["headers"])[b"x-plan"])
    seen = {name: scope[name] for name in COMPARED}
    content = json.dumps([seen, body], default=lambda value: value.decode("latin-1")).encode()
    if plan["status"] in (204, 304):
        content = b""
    headers = [(b"x-answer", b"\xe9"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    if plan["has_length"] and plan["status"] not in (204, 304):
        headers.append((b"content-length", str(len(content)).encode()))
    await send({"type": "http.response.start", "status": plan["status"], "headers": headers})
    step = max(1, len(content) // plan["pieces"])
    for start in range(0, len(content), step):
        piece = content[start : start + step]
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def generated(seed: int) -> tuple[str, bytes]:
    """A method and a request."""
    draw = random.Random(seed)
    method = draw.choice(METHODS)
    path = "/" + "/".join(draw.choices(SEGMENTS, k=draw.randint(0, 4)))
    plan = {
        "status": draw.choice(STATUSES),
        "pieces": draw.randint(1, 4),
        "has_length": draw.random() < 0.5,
    }
    lines = [f"{method} {path}{draw.choice(QUERIES)} HTTP/1.1", "Host: example.com"]
    lines += [f"{draw.choice(NAMES)}: {draw.choice(VALUES)}" for _ in range(draw.randint(0, 6))]
    lines.append(f"X-Plan: {json.dumps(plan)}")
    body = draw.randbytes(draw.choice((0, 1, 100, 70_000)))
    kind = draw.choice(("none", "length", "chunked")) if method not in ("GET", "HEAD") else "none"
    content = b""
    if kind == "length":
        lines.append(f"Content-Length: {len(body)}")
        content = body
    elif kind == "chunked":
        lines.append("Transfer-Encoding: chunked")
        chunks = [body[start : start + 9000] for start in range(0, len(body), 9000)]
        content = b"".join(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in chunks)
        content += b"0\r\n\r\n"
    return method, ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + content


def comparable(reply: Reply) -> Any:
    """A response without what servers may choose."""
    own = (b"date", b"server", b"content-length", b"transfer-encoding", b"connection")
    headers = sorted((name, value) for name, value in reply.headers if name not in own)
    return reply.status, headers, json.loads(reply.body) if reply.body else b""


@pytest.fixture(scope="module")
def uvicorn_port() -> Iterator[int]:
    """The port of a uvicorn that serves the application."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, http="h11", log_level="warning", lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


async def test_generated_requests_get_the_same_answers(uvicorn_port: int) -> None:
    handler = vespiary.ASGI(app, lifespan="off")
    async with serving(handler, HTTP) as server, connected(server) as ours:
        streams = await asyncio.open_connection("127.0.0.1", uvicorn_port)
        theirs = Client(*streams)
        try:
            for seed in range(REQUESTS):
                method, request = generated(seed)
                replies = []
                for client in (ours, theirs):
                    client.send(request)
                    replies.append(comparable(await client.reply(method)))
                assert replies[0] == replies[1], (seed, request[:300])
        finally:
            streams[1].close()
