"""Our echo of datagrams: `datagram.py udp PORT`.

VESPIARY_DRIVER chooses the driver. With BENCH_CONNECTIONS each peer has a pseudo-connection.
"""

import os
import sys

import vespiary


class Echo(vespiary.Handler):
    def on_datagram(self, datagram: vespiary.Datagram) -> None:
        datagram.reply(datagram.data)


class ConnectionEcho(vespiary.Handler):
    def on_message(self, connection: vespiary.Connection, message: bytes) -> None:
        connection.send(message)


has_connections = "BENCH_CONNECTIONS" in os.environ
vespiary.serve(
    ConnectionEcho() if has_connections else Echo(),
    f"{sys.argv[1]}://127.0.0.1:{sys.argv[2]}",
    on_serving=lambda urls: print("READY", sys.argv[2], flush=True),
    connections=has_connections,
)
