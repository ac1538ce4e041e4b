"""A server that sends each new connection its process id: `server.py WAY DRIVER COUNT PORT`.

`balanced` is what `workers=` does. `queue` is the same without standing back: all workers accept
from one queue, as fast as each can. `reuse_port` is one of several processes with a queue each.
"""

import os
import sys

import vespiary
from vespiary.workers import _worker


class Tell(vespiary.Handler):
    """Says who has the connection."""

    def on_open(self, connection: vespiary.Connection) -> None:
        """Send the process id."""
        connection.send(b"%d\n" % os.getpid())


def main() -> None:
    """Serve until SIGTERM."""
    _, way, driver, count, port = sys.argv
    url = f"tcp://127.0.0.1:{port}"
    if way == "reuse_port":
        vespiary.serve(Tell(), url, driver=driver, reuse_port=True)
        return
    if way == "queue":
        _worker.share_connections = lambda *_: None
    vespiary.serve(Tell(), url, driver=driver, workers=int(count))


if __name__ == "__main__":
    main()
