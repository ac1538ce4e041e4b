"""A server of the standard library, a thread a connection, that echoes: `threaded_server.py PORT`.

Each message goes through a table under a lock and through a queue to a thread that counts, as
business logic does.
"""

import queue
import socket
import socketserver
import sys
import threading

lock = threading.Lock()
seen: dict[bytes, int] = {}
counted: "queue.Queue[bytes]" = queue.Queue()


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := self.request.recv(65536):
            with lock:
                seen[data[:1]] = seen.get(data[:1], 0) + 1
            counted.put(data)
            self.request.sendall(data)


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


def count() -> None:
    total = 0
    while True:
        total += len(counted.get())


threading.Thread(target=count, daemon=True).start()
with Server(("127.0.0.1", int(sys.argv[1])), Echo) as server:
    print("READY", sys.argv[1], flush=True)
    server.serve_forever()
