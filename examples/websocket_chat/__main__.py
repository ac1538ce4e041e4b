"""A WebSocket chat with its web page, and a WebSocket echo server of five lines.

The chat's endpoint also serves the page: it answers an ordinary request with the page, and refuses
WebSockets from pages of other sites. Each room is a topic, so a message is encoded only once for
all people in the room. A page that reads too slowly is disconnected. It reconnects, and gets the
messages that it has missed from the room's history.

Run:   make run     or     .venv/bin/python examples/websocket_chat [CHAT_URL [ECHO_URL]]
       (default ws://127.0.0.1:8080 and ws://127.0.0.1:9001)
       CHAT_ORIGINS="https://example.com https://*.example.com"  whose pages may talk
Talk:  open the page that it names, in two windows
       .venv/bin/python -m websockets ws://127.0.0.1:9001
       vespiary.connect("ws://127.0.0.1:8080"), and send {"join": "nest", "name": "Ann"}
"""

import ast
import json
import os
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import vespiary


class Echo(vespiary.Handler):
    """Sends each message back."""

    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        """Send the message back."""
        connection.send(message)


def examples() -> list[tuple[str, str]]:
    """Return the other examples, each with its first sentence."""
    folder = Path(__file__).parents[1]
    files = [path for path in folder.iterdir() if path.suffix == ".py"]
    files += [path / "__main__.py" for path in folder.iterdir() if (path / "__main__.py").exists()]
    found: list[tuple[str, str]] = []
    for path in sorted(files):
        first, _, _ = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")
        name = path if path.name != "__main__.py" else path.parent
        found.append((name.name, first))
    return found


PAGE = Path(__file__).with_name("page.html").read_text()
EXAMPLES = examples()
ROOMS = ("nest", "garden", "workshop")
HISTORY_MAX = 50
NAME_MAX = 24
TEXT_MAX = 1000
LIMITS = vespiary.Limits(message_bytes_max=8 << 10, write_bytes_max=256 << 10)
ORIGINS = os.environ.get("CHAT_ORIGINS", "").split()
PAGE_HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Cache-Control", "no-cache"),
    # Were a message ever taken for markup, it still could load and run nothing.
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline';"
        " connect-src 'self' ws: wss:; img-src data:;"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("Referrer-Policy", "no-referrer"),
)


class Refused(Exception):
    """A client's request is not valid. The text has the reason."""


@dataclass
class Room:
    """A room: its members and its last messages."""

    name: str
    people: dict[str, vespiary.Connection] = field(default_factory=dict)
    history: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=HISTORY_MAX))


@dataclass
class Guest:
    """The state of a connection: its room and its name."""

    room: Room
    name: str


