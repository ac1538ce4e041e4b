"""A chat in several processes: a message reaches the clients of all workers.

Each connection stays in the worker that has accepted it. `publish` sends a message to the
subscribers in every worker. The statistics are the totals of all workers, in every worker. If you
kill a worker (the greeting has its process id), the others continue, and a new worker replaces it.

Run:   .venv/bin/python examples/workers_chat.py [URL...]     (default ws://127.0.0.1:9001)
       WORKERS=4 in the environment sets how many there are
Talk:  .venv/bin/python -m websockets ws://127.0.0.1:9001
       "count" is answered with the number of connections of each worker
"""

import os
import sys

import vespiary


class Chat(vespiary.Handler[str]):
    """Greets each client, and sends each message to all clients."""

    def on_start(self, server: vespiary.Server) -> None:
        """Called in each worker."""
        self.server = server

    def on_open(self, connection: vespiary.Connection[str]) -> None:
        """Say which worker has the connection."""
        connection.subscribe("chat")
        connection.send(f"you are with worker {self.server.worker}, process {os.getpid()}")

    def on_message(self, connection: vespiary.Connection[str], message: str) -> None:
        """Publish it to the clients of all workers."""
        if message == "count":
            workers = self.server.statistics().workers
            counts = [f"{one.number}: {one.total.connections_open}" for one in workers]
            connection.send("connections: " + ", ".join(counts))
        else:
            self.server.publish("chat", message)


if __name__ == "__main__":
    urls = sys.argv[1:] or ["ws://127.0.0.1:9001"]
    vespiary.serve(Chat(), *urls, workers=int(os.environ.get("WORKERS", "2")))
