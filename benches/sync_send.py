"""What `send` of the synchronous client costs from 1 and from 8 threads, beside websocket-client.

    pip install websocket-client
    python -m benches.sync_send

A server in another process reads everything. Each line is for 20,000 messages of 32 bytes: until
the last `send` has returned, and the CPU time of this process.

On a virtual machine with two cores (Linux 6.x, CPython 3.11, websocket-client 1.9) in microseconds
per message, the range of two runs beside other work:

    threads   connections   vespiary.sync            websocket-client
                            send       CPU           send         CPU
    1         1             1.5        1.3           13 to 26     8.4
    8         1             1.5        1.4            7 to 12     6.6 to 8.2
    8         8             3.1        1.5           14 to 16     6.5

Before, each `send` waited for the loop's thread: 50 to 85 us, 34 to 59 us of them CPU time. Now a
message that fits is handed over without waiting (`vespiary.sync.Connection.send`).
"""

import importlib
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import vespiary

MESSAGES = 20_000
PAYLOAD = "x" * 32
SERVER = """
import vespiary

class Sink(vespiary.Handler):
    def on_message(self, connection, message):
        if message == "end":
            connection.send("done")

server = vespiary.Server()
server.add(Sink(), "ws://127.0.0.1:0")

async def main():
    async with server:
        print(server.urls[0], flush=True)
        await server.wait_stopped()

vespiary.run(main())
"""


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(name: str, connect: Callable[[], Any], receive: str, threads: int, count: int) -> None:
    """Send from threads over so many connections, and print what a message cost."""
    connections = [connect() for _ in range(count)]

    def work(connection: Any) -> None:
        for _ in range(MESSAGES // threads):
            connection.send(PAYLOAD)

    working = [
        threading.Thread(target=work, args=(connections[number % count],))
        for number in range(threads)
    ]
    began, used = time.perf_counter(), cpu_seconds()
    for thread in working:
        thread.start()
    for thread in working:
        thread.join()
    took = time.perf_counter() - began
    for connection in connections:
        connection.send("end")
        assert getattr(connection, receive)() == "done"
        connection.close()
    used = cpu_seconds() - used
    each, cpu = took / MESSAGES * 1e6, used / MESSAGES * 1e6
    print(
        f"{name:17} threads {threads} connections {count}  send {each:6.2f} us  CPU {cpu:6.2f} us"
    )


def main() -> None:
    """Measure both."""
    # Not pinned with the other peers: only this needs it.
    websocket = importlib.import_module("websocket")
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        try:
            for threads, count in ((1, 1), (8, 1), (8, 8)):
                ours = lambda: vespiary.sync.connect(url)  # noqa: E731
                measure("vespiary.sync", ours, "receive", threads, count)
                theirs = lambda: websocket.create_connection(url)  # noqa: E731
                measure("websocket-client", theirs, "recv", threads, count)
        finally:
            server.kill()


if __name__ == "__main__":
    main()
