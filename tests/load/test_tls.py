"""Runs over TLS, against servers of Python's own `ssl`, and what is wrong with a server's TLS."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.server import serve as serve_websocket

from vespiary._core import make_authority, make_certificate

if TYPE_CHECKING:
    from pathlib import Path

    from websockets.asyncio.server import ServerConnection

    from tests.load.conftest import Load, Outcome, Serve

    Behaviour = Callable[[ssl.SSLSocket], None]
    Secure = Callable[[Behaviour], str]

pytestmark = pytest.mark.acceptance


class Certificates:
    """An authority, a certificate of it for a server, and one for a client."""

    def __init__(self, folder: Path) -> None:
        self.ca = folder / "ca.pem"
        self.client = folder / "client.pem"
        self.server = folder / "server.pem"
        authority, key = make_authority()
        self.ca.write_text(authority)
        for path, names in (
            (self.server, ["localhost", "127.0.0.1"]),
            (self.client, ["ann.example"]),
        ):
            path.write_text("".join(make_certificate(key, names, 30)))

    def context(self, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """What a server uses."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.server)
        if version is not None:
            context.maximum_version = version
        return context


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def secure(serve: Serve, certificates: Certificates) -> Secure:
    """Start a TLS server that treats each connection as a behaviour does."""

    def start(behaviour: Behaviour, context: ssl.SSLContext | None = None) -> str:
        used = certificates.context() if context is None else context

        def accept(connection: socket.socket) -> None:
            with (
                contextlib.suppress(OSError),
                used.wrap_socket(connection, server_side=True) as secured,
            ):
                behaviour(secured)

        return serve(accept).replace("tcp://", "tls://")

    return start


def echo(connection: ssl.SSLSocket) -> None:
    while received := connection.recv(65536):
        connection.sendall(received)
    connection.unwrap()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("options", [[], ["--fragment", "--size", "3000"], ["--size", "200000"]])
def test_an_echo_over_tls_passes(
    secure: Secure, certificates: Certificates, load: Load, driver: str,
    version: ssl.TLSVersion, options: list[str],
) -> None:  # fmt: skip
    url = secure(echo, certificates.context(version))  # type: ignore[call-arg]
    done = load(
        url, "--ca", certificates.ca, "--connections", 5, "--messages", 20, "--driver", driver,
        *options,
    )  # fmt: skip
    assert done.status == 0, done.output + done.errors
    assert (done.report["connected"], done.report["received"]) == (5, 100)
    assert done.report["bytes_sent"] > 100 * done.report["size"]


