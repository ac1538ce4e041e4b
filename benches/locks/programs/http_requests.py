"""A threaded HTTP server of the standard library: prints the CPU time of a request.

Arguments: requests per thread, of which as many come before as are measured. Each connection is
kept; each request takes a lock, puts into a queue and logs.
"""

import http.client
import logging
import queue
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

THREADS = 4
requests = int(sys.argv[1])
together = threading.Barrier(THREADS + 1)
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


def work() -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
    for _ in range(2):
        together.wait()
        for number in range(requests):
            connection.request("GET", f"/{number}")
            assert connection.getresponse().read() == b"x" * 200
        together.wait()
    connection.close()


threads = [threading.Thread(target=work) for _ in range(THREADS)]
for thread in threads:
    thread.start()
together.wait()
together.wait()
began = time.process_time_ns()
together.wait()
together.wait()
used = time.process_time_ns() - began
for thread in threads:
    thread.join()
server.shutdown()
serving.join()
server.server_close()
print("http", used / (THREADS * requests))
