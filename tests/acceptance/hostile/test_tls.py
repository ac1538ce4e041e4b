"""TLS under attack: floods of handshakes, handshakes that stop half way, and broken records."""

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest

from tests.acceptance.hostile.conftest import ECHO, Serve
from tests.acceptance.hostile.peer import SECONDS, Peer
from tests.acceptance.hostile.server_process import MEBIBYTE, Server
from tests.api.certificates import Certificates

pytestmark = [pytest.mark.acceptance, pytest.mark.serial]

T = TypeVar("T")
TLS = dict[str, Any]


class Client:
    """A client whose records can be changed before they are sent."""

    def __init__(self, server: Server, context: ssl.SSLContext) -> None:
        self.peer = server.connect("tls")
        self._received, self._sent = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._sent, server_hostname="localhost")

    def hello(self) -> bytes:
        """The first record of a handshake, which is not sent."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        return self._sent.read()

    def echo(self) -> None:
        """Complete the handshake, and have a message back."""
        self._finish(self._tls.do_handshake)
        self.peer.send(self.record(b"whole"))
        assert self._finish(lambda: self._tls.read(100)) == b"whole"

    def _finish(self, work: Callable[[], T]) -> T:
        while True:
            try:
                return work()
            except ssl.SSLWantReadError:
                self.peer.send(self._sent.read())
                self._received.write(self.peer.socket.recv(1 << 16))

    def record(self, data: bytes) -> bytes:
        """A record that is not sent."""
        self._tls.write(data)
        return self._sent.read()


@pytest.mark.parametrize("half", [0, 1, 100], ids=["nothing", "one byte", "half a hello"])
def test_half_handshakes_end_at_their_deadline_and_cost_little(
    serve: Serve, tls: TLS, certificates: Certificates, half: int
) -> None:
    server = serve(calm=ECHO, tls={**tls, "deadlines": {"handshake_seconds": 0.5}})
    count = 200
    with server.steady("calm", 16 * MEBIBYTE):
        clients = [Client(server, certificates.context()) for _ in range(count)]
        for client in clients:
            client.peer.send(client.hello()[:half])
        for client in clients:
            client.peer.end()
            client.peer.socket.close()
    told = server.wait_idle("tls")
    assert told["limits_reached"] == {"handshake_seconds": count}


def test_half_handshakes_beyond_their_limit_are_refused(serve: Serve, tls: TLS) -> None:
    server = serve(tls={**tls, "limits": {"handshakes_pending_max": 20}})
    with server.many_peers("tls", 20), server.connect("tls") as late:
        server.wait_for("tls", lambda told: told["handshakes_pending"] == 20)
        late.end()
        told = server.wait_for("tls", lambda told: told["connections_refused"])
    assert told["connections_refused"] == {"handshakes_pending_max": 1}


def test_a_flood_of_whole_handshakes_starves_nobody_and_leaves_nothing_behind(
    serve: Serve, tls: TLS, certificates: Certificates
) -> None:
    server = serve(calm=ECHO, tls=tls)
    address = urlsplit(server.urls["tls"])
    context = certificates.context()

    def flood() -> None:
        while not ended.is_set():
            with contextlib.suppress(OSError):
                plain = socket.create_connection((address.hostname, address.port), SECONDS)
                with context.wrap_socket(plain, server_hostname="localhost"):
                    pass

    ended = threading.Event()
    descriptors = server.descriptors
    threads = [threading.Thread(target=flood) for _ in range(3)]
    with server.steady("calm", 32 * MEBIBYTE):
        for thread in threads:
            thread.start()
        server.wait_for("tls", lambda told: told["connections_closed"] >= 100)
        ended.set()
        for thread in threads:
            thread.join()
    server.wait_idle("tls")
    assert server.descriptors == descriptors


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
@pytest.mark.parametrize(
    ("letter", "version"),
    [("R", "-tls1_2"), ("K", "-tls1_3")],
    ids=["renegotiation", "key updates"],
)
def test_clients_that_ask_for_other_keys_again_and_again_are_ended(
    serve: Serve, tls: TLS, letter: str, version: str
) -> None:
    server = serve(calm=ECHO, tls=tls)
    where = server.urls["tls"].removeprefix("tls://")
    command = ["openssl", "s_client", "-connect", where, version, "-legacy_renegotiation"]
    with server.steady("calm", 16 * MEBIBYTE), contextlib.ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(asking(command, letter))
        server.wait_for("tls", lambda told: told["connections_broken"] == 10)
    assert server.wait_idle("tls")["connections_accepted"] == 10


@contextlib.contextmanager
def asking(command: list[str], letter: str) -> Iterator[None]:
    """An openssl that sends the same request as long as its server stays."""
    quiet = subprocess.DEVNULL
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet)

    def ask() -> None:
        assert client.stdin is not None
        with contextlib.suppress(OSError):
            while client.poll() is None:
                # One read of its terminal is one command.
                client.stdin.write(f"{letter}\n".encode())
                client.stdin.flush()
                time.sleep(0.01)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        client.kill()
        client.wait()
        thread.join()
        assert client.stdin is not None
        with contextlib.suppress(OSError):
            client.stdin.close()


def test_a_record_that_is_cut_anywhere_is_not_delivered(
    serve: Serve, tls: TLS, certificates: Certificates
) -> None:
    server = serve(tls=tls)
    for count, kept in enumerate((0, 1, 4, 5, 6, 20, -17, -1), 1):
        client = Client(server, certificates.context())
        client.echo()
        record = client.record(b"x" * 100)
        client.peer.send(record[:kept] if kept else b"")
        client.peer.socket.shutdown(socket.SHUT_WR)
        client.peer.end()
        client.peer.socket.close()
        told = server.wait_idle("tls")
        assert (told["connections_broken"], told["messages_received"]) == (count, count)


@pytest.mark.parametrize(
    "junk",
    [
        pytest.param(b"\x17\x03\x03\xff\xff", id="too long"),
        pytest.param(b"\x17\x03\x03\x00\x00", id="empty"),
        pytest.param(b"\x17\x03\x03\x00\x20" + bytes(32), id="not authentic"),
        pytest.param(b"\x16\x03\x03\x00\x04\x01\x00\x00\x00", id="another hello"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="plain text"),
    ],
)
def test_records_that_no_peer_may_send_end_their_connection_and_no_other(
    serve: Serve, tls: TLS, certificates: Certificates, junk: bytes
) -> None:
    server = serve(calm=ECHO, tls=tls)
    calm = Peer(server.urls["calm"]).upgrade()
    for _ in range(20):
        client = Client(server, certificates.context())
        client.echo()
        client.peer.send(junk)
        client.peer.end()
        client.peer.socket.close()
    told = server.wait_for("tls", lambda told: told["connections_broken"] == 20)
    assert told["messages_received"] == 20
    calm.echo(b"still here")
    calm.socket.close()
