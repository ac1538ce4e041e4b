"""Send from other threads: a thread reads a sensor that blocks, and every client gets the value.

You can call `connection.send`, `close`, `abort` and `server.publish` from any thread. For
everything else, use `server.call_soon_threadsafe`, which runs a function on the server's own
thread.

Run:   .venv/bin/python examples/from_other_threads.py [URL...]   (default ws://127.0.0.1:9001)
Talk:  .venv/bin/python -m websockets ws://127.0.0.1:9001
"""

import json
import random
import sys
import threading

import vespiary


class Sensor:
    """A device whose driver blocks until it has a value."""

    def __init__(self) -> None:
        self.stopped = threading.Event()

    def read(self) -> float | None:
        """Return the next value, or None after the end."""
        return None if self.stopped.wait(0.1) else random.gauss(35.0, 0.5)


class Temperatures(vespiary.Handler[str]):
    """Publishes what a thread reads."""

    def on_start(self, server: vespiary.Server) -> None:
        """Start the thread."""
        self.sensor = Sensor()
        self.thread = threading.Thread(target=self.read, args=[server])
        self.thread.start()

    def on_stop(self, server: vespiary.Server) -> None:
        """End the thread."""
        self.sensor.stopped.set()
        self.thread.join()

    def on_open(self, connection: vespiary.Connection[str]) -> None:
        """Subscribe the client, and greet it from another thread."""
        connection.subscribe("temperatures")
        threading.Thread(target=connection.send, args=["welcome"]).start()

    def read(self, server: vespiary.Server) -> None:
        """Runs in the thread."""
        while (value := self.sensor.read()) is not None:
            server.publish("temperatures", json.dumps({"celsius": round(value, 2)}))


if __name__ == "__main__":
    vespiary.serve(Temperatures(), *(sys.argv[1:] or ["ws://127.0.0.1:9001"]))
