"""A WebSocket server made of a plain socket, and our client on it, as a process of its own.

The server keeps no rule by itself: a test sends what it likes over each of its connections. The
client connects as often as it is asked to, one connection after the other, and says how each ended.
"""

import base64
import hashlib
import json
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, Self

from tests.acceptance.hostile.peer import CLOSE, SECONDS, Peer, frame
from tests.acceptance.hostile.server_process import CHECKOUT

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %s\r\n%s\r\n"
)


class RawServer:
    """The server, listening; a client that connects to it so many times is started with it."""

    def __init__(self, driver: str, times: int, **options: Any) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=16)
        self._listening.settimeout(SECONDS)
        port = self._listening.getsockname()[1]
        told = json.dumps({"driver": driver, "port": port, "times": times, **options})
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.acceptance.hostile.client", told],
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._listening.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def accept(self, headers: bytes = b"") -> Peer:
        """Take the client's next connection, and answer its handshake."""
        accepted, _ = self._listening.accept()
        peer = Peer.over(accepted)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += peer.read(1)
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        key = {name.lower(): value for name, value in fields.items()}[b"sec-websocket-key"]
        digest = base64.b64encode(hashlib.sha1(key + GUID).digest())
        peer.send(ANSWER % (digest, headers))
        return peer

    def endings(self) -> Any:
        """What the client tells: how each connection ended, and by how much its memory grew."""
        output, _ = self.process.communicate(timeout=SECONDS)
        assert self.process.returncode == 0
        return json.loads(output)


def attack_client(
    driver: str,
    attacks: Sequence[Callable[[Peer], None]],
    code: int,
    growth_max: int,
    granted: bytes = b"",
) -> None:
    """Attack our client, each time on a new connection, which it is to close with the code.

    With something `granted` it offers compression, and is answered with that.
    """
    headers = b"Sec-WebSocket-Extensions: %s\r\n" % granted if granted else b""
    with RawServer(driver, len(attacks), compressed=bool(granted)) as server:
        for attack in attacks:
            with server.accept(headers) as peer:
                attack(peer)
                assert peer.close_code() == code
                # The server is the one that ends the connection (RFC 6455 section 7.1.1).
                peer.send_if_it_still_can(frame(CLOSE, struct.pack("!H", code), mask=False))
        told = server.endings()
    assert told["endings"] == [["local", "broken", code]] * len(attacks)
    assert told["growth"] <= growth_max
