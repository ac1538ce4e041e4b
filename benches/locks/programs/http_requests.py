"""A threaded HTTP server of the standard library: prints the CPU time of a request.

Arguments: requests per thread, of which as many come before as are measured. Each connection is
kept; each request takes a lock, puts into a queue and logs.
"""

import http.client
import logging
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from rounds import processor_time

requests = int(sys.argv[1])
lock = threading.Lock()
passed: queue.Queue[str] = queue.Queue()
logging.basicConfig(filename="/dev/null", level=logging.INFO)
log = logging.getLogger("server")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        with lock:
            passed.put(self.path)
            passed.get()
        log.info("%s", self.path)
        body = b"x" * 200
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
serving = threading.Thread(target=server.serve_forever)
serving.start()


def connect() -> Iterator[Callable[[int], None]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port)

    def request(number: int) -> None:
        connection.request("GET", f"/{number}")
        assert connection.getresponse().read() == b"x" * 200

    yield request
    connection.close()


used = processor_time(requests, connect)
server.shutdown()
serving.join()
server.server_close()
print("http", used)
