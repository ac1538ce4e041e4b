"""Other TLS clients with our server: versions, names, ALPN, resumption and certificates of clients.

The clients are Python's `ssl`, OpenSSL's `s_client`, curl, and Go where it is installed. Each makes
a request over `https://`, and the response says what the server knows about the connection.
"""

import asyncio
import json
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import vespiary
from vespiary import ServerTLS

from .certificates import Certificates
from .kit import serving

pytestmark = [
    pytest.mark.filterwarnings("ignore:ssl.*deprecated:DeprecationWarning"),
    pytest.mark.skipif(
        not (shutil.which("openssl") and shutil.which("curl")), reason="needs openssl and curl"
    ),
]

SECONDS_MAX = 60
VERSIONS = ("1.2", "1.3")
GO = shutil.which("go")
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Told(vespiary.Handler):
    """Responds with what it knows about the connection's TLS."""

    def on_request(self, request: vespiary.Request) -> vespiary.Response:
        tls = request.connection.tls
        assert tls is not None
        known = {
            "version": tls.version,
            "alpn": tls.alpn,
            "name": tls.server_name,
            "resumed": tls.resumed,
            "has_certificate": tls.peer_certificate is not None,
        }
        return request.respond(200, json.dumps(known) + "\n")


@dataclass
class Wanted:
    """What a client is to do; the second of `connections` resumes the session of the first."""

    port: int
    ca: Path
    folder: Path
    version: str = "1.3"
    name: str = "localhost"
    alpn: str = "http/1.1"
    identity: tuple[Path, Path] | None = None
    connections: int = 1
    responses: list[dict[str, Any]] = field(default_factory=list)

    def take(self, output: bytes) -> None:
        """Find the responses' bodies in what a client has printed."""
        for line in output.splitlines():
            if line.startswith(b'{"version"'):
                self.responses.append(json.loads(line))


def python(wanted: Wanted) -> None:
    """Python's `ssl`."""
    context = ssl.create_default_context(cafile=wanted.ca)
    version = ssl.TLSVersion.TLSv1_2 if wanted.version == "1.2" else ssl.TLSVersion.TLSv1_3
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols([wanted.alpn])
    if wanted.identity is not None:
        context.load_cert_chain(*wanted.identity)
    session = None
    for _ in range(wanted.connections):
        with (
            socket.create_connection(("127.0.0.1", wanted.port), SECONDS_MAX) as plain,
            context.wrap_socket(plain, server_hostname=wanted.name, session=session) as client,
        ):
            client.sendall(REQUEST)
            while data := client.recv(4096):
                wanted.take(data)
            session = client.session


def _run(command: list[str | Path], stdin: bytes | None = None) -> bytes:
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=SECONDS_MAX)
    return done.stdout


def s_client(wanted: Wanted) -> None:
    """OpenSSL's own client."""
    session = wanted.folder / "session.pem"
    for number in range(wanted.connections):
        command: list[str | Path] = [
            *("openssl", "s_client", "-connect", f"127.0.0.1:{wanted.port}", "-quiet"),
            *("-ign_eof", "-CAfile", wanted.ca, "-verify_return_error"),
            *("-verify_hostname", wanted.name, "-servername", wanted.name),
            *(f"-tls{wanted.version.replace('.', '_')}", "-alpn", wanted.alpn),
            *(("-sess_in", session) if number else ("-sess_out", session)),
        ]
        if wanted.identity is not None:
            command += ["-cert", wanted.identity[0], "-key", wanted.identity[1]]
        wanted.take(_run(command, REQUEST))


def curl(wanted: Wanted) -> None:
    """curl, which resumes sessions within one command."""
    command: list[str | Path] = [
        *("curl", "--silent", "--cacert", wanted.ca, "-H", "Connection: close", "--http1.1"),
        *(f"--tlsv{wanted.version}", "--tls-max", wanted.version, "--max-time", str(SECONDS_MAX)),
        *("--resolve", f"{wanted.name}:{wanted.port}:127.0.0.1"),
        *([f"https://{wanted.name}:{wanted.port}/"] * wanted.connections),
    ]
    if wanted.identity is not None:
        command += ["--cert", wanted.identity[0], "--key", wanted.identity[1]]
    wanted.take(_run(command))


def go(wanted: Wanted) -> None:
    """Go's crypto/tls, by a program that was compiled for the test."""
    identity = [str(path) for path in wanted.identity or ()]
    words = [wanted.port, wanted.ca, wanted.version, wanted.name, wanted.alpn, wanted.connections]
    wanted.take(_run([wanted.folder / "tls_client", *map(str, words), *identity]))


CLIENTS = [
    python,
    s_client,
    curl,
    # Its standard library is compiled for this: half a minute.
    *([pytest.param(go, marks=[pytest.mark.slow, pytest.mark.timeout(600)])] if GO else []),
]
clients = pytest.mark.parametrize("client", CLIENTS)
versions = pytest.mark.parametrize("version", VERSIONS)
Client = Callable[[Wanted], None]


@pytest.fixture(scope="session")
def go_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client in Go, compiled without the caches of the person who runs the tests."""
    folder = tmp_path_factory.mktemp("go")
    program, source = folder / "tls_client", Path(__file__).with_name("tls_client.go")
    environment = {**os.environ, "GOCACHE": str(folder / "cache")}
    subprocess.run([str(GO), "build", "-o", program, source], env=environment, check=True)
    return program


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder for the client; the one in Go is there."""
    if request.node.callspec.params["client"] is go:
        (tmp_path / "tls_client").symlink_to(request.getfixturevalue("go_program"))
    return tmp_path


async def responses(
    client: Client, tls: ServerTLS, certificates: Certificates, folder: Path, **options: Any
) -> list[dict[str, Any]]:
    """What the server has told a client."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(Told, "https://127.0.0.1:0", tls=tls))
        port = vespiary.Endpoint.parse(server.urls[0]).port
        wanted = Wanted(port, certificates.ca, folder, **options)
        await asyncio.to_thread(client, wanted)
        return wanted.responses


@clients
@versions
async def test_version_name_and_protocol_are_those_that_the_client_asks_for(
    client: Client, version: str, certificates: Certificates, folder: Path
) -> None:
    more = [certificates.make("chat.example.com")]
    tls = ServerTLS(*certificates.make("localhost"), more=more)
    # Each client verifies the certificate for the name that it asks for.
    for name in ("localhost", "chat.example.com"):
        (known,) = await responses(client, tls, certificates, folder, version=version, name=name)
        assert known == {
            "version": f"TLSv{version}",
            "alpn": "http/1.1",
            "name": name,
            "resumed": False,
            "has_certificate": False,
        }


@clients
@versions
async def test_a_session_is_resumed(
    client: Client, version: str, tls: ServerTLS, certificates: Certificates, folder: Path
) -> None:
    options = {"version": version, "connections": 2}
    known = await responses(client, tls, certificates, folder, **options)
    assert [one["resumed"] for one in known] == [False, True]
    assert {one["version"] for one in known} == {f"TLSv{version}"}


@clients
@versions
async def test_a_client_is_admitted_with_its_certificate_and_refused_without_one(
    client: Client, version: str, certificates: Certificates, folder: Path
) -> None:
    tls = ServerTLS(*certificates.make("localhost"), client_ca=certificates.ca)
    identity = certificates.make("somebody")
    (known,) = await responses(
        client, tls, certificates, folder, version=version, identity=identity
    )
    assert known["has_certificate"]
    if client is python:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await responses(client, tls, certificates, folder, version=version)
    else:
        assert await responses(client, tls, certificates, folder, version=version) == []
