"""The demonstration, examples/wasp/wasp.toml: each of its endpoints is used."""

import json
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from websockets.sync.client import connect

from tests.wasp.conftest import Lines, Run, address_of

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
)


def free_ports() -> dict[str, str]:
    """A free port for each endpoint, as environment variables."""
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in NAMES]
        ports = [str(one.getsockname()[1]) for one in taken]
    return {f"{name}_PORT": port for name, port in zip(NAMES, ports, strict=True)}


def test_every_endpoint_of_the_demonstration_serves(
    run: Run, folder: Path, lines: Callable[[str], Lines]
) -> None:
    shutil.copytree(EXAMPLES / "websocket_chat", folder / "websocket_chat")
    for name in ("plugins.py", "shout.wat"):
        shutil.copy(EXAMPLES / "wasp" / name, folder)
    ports = free_ports()
    text = (EXAMPLES / "wasp" / "wasp.toml").read_text().replace('"../', '"')
    server = run(text, environment=ports)
    server.serves(len(NAMES))
    chat = f"127.0.0.1:{ports['CHAT_PORT']}"
    with urllib.request.urlopen(f"http://{chat}/") as answer:
        assert f'"echo": {ports["ECHO_PORT"]}' in answer.read().decode()
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
    with urllib.request.urlopen(f"http://127.0.0.1:{ports['PROXY_PORT']}/") as answer:
        assert answer.read().startswith(b"<!doctype html>")
    metrics = f"http://127.0.0.1:{ports['ADMIN_PORT']}/metrics"
    with urllib.request.urlopen(metrics) as answer:
        upstream = f'upstream="http://127.0.0.1:{ports["FILES_PORT"]}"'
        name = f'vespiary_upstream_available{{endpoint="proxy",{upstream}}} 1.0'
        assert name in answer.read().decode()
    files = urllib.request.Request(f"http://127.0.0.1:{ports['FILES_PORT']}/")
    files.add_header("Range", "bytes=0-14")
    with urllib.request.urlopen(files) as answer:
        assert (answer.status, answer.headers["Cache-Control"]) == (206, "no-cache")
        assert answer.read() == b"<!doctype html>"
    with urllib.request.urlopen(f"http://127.0.0.1:{ports['ADMIN_PORT']}/status") as answer:
        endpoints = json.load(answer)["endpoints"]
    assert endpoints["lines"]["messages_received"] == 2
    assert endpoints["apart"]["messages_received"] == 1
    assert endpoints["datagrams"]["datagrams_received"] == 1
    line.close()
    assert server.stop() == 0


def test_the_demonstration_is_valid_where_it_is() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vespiary", "check", str(EXAMPLES / "wasp" / "wasp.toml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
