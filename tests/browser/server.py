"""The server that the browser talks to: a page, and what its scripts need.

    python -m tests.browser.server [uring|epoll]

Prints a JSON object with its URLs once it serves, and serves until SIGTERM. The endpoint `plain`
has the page at `/` and at `/endings` how its WebSockets have ended, which is the other side of what
the page sees; `guarded` takes pages of one foreign origin only, `open` those of 127.0.0.1; the
others compress, each in its own way.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import vespiary

Connection = vespiary.Connection

PAGE = (Path(__file__).with_name("page.html")).read_text()
HTML = [("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-store")]
MESSAGE_BYTES = 16 << 20
LIMITS = vespiary.Limits(message_bytes_max=MESSAGE_BYTES, write_bytes_max=MESSAGE_BYTES + 64)
SPOKEN = ("bee.v2", "bee.v1")
COMPRESSIONS = {
    "compressed": vespiary.Compression(),
    "remembering": vespiary.Compression(server_context_takeover=True, threshold_bytes=0),
    "forgetting": vespiary.Compression(client_context_takeover=False, threshold_bytes=0),
    "narrow": vespiary.Compression(server_window_bits=9, client_window_bits=9, threshold_bytes=0),
}
PAUSE_SECONDS = 0.3


class Scenarios(vespiary.Handler):
    """What each path does is reported by its method."""

    def __init__(self) -> None:
        self.endings: list[dict[str, Any]] = []
        self.opened: list[str] = []

    def on_request(self, request: vespiary.Request) -> vespiary.Response | None:
        """The page, the endings, and the answers to an upgrade."""
        request.connection.data = request.path
        if not request.is_upgrade:
            if request.path == "/":
                return request.respond(200, PAGE, HTML)
            if request.path == "/endings":
                return request.respond(200, json.dumps([self.opened, self.endings]))
            return request.respond(404)
        match request.path:
            case "/redirect":
                return request.redirect("/echo")
            case "/refuse":
                return request.respond(403)
            case "/speak":
                offered = request.subprotocols
                chosen = next((name for name in SPOKEN if name in offered), None)
                return request.accept(chosen)
        return None

    def on_open(self, connection: Connection) -> None:
        """Read nothing for a while, on one path."""
        self.opened.append(connection.data)
        if connection.data == "/slow":
            connection.pause_reading()
            connection.set_timer(PAUSE_SECONDS, lambda it: it.resume_reading())

    def on_message(self, connection: Connection, message: bytes | str) -> None:
        """Echo, or do what the path says."""
        match connection.data:
            case "/parts":
                self.send_in_parts(connection, str(message))
            case "/close":
                code, reason = json.loads(message)
                connection.close(code, reason)
            case "/slow":
                connection.send(f"{len(message)}")
            case _:
                connection.send(message)

    def send_in_parts(self, connection: Connection, how: str) -> None:
        """A message in fragments, cut between the bytes of its letters when it is binary."""
        text = "Wespe Käfer 蜂 🐝 " * 100
        if how == "text":
            for letter in text:
                connection.send_part(letter)
            connection.send_part("", last=True)
        else:
            data = text.encode()
            for at in range(0, len(data), 7):
                connection.send_part(data[at : at + 7], last=at + 7 >= len(data))

    def on_close(self, connection: Connection, reason: vespiary.CloseReason) -> None:
        """Note how it ended."""
        ending = {"path": connection.data, "code": reason.code, "reason": reason.text}
        self.endings.append(ending)


def main() -> None:
    """Serve, and say where."""
    names = ("plain", "guarded", "open", *COMPRESSIONS)
    server = vespiary.Server()
    plain = Scenarios()
    server.add(plain, "ws://127.0.0.1:0", limits=LIMITS)
    for origins in (["https://elsewhere.example"], ["http://127.0.0.1:*"]):
        options = vespiary.WebSocket(origins=origins, origin_required=True)
        server.add(Scenarios(), "ws://127.0.0.1:0", websocket=options)

    for compression in COMPRESSIONS.values():
        options = vespiary.WebSocket(compression=compression)
        server.add(Scenarios(), "ws://127.0.0.1:0", limits=LIMITS, websocket=options)

    def tell(urls: Sequence[str]) -> None:
        print(json.dumps(dict(zip(names, urls, strict=True))), flush=True)

    server.run(driver=sys.argv[1] if len(sys.argv) > 1 else None, on_serving=tell)


if __name__ == "__main__":
    main()
