"""An HTTP server that does what its arguments say: `server.py PORT [WORD...]`.

notify        sends READY=1
late          listens after a second
silent        never listens
early         ends by itself after the first request
code=N        ends with this exit code
child         leaves a process behind
grandchild    leaves one behind that has left its session and listens on PORT
children      starts a process for each request
zombies       starts one that ends at once, and never waits for it
eat           takes 400 MB of memory
talk=N        writes N MiB before it is ready
write=FILE    writes a file at the end
"""

import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

PORT, WORDS = int(sys.argv[1]), sys.argv[2:]
SETTINGS = dict(word.split("=", 1) for word in WORDS if "=" in word)
requests = 0


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with the number of requests."""

    def do_GET(self) -> None:
        """Count."""
        global requests
        requests += 1
        body = f'{{"requests": {requests}, "seed": "{os.environ.get("SEED", "")}"}}\n'.encode()
        if self.path == "/metrics":
            body = f'# a\nrequests_total{{path="/"}} {requests}\n# EOF\n'.encode()
        self.send_response(404 if self.path == "/none" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if "children" in WORDS:
            subprocess.Popen(["sleep", "600"])
        if "zombies" in WORDS:
            os.posix_spawn("/bin/true", ["true"], os.environ)
        if "early" in WORDS and self.path == "/":
            os._exit(5)

    def log_message(self, form: str, *words: object) -> None:
        """Write a line."""
        print(form % words, flush=True)


def main() -> None:
    """Serve until SIGTERM."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    is_silent = "silent" in WORDS
    if "late" in WORDS:
        time.sleep(1)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler, not is_silent)
    if not is_silent:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    if "notify" in WORDS:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"STATUS=ready\nREADY=1", os.environ["NOTIFY_SOCKET"])
    if "eat" in WORDS:
        eaten = bytearray(os.urandom(1 << 20) * 400)
        print(len(eaten), flush=True)
    print("said\n" + f"{'x' * 1023}\n" * 1024 * int(SETTINGS.get("talk", "0")), flush=True)
    print("serving", flush=True)
    signal.sigwait([signal.SIGTERM])
    if "child" in WORDS:
        subprocess.Popen(["sleep", "600"])
    if "grandchild" in WORDS:
        server.shutdown()
        server.server_close()
        script = f"import socket, time; s = socket.create_server(('127.0.0.1', {PORT}));"
        script = f"{script} print('there', flush=True); time.sleep(600)"
        child = subprocess.Popen(
            [sys.executable, "-c", script], start_new_session=True, stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        child.stdout.readline()
    if "write" in SETTINGS:
        Path(SETTINGS["write"]).write_text("the end\n")
    print("bye", flush=True)
    os._exit(int(SETTINGS.get("code", "0")))


main()
