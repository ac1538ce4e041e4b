"""Servers of a cluster for tests, each with a client, and their broker."""

import contextlib
import json
import socket
import subprocess
import urllib.request
from collections.abc import Callable
from typing import Any

from tests.waiting import wait_until
from tests.wasp.conftest import Lines, Run, Running

PLUGIN = """\
import vespiary

class Room(vespiary.Handler):
    def on_start(self, server):
        self.server = server

    def on_open(self, connection):
        connection.subscribe("room")

    def on_message(self, connection, message):
        word, _, rest = message.decode().partition(" ")
        if word == "publish":
            self.server.publish("room", rest.encode())
        elif word == "text":
            self.server.publish("room", rest)
        elif word == "retain":
            self.server.publish("kept", rest.encode(), retain=True)
        elif word == "kept":
            connection.send(self.server.retained("kept") or b"nothing")
        elif word == "id":
            connection.send(self.server.connection_id(connection))
        elif word == "to":
            name, _, text = rest.partition(" ")
            connection.send(str(self.server.send_to(name, text)))
        elif word == "discard":
            self.server.discard_retained("kept")
        elif word == "enter":
            self.server.enter(connection, "room", rest)
        elif word == "who":
            members = self.server.presence("room")
            connection.send(" ".join(sorted(member.info for member in members)) or "nobody")
        elif word == "many":
            first, last = rest.split()
            for number in range(int(first), int(last) + 1):
                self.server.publish("room", f"number {number}")
"""
TEXT = """\
cluster = "nats://127.0.0.1:{port}"

[admin]
url = "http://127.0.0.1:0/"

[endpoints.room]
url = "tcp://127.0.0.1:0"
plugin = "room.py:Room"
framing = "line"
"""

Connect = Callable[[str], Lines]


class Broker:
    """A nats-server, which can end and start again."""

    def __init__(self, port: int, *options: str) -> None:
        self.port = port
        self._options = options
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it listens."""
        command = ["nats-server", "-a", "127.0.0.1", "-p", str(self.port), *self._options]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

        def listens() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return True
            return False

        wait_until(listens)

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class Node:
    """A server, with a client of it."""

    def __init__(self, server: Running, lines: Connect) -> None:
        self.server = server
        urls = server.serves(2)
        self.admin = next(url for url in urls if url.startswith("http"))
        self.url = next(url for url in urls if url.startswith("tcp"))
        self.client = lines(self.url)

    def say(self, text: str) -> None:
        """Send a line."""
        self.client.socket.sendall(text.encode() + b"\n")

    def status(self) -> Any:
        """What it knows of the cluster."""
        with urllib.request.urlopen(f"{self.admin}status", timeout=60) as answer:
            return json.load(answer)["cluster"]

    def stop(self) -> int:
        """Close the client, for whose end the server would wait, and stop it."""
        self.client.close()
        return self.server.stop()

    def knows(self, count: int) -> None:
        """Wait until it knows so many other nodes."""
        wait_until(lambda: self.status()["nodes"] == count, lambda: self.server.log)

    def knows_processes(self, count: int) -> None:
        """Wait until it knows so many processes of them."""
        wait_until(lambda: len(self.status()["others"]) == count, lambda: self.server.log)


def nodes(run: Run, lines: Connect, text: str, count: int = 3) -> list[Node]:
    """Servers that know each other."""
    made = [Node(run(text), lines) for _ in range(count)]
    for one in made:
        one.knows(count - 1)
    return made
