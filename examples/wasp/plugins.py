"""The plug-ins of the demonstration: see wasp.toml."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

import vespiary


class Settings(msgspec.Struct, forbid_unknown_fields=True):
    """The table `config` of an endpoint that `Greeter` serves."""

    greeting: str
    is_loud: bool = False


class Greeter(vespiary.Handler[bytes]):
    """Greets each client: a message is a name."""

    def __init__(self, config: Settings) -> None:
        self.config = config
        self.count = 0

    def on_message(self, connection: vespiary.Connection[bytes], message: bytes) -> None:
        """Answer with the greeting of this endpoint, and with its number."""
        self.count += 1
        name = message.decode(errors="replace")
        text = f"{self.config.greeting}, {name}: you are number {self.count}"
        connection.send((text.upper() if self.config.is_loud else text).encode())


class Datagrams(vespiary.Handler):
    """Sends each datagram back."""

    def on_datagram(self, datagram: vespiary.Datagram) -> None:
        """Send the datagram back."""
        datagram.reply(datagram.data)


async def asgi(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answer each request with its path: an ASGI application."""
    if scope["type"] != "http":
        return
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": f"ASGI: {scope['path']}\n".encode()})


def wsgi(
    environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]
) -> Iterable[bytes]:
    """Answer each request with its path: a WSGI application."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"WSGI: {environ['PATH_INFO']}\n".encode()]
