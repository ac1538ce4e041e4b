"""A Flask application (WSGI) on threads, and a WebSocket next to it on the same address.

Flask serves the pages. A view publishes each new note to the WebSockets, which Vespiary itself
serves. You can call `server.publish` from any thread.

Run:   .venv/bin/python examples/flask_notes.py [ADDRESS]     (default 127.0.0.1:8000)
Talk:  curl http://127.0.0.1:8000/notes
       curl -d "text=the hive has moved" http://127.0.0.1:8000/notes
       .venv/bin/python -m websockets ws://127.0.0.1:8000/live
"""

import sys

from flask import Flask, request

import vespiary

app = Flask(__name__)
server = vespiary.Server()
notes: list[str] = []


@app.get("/notes")
def all_notes() -> list[str]:
    """Return all notes as JSON."""
    return notes


@app.post("/notes")
def add_note() -> tuple[dict[str, int], int]:
    """Add a note, and publish it."""
    text = request.form["text"]
    notes.append(text)
    return {"listeners": server.publish("notes", text)}, 201


class Live(vespiary.Handler[str]):
    """The WebSockets that get each note."""

    def on_open(self, connection: vespiary.Connection[str]) -> None:
        """Subscribe every connection."""
        connection.subscribe("notes")


def main() -> None:
    """Serve."""
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8000"
    server.add(vespiary.WSGI(app), f"http://{address}/")
    server.add(Live(), f"ws://{address}/live")
    server.run()


if __name__ == "__main__":
    main()
