"""What is asked of the servers, and what is expected of the figures."""

from __future__ import annotations

from dataclasses import dataclass

from benches.asgi.client import Traffic

_FIELDS = (
    b" / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: */*\r\n"
    b"Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n"
)
_GET = b"GET" + _FIELDS + b"\r\n"
_UPLOAD_BYTES = 1 << 20
_UPLOAD = b"POST" + _FIELDS + b"Content-Length: %d\r\n\r\n" % _UPLOAD_BYTES + bytes(_UPLOAD_BYTES)
_WEBSOCKET = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_MESSAGE = b"\x82\xa0\0\0\0\0" + b"x" * 32
"""A binary message of 32 bytes with a mask of zeros, which leaves them as they are."""


@dataclass(frozen=True)
class Scenario:
    """Traffic to one of the applications.

    Attributes:
        app: The application, of `apps`.
        traffic: What the client sends.
        bounds: The ratio of our CPU time to that of a peer, or to that of the better peer (`best`),
            that we want to keep below.
    """

    app: str
    traffic: Traffic
    bounds: dict[str, float]


SCENARIOS = {
    "small": Scenario("small", Traffic(_GET), {"granian": 0.45, "uvicorn": 0.3}),
    "large": Scenario("large", Traffic(_GET), {"best": 0.5}),
    "upload": Scenario("upload", Traffic(_UPLOAD, connections=10), {"best": 0.4}),
    "starlette": Scenario("starlette", Traffic(_GET), {"best": 0.8}),
    "fastapi": Scenario("fastapi", Traffic(_GET), {"best": 0.7}),
    "websocket": Scenario(
        "small", Traffic(_MESSAGE, opening=_WEBSOCKET, answer_bytes=34), {"best": 0.4}
    ),
    "wsgi": Scenario("wsgi", Traffic(_GET), {"granian": 0.6}),
    "idle": Scenario("small", Traffic(_GET), {}),
}
"""The scenarios. `idle` measures memory: resident bytes per connection that has asked once."""
