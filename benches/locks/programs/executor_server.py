"""Vespiary's echo with callbacks on a pool of threads: `executor_server.py PORT`.

Each message goes through a table under a lock, as business logic does.
"""

import sys
import threading

import vespiary

lock = threading.Lock()
seen: dict[str, int] = {}


class Echo(vespiary.Handler):
    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        kind = type(message).__name__
        with lock:
            seen[kind] = seen.get(kind, 0) + 1
        connection.send(message)


vespiary.serve(
    Echo(),
    f"tcp://127.0.0.1:{sys.argv[1]}",
    executor="threads",
    on_serving=lambda urls: print("READY", sys.argv[1], flush=True),
)
