"""gunicorn with a worker of gevent's: requests at the same time, a lock that all of them take."""

import http.client
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

APPLICATION = """
import threading, time
lock, counts = threading.Lock(), [0]
def application(environ, start_response):
    with lock:
        counts[0] += 1
        time.sleep(0.001)
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\\n"]
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def ask(number):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    done = 0
    for _ in range(20):
        connection.request("GET", f"/{number}")
        done += connection.getresponse().read() == b"ok\n"
    connection.close()
    return done


port = free_port()
words = ["-m", "gunicorn", "-k", "gevent", "-w", "2", "-b", f"127.0.0.1:{port}"]
words += ["--log-level", "critical", "--graceful-timeout", "5", "application:application"]
with tempfile.TemporaryDirectory() as folder:
    Path(folder, "application.py").write_text(APPLICATION)
    command = [sys.executable, *words]
    server = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.1)
    with ThreadPoolExecutor(8) as pool:
        print(sum(pool.map(ask, range(30))))
    server.send_signal(signal.SIGTERM)
    print(server.wait(120))
