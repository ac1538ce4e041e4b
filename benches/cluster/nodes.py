"""Servers of a cluster for measurements, each with a client that writes down what comes."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

NODES = 3
START_SECONDS = 60.0
SERVING = re.compile(r"Serving (\S+)")
TEXT = """\
cluster = "nats://127.0.0.1:{port}"
[admin]
url = "http://127.0.0.1:0/"
[endpoints.room]
url = "tcp://127.0.0.1:0"
plugin = "{plugin}:Room"
framing = "line"
"""


def free_port() -> int:
    """A port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def started_broker(port: int) -> subprocess.Popen[bytes]:
    """A broker that was started."""
    command = ["nats-server", "-a", "127.0.0.1", "-p", str(port)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


class Node:
    """A server, with a client that writes down what comes."""

    def __init__(self, file: Path) -> None:
        command = [sys.executable, "-m", "vespiary", "run", str(file)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE)
        urls: list[str] = []
        assert self.process.stderr is not None
        while len(urls) < 2:
            line = self.process.stderr.readline().decode()
            assert line, "the server has ended"
            urls += SERVING.findall(line)
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        self.admin = next(url for url in urls if url.startswith("http"))
        host, _, port = next(u for u in urls if u.startswith("tcp"))[6:].rpartition(":")
        self.socket = socket.create_connection((host, int(port)), START_SECONDS)
        self.file = self.socket.makefile("r")
        self.came: list[tuple[str, int]] = []

    def collect(self) -> None:
        """Write down what comes, in a thread."""
        threading.Thread(target=self._collect, daemon=True).start()

    def _collect(self) -> None:
        for line in self.file:
            kind, number = line.split()
            self.came.append((kind, int(number)))

    def status(self) -> Any:
        """What the server knows of the cluster."""
        with urllib.request.urlopen(f"{self.admin}status", timeout=START_SECONDS) as answer:
            return json.load(answer)["cluster"]

    def wait_for_others(self) -> None:
        """Wait until it knows the others."""
        end = time.monotonic() + START_SECONDS
        while self.status()["nodes"] != NODES - 1:
            assert time.monotonic() < end, "the servers do not find each other"
            time.sleep(0.1)

    def numbers(self, kind: str) -> list[int]:
        """The numbers of one kind that have come."""
        return [number for one, number in self.came if one == kind]
