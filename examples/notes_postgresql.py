"""Notes in PostgreSQL: a handler that awaits an asyncio library.

`on_start` opens a connection pool before the server accepts the first connection, and `on_stop`
closes the pool after the last connection has ended. While one client's query runs, the server
answers other clients.

Needs: pip install psycopg[binary,pool]
Run:   DATABASE_URL=postgresql://user@host/database \
       .venv/bin/python examples/notes_postgresql.py [URL]     (default ws://127.0.0.1:9001)
Talk:  .venv/bin/python -m websockets ws://127.0.0.1:9001
       and type  add buy honey  |  list  |  find honey
"""

import json
import os
import sys
from typing import LiteralString

import psycopg
from psycopg_pool import AsyncConnectionPool

import vespiary


class Notes(vespiary.Handler[str]):
    """Adds and finds notes."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url

    async def on_start(self, server: vespiary.Server) -> None:
        """Connect to the database. If this fails, the server does not start."""
        self.pool = AsyncConnectionPool(self.database_url, max_size=10, open=False)
        await self.pool.open(wait=True, timeout=10)
        await self.query("create table if not exists notes (id serial primary key, text text)")

    async def on_stop(self, server: vespiary.Server) -> None:
        """Close the pool."""
        await self.pool.close()

    async def on_message(self, connection: vespiary.Connection[str], message: str) -> None:
        """Answer a command."""
        command, _, text = message.partition(" ")
        try:
            connection.send(json.dumps(await self.answer(command, text)))
        except psycopg.Error as error:
            connection.send(json.dumps({"error": str(error)}))

    async def answer(self, command: str, text: str) -> object:
        """Return the answer to a command."""
        match command:
            case "add" if text:
                return await self.query("insert into notes (text) values (%s) returning id", text)
            case "list":
                return await self.query("select id, text from notes order by id")
            case "find":
                query = "select id, text from notes where strpos(text, %s) > 0 order by id"
                return await self.query(query, text)
            case _:
                return {"error": "commands: add TEXT, list, find TEXT"}

    async def query(self, query: LiteralString, *values: str) -> list[tuple[object, ...]]:
        """The rows of a query."""
        async with self.pool.connection() as connection:
            cursor = await connection.execute(query, values)
            return await cursor.fetchall() if cursor.description else []


if __name__ == "__main__":
    notes = Notes(os.environ["DATABASE_URL"])
    url = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:9001"
    vespiary.serve(notes, url, websocket=vespiary.WebSocket(messages="text"))
