"""Graceful shutdown: the server finishes orders in progress and notifies its clients.

On SIGTERM, the server accepts no new clients. `on_shutdown` is called once per connection, when the
orders before it are complete. Orders that take longer than `drain_seconds` are cancelled. A second
signal ends the server at once.

Run:   .venv/bin/python examples/work_in_flight.py [URL...]     (default ws://127.0.0.1:9001)
Talk:  .venv/bin/python -m websockets ws://127.0.0.1:9001
       and type  5  for an order of five seconds; then stop the server with Ctrl-C
"""

import asyncio
import sys

import vespiary


class Orders(vespiary.Handler[str]):
    """A message is an order: the number of seconds that it takes."""

    async def on_message(self, connection: vespiary.Connection[str], message: str) -> None:
        """Work on an order. A server that stops waits for it."""
        connection.send(f"accepted: {message}")
        await asyncio.sleep(float(message))
        connection.send(f"finished: {message}")

    def on_shutdown(self, connection: vespiary.Connection[str]) -> None:
        """Say goodbye. The server stops, and the connection's orders are complete."""
        connection.send("goodbye")
        connection.close(vespiary.CloseCode.GOING_AWAY, "the server stops")

    def on_stop(self, server: vespiary.Server) -> None:
        """Print how many connections were served."""
        print(f"{server.statistics().total.connections_closed} connections were served", flush=True)


if __name__ == "__main__":
    deadlines = vespiary.Deadlines(drain_seconds=15)
    vespiary.serve(Orders(), *(sys.argv[1:] or ["ws://127.0.0.1:9001"]), deadlines=deadlines)
