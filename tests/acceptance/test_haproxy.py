"""Behind a real HAProxy, which says by the PROXY protocol for whom it connects."""

import asyncio
import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vespiary
from tests.api.certificates import Certificates

pytestmark = pytest.mark.acceptance

CONFIGURATION = """
defaults
    mode tcp
    timeout connect 30s
    timeout client 60s
    timeout server 60s

listen proxy
    bind fd@{descriptor}
    server one {host}:{port} {options}
"""


@contextlib.contextmanager
def haproxy(folder: Path, server: vespiary.Server, options: str) -> Iterator[int]:
    """A proxy in front of a server, for the time of a block; its port."""
    program = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("HAProxy is not installed (Debian: haproxy)")
    endpoint = vespiary.Endpoint.parse(server.urls[0])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        settings = {"host": endpoint.host, "port": endpoint.port, "options": options}
        text = CONFIGURATION.format(descriptor=listening.fileno(), **settings)
        (folder / "haproxy.cfg").write_text(text)
        command = [program, "-db", "-f", str(folder / "haproxy.cfg")]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command, pass_fds=[listening.fileno()], stdout=log, stderr=log
            )
        try:
            yield listening.getsockname()[1]
        finally:
            process.kill()
            process.wait()


class Greeting(vespiary.Handler):
    """Sends each client its address, and then what it sends."""

    def on_open(self, connection: vespiary.Connection) -> None:
        connection.send(str(connection.peer))

    def on_message(self, connection: vespiary.Connection, message: str | bytes) -> None:
        connection.send(message)


@pytest.mark.parametrize("scheme", ["tcp", "ws", "wss"])
@pytest.mark.parametrize(
    "options",
    [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options crc32c,unique-id",
    ],
)
def test_servers_know_whose_connection_it_is(
    tmp_path: Path, driver: str, scheme: str, options: str
) -> None:
    certificates = Certificates(tmp_path)
    client: Any = {"framing": "line"} if scheme == "tcp" else {}
    served: Any = {"proxy_protocol_from": ["127.0.0.1"], **client}
    if scheme == "wss":
        served["tls"] = vespiary.ServerTLS(*certificates.make("127.0.0.1"))
        client["tls"] = vespiary.ClientTLS(ca=certificates.ca)

    async def main() -> None:
        server = vespiary.Server()
        server.add(Greeting, f"{scheme}://127.0.0.1:0", **served)
        async with server:
            with haproxy(tmp_path, server, options) as port:
                url = f"{scheme}://127.0.0.1:{port}"
                async with asyncio.timeout(50), vespiary.connect(url, **client) as connection:
                    greeting = await connection.receive()
                    own = str(connection.local_address)
                    assert greeting == (own.encode() if scheme == "tcp" else own)
                    connection.send(b"x" * 100_000)
                    assert await connection.receive() == b"x" * 100_000

    vespiary.run(main(), driver=driver)


def test_a_health_check_is_served_where_it_sends_a_header(tmp_path: Path, driver: str) -> None:
    async def main() -> None:
        server = vespiary.Server()
        server.add(Greeting, "tcp://127.0.0.1:0", proxy_protocol_from=["127.0.0.1"])
        async with server:
            options = "send-proxy-v2 check check-send-proxy inter 50ms"
            with haproxy(tmp_path, server, options):
                async with asyncio.timeout(50):
                    while server.statistics().endpoints[0].connections_closed < 3:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
            found = server.statistics().endpoints[0]
            assert found.protocol_errors == 0
            assert not found.connections_refused

    vespiary.run(main(), driver=driver)
