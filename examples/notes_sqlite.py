"""Notes in SQLite: a library that blocks, on threads (`executor="threads"`).

The handler's methods run on a pool of threads, in order per connection, so they may block. Each
thread has its own database connection, because threads may not share one.

Run:   .venv/bin/python examples/notes_sqlite.py [URL]       (default ws://127.0.0.1:9001)
       DATABASE=notes.db in the environment names the file
Talk:  .venv/bin/python -m websockets ws://127.0.0.1:9001
       and type  add buy honey  |  list  |  find honey
"""

import json
import os
import sqlite3
import sys
import threading

import vespiary


class Notes(vespiary.Handler[str]):
    """Adds and finds notes."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.local = threading.local()
        self.database().execute("create table if not exists notes (id integer primary key, text)")

    def database(self) -> sqlite3.Connection:
        """Return the database connection of this thread."""
        if not hasattr(self.local, "database"):
            self.local.database = sqlite3.connect(self.path, isolation_level=None)
        database: sqlite3.Connection = self.local.database
        return database

    def on_message(self, connection: vespiary.Connection[str], message: str) -> None:
        """Answer a command; runs on a thread of the pool."""
        command, _, text = message.partition(" ")
        try:
            connection.send(json.dumps(self.answer(command, text)))
        except sqlite3.Error as error:
            connection.send(json.dumps({"error": str(error)}))

    def answer(self, command: str, text: str) -> object:
        """Return the answer to a command."""
        database = self.database()
        match command:
            case "add" if text:
                return database.execute("insert into notes (text) values (?)", [text]).lastrowid
            case "list":
                return database.execute("select id, text from notes order by id").fetchall()
            case "find":
                query = "select id, text from notes where instr(text, ?) order by id"
                return database.execute(query, [text]).fetchall()
            case _:
                return {"error": "commands: add TEXT, list, find TEXT"}


if __name__ == "__main__":
    notes = Notes(os.environ.get("DATABASE", "notes.db"))
    url = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:9001"
    websocket = vespiary.WebSocket(messages="text")
    vespiary.serve(notes, url, executor="threads", websocket=websocket)
