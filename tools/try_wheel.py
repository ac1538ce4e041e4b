"""Install the wheel that was just built into an empty environment, and try it there.

It must serve an echo, and `vespiary locks` must find an inversion.

Nothing of the checkout is on the new environment's path, so a file that is missing from the wheel
is missed here. Only the standard library is used: the environment has what the wheel asks for and
no more.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from steps import CHECKOUT

SERVER = """\
import vespiary

class Echo(vespiary.Handler):
    def on_message(self, connection, message):
        connection.send(message)
"""
# The second thread waits by polling a list: an event between the two orders would separate them.
INVERSION = """\
import threading
import time

one, other = threading.Lock(), threading.Lock()
taken = []

def take(first, second):
    with first, second:
        pass

def late():
    while not taken:
        time.sleep(0.001)
    take(other, one)

thread = threading.Thread(target=late)
thread.start()
take(one, other)
taken.append(True)
thread.join()
"""
INVERSION_STATUS = 120
START_SECONDS = 20.0


def main() -> int:
    """Install and try; the exit status is 1 if no echo came or no inversion was found."""
    wheel = newest_wheel()
    venv = CHECKOUT / ".cache" / "wheel-venv"
    print(f"==> Installing {wheel.name} ({wheel.stat().st_size >> 10} KiB) into {venv}", flush=True)
    shutil.rmtree(venv, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    python = venv / "bin" / "python"
    constraints = CHECKOUT / "tools" / "constraints.txt"
    install: list[str | Path] = [python, "-m", "pip", "install", "--quiet"]
    install += ["--disable-pip-version-check", "--constraint", constraints, wheel]
    subprocess.run(install, check=True)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "echo.py").write_text(SERVER)
        port = free_port()
        url = f"ws://127.0.0.1:{port}"
        with serving([venv / "bin" / "vespiary", "serve", "echo:Echo", url], folder):
            answer = ask(port)
        Path(folder, "inversion.py").write_text(INVERSION)
        words: list[str | Path] = [venv / "bin" / "vespiary", "locks", "--", python, "inversion.py"]
        locks = subprocess.run(words, cwd=folder, stderr=subprocess.PIPE, text=True, check=False)
    if locks.returncode != INVERSION_STATUS or "INVERSION" not in locks.stderr:
        print(f"`vespiary locks` found no inversion:\n{locks.stderr}", file=sys.stderr)
        return 1
    if answer != b"hello":
        print(f"The installed wheel answered {answer!r} instead of an echo.", file=sys.stderr)
        return 1
    print(f"==> The installed wheel serves: {url} echoed {answer!r}")
    print("==> Its `vespiary locks` finds an inversion")
    print(f"==> {wheel.relative_to(CHECKOUT)}")
    return 0


def newest_wheel() -> Path:
    """The wheel for this interpreter that was built last."""
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    wheels = list((CHECKOUT / "dist").glob(f"vespiary-*-{tag}-*.whl"))
    return max(wheels, key=lambda wheel: wheel.stat().st_mtime)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@contextlib.contextmanager
def serving(command: list[str | Path], folder: str) -> Iterator[None]:
    """Run a server in a folder, and stop it again; it must stop cleanly."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    server = subprocess.Popen(command, cwd=folder, env=environment)
    try:
        yield
        server.terminate()
        status = server.wait(START_SECONDS)
    finally:
        server.kill()
        server.wait()
    if status != 0:
        raise SystemExit(f"The server ended with status {status} when it was asked to stop.")


def ask(port: int) -> bytes:
    """Open a WebSocket (RFC 6455 section 1.3), send a masked text frame, return the answer."""
    with connect(port) as connection:
        connection.settimeout(START_SECONDS)
        connection.sendall(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        stream = connection.makefile("rb")
        head = b"".join(iter(stream.readline, b"\r\n"))
        if b" 101 " not in head.splitlines()[0] or b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" not in head:
            return head
        mask = b"\x01\x02\x03\x04"
        text = bytes(byte ^ mask[index % 4] for index, byte in enumerate(b"hello"))
        connection.sendall(b"\x81\x85" + mask + text)
        frame = stream.read(7)
        return frame[2:] if frame[:2] == b"\x81\x05" else frame


def connect(port: int) -> socket.socket:
    """Connect as soon as the server listens."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), START_SECONDS)
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
