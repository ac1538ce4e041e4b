"""Our echo as a `Handler`: `callback.py tcp|ws|tls|wss PORT [CERTIFICATE KEY]`.

VESPIARY_DRIVER chooses the driver, BENCH_SPIN_MICROSECONDS how long it polls before it sleeps.
"""

import os
import sys

import vespiary


class Echo(vespiary.Handler):
    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        connection.send(message)


vespiary.serve(
    Echo(),
    f"{sys.argv[1]}://127.0.0.1:{sys.argv[2]}",
    tls=vespiary.ServerTLS(*sys.argv[3:]) if sys.argv[3:] else None,
    on_serving=lambda urls: print("READY", sys.argv[2], flush=True),
    spin_microseconds=int(os.environ.get("BENCH_SPIN_MICROSECONDS", "0")),
)
