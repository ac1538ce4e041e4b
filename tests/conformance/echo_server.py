"""The server that the suite tests: an echo, with limits as wide as its largest cases.

    python echo_server.py uring|epoll

Prints its URL once it serves, and serves until SIGTERM.
"""

import sys
from collections.abc import Sequence

import vespiary

LIMITS = vespiary.Limits(
    message_bytes_max=16 << 20,  # Cases 9.1.6 and 9.2.6 send 16 MiB in one message,
    fragments_max=(1 << 16) + 1,  # 9.3.1 and 9.4.1 4 MiB in 65,536 frames and an empty one,
    write_bytes_max=17 << 20,  # and an echo of 16 MiB has a frame's head too.
)

WEBSOCKET = vespiary.WebSocket(
    versions=(13, 8),
    compression=vespiary.Compression(
        threshold_bytes=0, server_context_takeover=True, client_window_bits=15
    ),
)
"""Groups 12 and 13 speak permessage-deflate; the others offer no extension. All parameters are left
to the suite, and the shortest message is compressed too."""


class Echo(vespiary.Handler):
    """Sends back what comes."""

    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        """Send it back."""
        connection.send(message)


def tell(urls: Sequence[str]) -> None:
    """Print the URL for who started this."""
    print(urls[0], flush=True)


if __name__ == "__main__":
    vespiary.serve(
        Echo(),
        "ws://127.0.0.1:0",
        driver=sys.argv[1],
        limits=LIMITS,
        websocket=WEBSOCKET,
        on_serving=tell,
    )
