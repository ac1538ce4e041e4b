"""Our server that publishes: `publish.py ws PORT`.

Each connection subscribes to one topic. A message is published to all, with the moment in front:
nanoseconds since 1970 in 20 digits. VESPIARY_DRIVER chooses the driver. It
sends no pings, as the peers do not: the subscribers of the benchmark would not answer them.
"""

import sys
import time

import vespiary


class Publisher(vespiary.Handler):
    def on_start(self, server: vespiary.Server) -> None:
        self.server = server

    def on_open(self, connection: vespiary.Connection) -> None:
        connection.subscribe("everybody")

    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        assert isinstance(message, str)
        self.server.publish("everybody", f"{time.time_ns():020d}{message}")


vespiary.serve(
    Publisher(),
    f"{sys.argv[1]}://127.0.0.1:{sys.argv[2]}",
    deadlines=vespiary.Deadlines(ping_interval_seconds=None),
    on_serving=lambda urls: print("READY", sys.argv[2], flush=True),
)
