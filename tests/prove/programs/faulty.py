"""A line echo server with a defect, or without: `faulty.py PORT [DEFECT]`. Plain sockets, threads.

inversion      two locks are taken in one order by one connection, and in the other by the next
leak           100 bytes stay for each message
hang           it does not end when it is asked to
fragments      what comes in one piece is taken as one message
descriptors    a descriptor stays open for each connection
time-wait      for each message it connects to another server, and closes first
crash          it ends with a segmentation fault
child          a process that it started stays
"""

import ctypes
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading

PORT = int(sys.argv[1])
DEFECT = sys.argv[2] if len(sys.argv) > 2 else "none"

kept: list[bytearray | int] = []
first, second = threading.Lock(), threading.Lock()
numbers = itertools.count()


def echo(connection: socket.socket) -> None:
    """Serve a client until it closes."""
    with connection:
        if DEFECT == "descriptors":
            kept.append(os.open(os.devnull, os.O_RDONLY))
        locks = (first, second)
        if DEFECT == "inversion" and next(numbers) % 2:
            locks = (second, first)
        with locks[0], locks[1]:
            pass
        rest = b""
        while piece := connection.recv(65536):
            if DEFECT == "fragments":
                rest = b""
                piece = piece.rstrip(b"\n") + b"\n"
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                use(line)
                connection.sendall(line + b"\n")


def use(line: bytes) -> None:
    """What is done with each message."""
    if DEFECT == "leak":
        kept.append(bytearray(100))
    if line and DEFECT == "time-wait":
        with socket.create_connection(("127.0.0.1", PORT)):
            pass


def main() -> None:
    """Serve until SIGTERM."""
    listener = socket.create_server(("127.0.0.1", PORT), backlog=128)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=echo, args=[connection], daemon=True).start()

    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    threading.Thread(target=accept, daemon=True).start()
    print("serving", flush=True)
    signal.sigwait([signal.SIGTERM])
    listener.close()
    if DEFECT != "child":
        child.kill()
        child.wait()
    if DEFECT == "hang":
        threading.Event().wait()
    if DEFECT == "crash":
        ctypes.string_at(0)


main()