@pytest.mark.parametrize("options", [[], ["--fragment"], ["--compress"], ["--rate", "500"]])
def test_an_echo_over_wss_passes(
    certificates: Certificates, load: Load, options: list[str]
) -> None:
    async def echo_messages(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async def loaded() -> Outcome:
        # The server with threads uses TLS from several, for which Python's ssl is not made.
        context = certificates.context()
        async with serve_websocket(echo_messages, "127.0.0.1", 0, ssl=context) as server:
            url = f"wss://localhost:{next(iter(server.sockets)).getsockname()[1]}/"
            words = [url, "--ca", certificates.ca, "--connections", 3, "--messages", 30, *options]
            return await asyncio.to_thread(load, *words)

    done = asyncio.run(loaded())
    assert done.status == 0, done.output + done.errors
    assert done.report["received"] == 90


def test_an_authority_that_is_not_trusted_is_reported_with_the_remedy(
    secure: Secure, load: Load
) -> None:
    url = secure(echo)
    done = load(url, "--connections", 2, "--messages", 1)
    assert done.status == 1
    assert done.report["refused"] == 2
    assert "UnknownIssuer; name its authority with --ca" in done.problem["text"]
    done = load(url, "--insecure", "--messages", 1)
    assert done.status == 0, done.output + done.errors


def test_a_certificate_for_another_name_is_refused(
    secure: Secure, certificates: Certificates, load: Load
) -> None:
    context = certificates.context()
    context.load_cert_chain(certificates.client)
    url = secure(echo, context)  # type: ignore[call-arg]
    done = load(url, "--ca", certificates.ca, "--messages", 1)
    assert done.status == 1
    assert "not valid for name" in done.problem["text"]


def test_a_certificate_of_the_client_is_shown_where_one_is_required(
    secure: Secure, certificates: Certificates, load: Load
) -> None:
    context = certificates.context()
    context.load_verify_locations(certificates.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    url = secure(echo, context)  # type: ignore[call-arg]
    shown = ["--ca", certificates.ca, "--cert", certificates.client]
    assert load(url, "--messages", 3, *shown).status == 0
    refused = load(url, "--messages", 3, "--ca", certificates.ca)
    assert refused.status == 1
    assert "CertificateRequired" in str(refused.report["problems"])


def test_a_server_that_does_not_speak_tls_is_reported(serve: Serve, load: Load) -> None:
    def greet(connection: socket.socket) -> None:
        connection.recv(1)
        connection.sendall(b"220 ready\r\n")
        connection.recv(65536)

    done = load(serve(greet).replace("tcp://", "tls://"), "--insecure", "--messages", 1)
    assert done.status == 1
    assert "does not speak TLS" in done.problem["text"]


def test_a_server_that_closes_in_the_handshake_is_reported(serve: Serve, load: Load) -> None:
    url = serve(lambda connection: connection.close()).replace("tcp://", "tls://")
    done = load(url, "--insecure", "--messages", 1)
    assert done.status == 1
    assert done.report["refused"] == 1


def test_a_stream_that_ends_without_the_end_of_tls_is_a_fault(secure: Secure, load: Load) -> None:
    def cut(connection: ssl.SSLSocket) -> None:
        while received := connection.recv(65536):
            connection.sendall(received)
        socket.socket(fileno=connection.detach()).close()

    done = load(secure(cut), "--insecure", "--messages", 3)
    assert done.status == 1
    assert (done.report["received"], done.report["unclosed"]) == (3, 1)
    assert "close_notify" in done.problem["text"]


def test_an_altered_record_is_a_fault(serve: Serve, certificates: Certificates, load: Load) -> None:
    """A proxy between both ends changes a bit of what the server sends."""
    context = certificates.context()

    def corrupt(connection: socket.socket) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = context.wrap_bio(incoming, outgoing, server_side=True)

        def step() -> bytes:
            while True:
                try:
                    return server.read(65536)
                except ssl.SSLWantReadError:
                    connection.sendall(outgoing.read())
                    if not (received := connection.recv(65536)):
                        return b""
                    incoming.write(received)

        server.write(step())
        record = bytearray(outgoing.read())
        record[-1] ^= 1
        connection.sendall(record)
        connection.recv(65536)

    done = load(serve(corrupt).replace("tcp://", "tls://"), "--insecure", "--messages", 3)
    assert done.status == 1
    assert (done.report["violations"], done.report["received"]) == (1, 0)
    assert "TLS: cannot decrypt peer's message" in done.problem["text"]


def test_a_reset_over_tls_is_counted(secure: Secure, load: Load) -> None:
    def reset(connection: ssl.SSLSocket) -> None:
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    done = load(secure(reset), "--insecure", "--connections", 2, "--messages", 3)
    assert done.status == 1
    assert done.report["reset"] + done.report["closed"] == 2
    assert done.report["lost"] == 2


SCRIPT = """
async def user(connection):
    connection.send("hello")
    assert await connection.receive() == b"hello", connection.tls
"""


def test_a_script_connects_over_tls(
    secure: Secure, certificates: Certificates, load: Load, tmp_path: Path
) -> None:
    script = tmp_path / "user.py"
    script.write_text(SCRIPT)
    done = load(secure(echo), "--script", script, "--ca", certificates.ca, "--messages", 2)
    assert done.status == 0, done.output + done.errors
    refused = load(secure(echo), "--script", script, "--insecure", json=False)
    assert refused.status == 2
    assert "--insecure has no effect with --script" in refused.errors