class Chat(vespiary.Handler):
    """JSON texts: `{"join": ROOM, "name": NAME}` and `{"say": TEXT}` in, events out."""

    def __init__(self, config: dict[str, str] | None = None) -> None:
        """`config` is what `vespiary run` passes: see examples/wasp."""
        self.rooms = {name: Room(name) for name in ROOMS}
        self.echo_url = (config or {}).get("echo_url", "")
        self.server: vespiary.Server | None = None

    def on_start(self, server: vespiary.Server) -> None:
        """Store the server, which publishes messages."""
        self.server = server

    def on_request(self, request: vespiary.Request) -> vespiary.Response | None:
        """Send the page, or accept its WebSocket."""
        if request.is_upgrade:
            return self.refusal(request)
        if request.method not in ("GET", "HEAD"):
            return request.respond(405, "this page can be read\n", [("Allow", "GET, HEAD")])
        if request.path != "/":
            return request.respond(404, "there is one page, and its path is /\n")
        facts = json.dumps(
            {"rooms": ROOMS, "echo": urlsplit(self.echo_url).port, "examples": EXAMPLES}
        )
        return request.respond(200, PAGE.replace("/* FACTS */ null", facts), PAGE_HEADERS)

    def refusal(self, request: vespiary.Request) -> vespiary.Response | None:
        """Refuse pages of other sites (RFC 6455 10.2)."""
        origin = request.origin
        if ORIGINS:
            # The endpoint's allow-list has let it pass.
            return None
        if origin is None or origin.partition("://")[2] == request.headers.get("host"):
            return None
        return request.respond(403, "this chat talks to its own page\n")

    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        """Handle a request of a client."""
        try:
            match parsed(message):
                case {"join": str(room), "name": str(name)}:
                    self.join(connection, room, name)
                case {"say": str(text)}:
                    self.say(connection, text)
                case _:
                    raise Refused('send {"join": ROOM, "name": NAME} or {"say": TEXT}')
        except Refused as refusal:
            connection.send(json.dumps({"refused": str(refusal)}))

    def join(self, connection: vespiary.Connection, room_name: str, wished: str) -> None:
        """Enter a room, and leave the previous one."""
        room = self.rooms.get(room_name)
        if room is None:
            raise Refused(f"there is no such room; there are {', '.join(ROOMS)}")
        wished = " ".join("".join(filter(str.isprintable, wished)).split())[:NAME_MAX]
        if not wished:
            raise Refused("a name has a letter at least")
        self.leave(connection)
        name = free_name(wished, room.people)
        connection.data = Guest(room, name)
        room.people[name] = connection
        connection.subscribe(room.name)
        welcome = {"name": name, "people": list(room.people), "history": list(room.history)}
        connection.send(json.dumps({"welcome": room.name, **welcome}))
        self.tell(room, {"joined": name}, but=connection)

    def say(self, connection: vespiary.Connection, text: str) -> None:
        """Publish the message to everyone in the room, including the sender."""
        guest: Guest | None = connection.data
        if guest is None:
            raise Refused("join a room first")
        text = text.strip()
        if not text or len(text) > TEXT_MAX:
            raise Refused(f"a message has 1 to {TEXT_MAX} letters")
        said = {"said": text, "name": guest.name, "time": round(time.time())}
        guest.room.history.append(said)
        self.tell(guest.room, said)

    def leave(self, connection: vespiary.Connection) -> None:
        """Leave the room, if the client is in one."""
        guest: Guest | None = connection.data
        if guest is None:
            return
        connection.data = None
        connection.unsubscribe(guest.room.name)
        del guest.room.people[guest.name]
        self.tell(guest.room, {"left": guest.name})

    def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
        """Leave the room when the connection has ended."""
        self.leave(connection)

    def tell(
        self, room: Room, event: dict[str, Any], but: vespiary.Connection | None = None
    ) -> None:
        """Send an event to everybody in a room."""
        assert self.server is not None
        self.server.publish(room.name, json.dumps(event), exclude=but)


def parsed(message: bytes | str) -> object:
    """Parse a message, which may not be valid JSON."""
    try:
        return json.loads(message)
    except (ValueError, RecursionError):
        raise Refused("that is not JSON") from None


def free_name(wished: str, taken: dict[str, vespiary.Connection]) -> str:
    """Return the name, with a number if it is already used."""
    name, number = wished, 2
    while name in taken:
        name, number = f"{wished} {number}", number + 1
    return name


def main() -> None:
    """Serve both, and print the URLs."""
    urls = [*sys.argv[1:], *["ws://127.0.0.1:8080", "ws://127.0.0.1:9001"][len(sys.argv) - 1 :]]
    chat = Chat()
    server = vespiary.Server()
    websocket = vespiary.WebSocket(origins=ORIGINS or None)
    server.add(chat, urls[0], limits=LIMITS, slow_consumer="disconnect", websocket=websocket)
    server.add(Echo(), urls[1])

    def tell(urls: Sequence[str]) -> None:
        chat_url, chat.echo_url = urls
        page = chat_url.replace("ws:", "http:", 1)
        print(f"Chat page:  {page}\nEcho:       {chat.echo_url}", flush=True)

    server.run(on_serving=tell)


if __name__ == "__main__":
    main()
