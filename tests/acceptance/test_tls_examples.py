"""The examples with TLS: a renewed certificate, clients known by theirs, a reverse proxy."""

import asyncio
import json
import signal
import socket
import ssl
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from vespiary._core import make_authority, make_certificate

from .conftest import Example, Start

pytestmark = pytest.mark.acceptance


class Folder:
    """A folder with an authority and certificates, as `vespiary cert` makes it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        authority, self._key = make_authority()
        (path / "vespiary-ca.pem").write_text(authority)
        (path / "clients").mkdir()
        self.make("localhost", "localhost", "127.0.0.1")

    def make(self, name: str, *names: str) -> None:
        certificate, key = make_certificate(self._key, [*names], 30)
        (self.path / f"{name}.pem").write_text(certificate)
        (self.path / f"{name}-key.pem").write_text(key)

    @property
    def pair(self) -> list[str]:
        """The server's files."""
        return [str(self.path / "localhost.pem"), str(self.path / "localhost-key.pem")]

    def context(self, client: str | None = None) -> ssl.SSLContext:
        """What a client uses."""
        context = ssl.create_default_context(cafile=self.path / "vespiary-ca.pem")
        if client is not None:
            context.load_cert_chain(self.path / f"{client}.pem", self.path / f"{client}-key.pem")
        return context


class Client:
    """A client of the `websockets` library whose TLS is used by one thread only.

    Its client with threads receives and sends at once, for which Python's ssl is not made: with
    3.11 some connections hang.
    """

    def __init__(self, url: str, context: ssl.SSLContext, *subprotocols: str) -> None:
        self._runner = asyncio.Runner()
        offered = [Subprotocol(name) for name in subprotocols]

        async def opened() -> ClientConnection:
            return await connect(url, ssl=context, subprotocols=offered or None, proxy=None)

        self.connection = self._runner.run(opened())

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
        self._runner.close()

    def send(self, message: str) -> None:
        self._runner.run(self.connection.send(message))

    def recv(self) -> str | bytes:
        return self._runner.run(asyncio.wait_for(self.connection.recv(), 60))

    def close(self) -> None:
        self._runner.run(self.connection.close())


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_the_echo_gets_a_new_certificate_while_it_runs(start: Start, folder: Folder) -> None:
    example = start("tls_echo.py", "wss://127.0.0.1:0", *folder.pair)

    def certificate() -> bytes | None:
        with Client(example.url, folder.context()) as client:
            client.send("hello")
            assert client.recv() == "hello"
            tls: ssl.SSLObject = client.connection.transport.get_extra_info("ssl_object")
            return tls.getpeercert(binary_form=True)

    with Client(example.url, folder.context()) as kept:
        before = certificate()
        folder.make("localhost", "localhost", "127.0.0.1")
        assert certificate() == before
        example.send_signal(signal.SIGHUP)
        example.wait_for("Read the certificate of")
        assert certificate() != before
        (folder.path / "localhost.pem").write_text("nothing")
        example.send_signal(signal.SIGHUP)
        example.wait_for("stays in use: certificate ")
        assert certificate() != before
        kept.send("still there")
        assert kept.recv() == "still there"
    assert "TLSv1.3 with " in example.output
    example.kill()


def lines_of(example: Example, context: ssl.SSLContext, *said: bytes) -> list[bytes]:
    """Say lines, and get as many answers and the greeting; fewer where the server closes."""
    with (
        socket.create_connection(example.address, 60) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as client,
        client.makefile("rb") as answers,
    ):
        client.sendall(b"".join(line + b"\n" for line in said))
        got = [answers.readline() for _ in range(1 + len(said))]
    return [line.strip() for line in got if line]


def test_clients_are_known_by_their_certificates(start: Start, folder: Folder) -> None:
    for name in ("ann", "bob", "eve"):
        folder.make(name, name)
    for name in ("ann", "bob"):
        (folder.path / "clients" / f"{name}.pem").write_text(
            (folder.path / f"{name}.pem").read_text()
        )
    example = start("client_certificates.py", "tls://127.0.0.1:0", str(folder.path))
    for name in ("ann", "bob"):
        greeting, answer = lines_of(example, folder.context(name), b"honey")
        assert (greeting.decode(), answer.decode()) == (f"hello {name}", f"{name}: honey")
    assert lines_of(example, folder.context("eve")) == [b"this certificate is not in the folder"]
    (folder.path / "clients" / "bob.pem").unlink()
    assert lines_of(example, folder.context("bob")) == [b"this certificate is not in the folder"]
    with pytest.raises(ssl.SSLError, match="certificate required"):
        lines_of(example, folder.context())
    example.stop()


def test_the_proxy_carries_both_ways_and_passes_ends_on(start: Start, folder: Folder) -> None:
    chat = start("websocket_chat", "ws://127.0.0.1:0/", "ws://127.0.0.1:0/")
    url = chat.urls[0].rstrip("/")
    proxy = start("tls_reverse_proxy.py", "wss://127.0.0.1:0", url, *folder.pair)
    with (
        Client(proxy.url, folder.context()) as ann,
        Client(proxy.url, folder.context()) as bob,
    ):
        for client, name in ((ann, "Ann"), (bob, "Bob")):
            client.send(json.dumps({"join": "nest", "name": name}))
            assert json.loads(client.recv())["welcome"] == "nest"
        assert json.loads(ann.recv()) == {"joined": "Bob"}
        bob.send(json.dumps({"say": "hello"}))
        assert json.loads(ann.recv())["said"] == "hello"
        bob.close()
        assert json.loads(ann.recv()) == {"left": "Bob"}
        chat.stop()
        with pytest.raises(ConnectionClosed) as told:
            ann.recv()
        assert told.value.rcvd is not None
        assert told.value.rcvd.code == 1001
    with Client(proxy.url, folder.context()) as nobody:
        with pytest.raises(ConnectionClosed) as told:
            nobody.recv()
        assert told.value.rcvd is not None
        assert told.value.rcvd.code == 1014
    proxy.stop()


def test_the_server_behind_the_proxy_knows_the_client(start: Start, folder: Folder) -> None:
    seen: list[tuple[str, str | None, str | None]] = []

    def note(connection: ServerConnection) -> None:
        assert connection.request is not None
        forwarded = connection.request.headers.get("X-Forwarded-For")
        seen.append((connection.request.path, forwarded, connection.subprotocol))
        connection.send(b"\x00bytes")
        connection.close(3000, "enough")

    with serve(note, "127.0.0.1", 0, subprotocols=[Subprotocol("v2")]) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        behind = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        proxy = start("tls_reverse_proxy.py", "wss://127.0.0.1:0", behind, *folder.pair)
        address = f"wss://127.0.0.1:{urlsplit(proxy.url).port}/a?b=c"
        with Client(address, folder.context(), "v2") as client:
            assert client.recv() == b"\x00bytes"
            with pytest.raises(ConnectionClosed) as told:
                client.recv()
        assert told.value.rcvd is not None
        assert told.value.rcvd.code == 3000
        server.shutdown()
    assert seen == [("/a?b=c", "127.0.0.1", "v2")]
    proxy.stop()
