"""A server with two workers and TLS, which tells its clients who serves them.

    tls_worker_program.py URL COUNT CERTIFICATE KEY

It prints one line for each `on_start`, as `worker_program.py` does.
"""

import os
import sys

import vespiary


class Program(vespiary.Handler):
    def on_start(self, server: vespiary.Server) -> None:
        self.server = server
        os.write(1, f"started {server.worker} {os.getpid()}\n".encode())

    def on_message(self, connection: vespiary.Connection, message: bytes) -> None:
        connection.send(f"{self.server.worker}".encode())


if __name__ == "__main__":
    _, url, count, certificate, key = sys.argv
    server = vespiary.Server()
    tls = vespiary.ServerTLS(certificate, key, watch_seconds=None)
    server.add(Program(), url, framing="line", tls=tls)
    server.run(workers=int(count))
