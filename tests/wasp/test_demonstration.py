"""The demonstration, examples/wasp/wasp.toml: each of its endpoints is used."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.addresses import free_port
from tests.waiting import wait_until
from tests.wasp.conftest import Lines, Run, address_of
from vespiary.wasp.clr.runtime import missing

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = (
    "ADMIN",
    "CHAT",
    "ECHO",
    "LINES",
    "PACKETS",
    "DATAGRAMS",
    "FILES",
    "LINE_GATEWAY",
    "PROXY",
    "APART",
    "SHOUT",
    "MANAGED",
    "SECURE",
    "ASGI",
    "WSGI",
)


def free_ports() -> dict[str, str]:
    """A free port for each endpoint, as environment variables."""
    return {f"{name}_PORT": str(free_port()) for name in NAMES}


def page(url: str) -> str:
    """What is at a URL."""
    with urllib.request.urlopen(url, timeout=60) as answer:
        return str(answer.read().decode())


def certificates(folder: Path) -> None:
    """A certificate for the endpoint with TLS."""
    command = [sys.executable, "-m", "vespiary", "cert", "--folder", str(folder)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.skipif(missing() is not None, reason="mono or pythonnet is not installed")
def test_every_endpoint_of_the_demonstration_serves(
    run: Run, folder: Path, lines: Callable[[str], Lines]
) -> None:
    shutil.copytree(EXAMPLES / "websocket_chat", folder / "websocket_chat")
    for name in ("plugins.py", "shout.wat", "Greeter.cs"):
        shutil.copy(EXAMPLES / "wasp" / name, folder)
    certificates(folder)
    ports = free_ports()
    text = (EXAMPLES / "wasp" / "wasp.toml").read_text().replace('"../', '"')
    server = run(text, environment=ports)
    server.serves(len(NAMES))
    chat = f"127.0.0.1:{ports['CHAT_PORT']}"
    assert f'"echo": {ports["ECHO_PORT"]}' in page(f"http://{chat}/")
    with connect(f"ws://{chat}/") as client:
        client.send(json.dumps({"join": "nest", "name": "Ann"}))
        assert "welcome" in client.recv()
    with connect(f"ws://127.0.0.1:{ports['ECHO_PORT']}/") as client:
        client.send("hello")
        assert client.recv() == "hello"
    line = lines(f"tcp://127.0.0.1:{ports['LINES_PORT']}")
    assert line.ask("Ben") == "hello, Ben: you are number 1"
    apart = lines(f"tcp://127.0.0.1:{ports['APART_PORT']}")
    assert apart.ask("Dan") == "hello from another process, Dan: you are number 1"
    apart.close()
    shout = lines(f"tcp://127.0.0.1:{ports['SHOUT_PORT']}")
    assert shout.ask("hello") == "HELLO"
    shout.close()
    managed = lines(f"tcp://127.0.0.1:{ports['MANAGED_PORT']}")
    assert managed.ask("Eva") == "hello from C#, Eva: you are number 1"
    managed.close()
    trusted = ssl.create_default_context(cafile=folder / "vespiary-ca.pem")
    with (
        socket.create_connection(("127.0.0.1", int(ports["SECURE_PORT"])), 60) as plain,
        trusted.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        secure.sendall(b"Fay\n")
        assert secure.recv(100) == b"hello over TLS, Fay: you are number 1\n"
    for name in ("ASGI", "WSGI"):
        assert page(f"http://127.0.0.1:{ports[f'{name}_PORT']}/hive") == f"{name}: /hive\n"
    with socket.create_connection(("127.0.0.1", int(ports["PACKETS_PORT"])), 60) as packets:
        packets.sendall(b"\0\0\0\3Cem")
        expected = b"GOOD DAY, CEM: YOU ARE NUMBER 1"
        assert packets.makefile("rb").read(4 + len(expected)) == b"\0\0\0\x1f" + expected
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.settimeout(60)
        datagrams.sendto(b"hello", address_of(f"udp://127.0.0.1:{ports['DATAGRAMS_PORT']}"))
        assert datagrams.recv(100) == b"hello"
    with connect(f"ws://127.0.0.1:{ports['LINE_GATEWAY_PORT']}/") as client:
        client.send("Dan\n")
        assert client.recv() == b"hello, Dan: you are number 2\n"
    metrics = f"http://127.0.0.1:{ports['ADMIN_PORT']}/metrics"
    upstream = f'upstream="http://127.0.0.1:{ports["FILES_PORT"]}"'
    available = f'vespiary_upstream_available{{endpoint="proxy",{upstream}}} 1.0'
    # The first health checks failed if the other endpoints took longer to start.
    wait_until(lambda: available in page(metrics))
    assert page(f"http://127.0.0.1:{ports['PROXY_PORT']}/").startswith("<!doctype html>")
    files = urllib.request.Request(f"http://127.0.0.1:{ports['FILES_PORT']}/")
    files.add_header("Range", "bytes=0-14")
    with urllib.request.urlopen(files) as answer:
        assert (answer.status, answer.headers["Cache-Control"]) == (206, "no-cache")
        assert answer.read() == b"<!doctype html>"
    with urllib.request.urlopen(f"http://127.0.0.1:{ports['ADMIN_PORT']}/status") as answer:
        endpoints = json.load(answer)["endpoints"]
    assert endpoints["lines"]["messages_received"] == 2
    assert endpoints["apart"]["messages_received"] == 1
    assert endpoints["managed"]["messages_received"] == 1
    assert endpoints["datagrams"]["datagrams_received"] == 1
    line.close()
    assert server.stop() == 0


def test_the_demonstration_is_valid_where_it_is(tmp_path: Path) -> None:
    certificates(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "vespiary", "check", str(EXAMPLES / "wasp" / "wasp.toml")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CERTIFICATES": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
