"""`vespiary run`: what a configuration says is served, and what cannot be is explained."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.wasp.conftest import Lines, Run, address_of

Connect = Callable[[str], Lines]

LINE = """\
[endpoints.a]
url = "tcp://127.0.0.1:0"
plugin = "plug.py:Greeter"
framing = "line"
deadlines.close_seconds = "200ms"
"""


def test_endpoints_of_several_kinds_are_served_by_one_process(
    run: Run, lines: Connect, tmp_path: Path
) -> None:
    server = run(
        LINE
        + f"""
[endpoints.socket]
url = "ws://127.0.0.1:0/rooms/{{room}}"
plugin = "plug:Greeter"
config.greeting = "${{GREETING:-welcome}}"

[endpoints.page]
url = "http://127.0.0.1:0/"
plugin = "plug.py:Page"

[endpoints.datagrams]
url = "udp://127.0.0.1:0"
plugin = "plug.py:Datagrams"

[endpoints.local]
url = "unix://{tmp_path}/local.sock"
plugin = "plug.py:echo"
config.prefix = "> "
mode = "600"
"""
    )
    line, websocket, page, datagrams, local = server.serves(5)
    assert lines(line).ask("Ann") == "hello Ann 1"
    with connect(websocket.replace("{room}", "x")) as client:
        client.send("Ben")
        assert client.recv() == "welcome Ben 1"
    with urllib.request.urlopen(page) as answer:
        assert answer.read().decode() == f"process {server.process.pid}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client_socket:
        client_socket.settimeout(60)
        client_socket.sendto(b"hello", address_of(datagrams))
        assert client_socket.recv(100) == b"hello"
    path = local.removeprefix("unix://")
    assert Path(path).stat().st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX) as client_socket:
        client_socket.connect(path)
        client_socket.sendall(b"hello")
        assert client_socket.recv(100) in (b"> hello", b"> ")
    assert server.stop() == 0
    assert not Path(path).exists()


def test_instances_of_one_plugin_are_independent(run: Run, lines: Connect) -> None:
    server = run(
        LINE
        + LINE.replace("endpoints.a", "endpoints.b").replace(
            'url = "tcp://127.0.0.1:0"', 'urls = ["tcp://127.0.0.1:0", "tcp://127.0.0.1:0"]'
        )
        + 'config.greeting = "good day"\n'
    )
    first, second, third = map(lines, server.serves(3))
    assert first.ask("Ann") == "hello Ann 1"
    assert second.ask("Ben") == "good day Ben 1"
    assert third.ask("Cem") == "good day Cem 2"
    assert first.ask("Ann") == "hello Ann 2"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_gracefully(run: Run, lines: Connect, number: int) -> None:
    server = run(LINE)
    client = lines(server.serves(1)[0])
    assert client.ask("Ann") == "hello Ann 1"
    assert server.stop(number) == 0
    assert client.end() == b""


def test_an_on_start_that_fails_stops_the_start_with_its_traceback_and_the_endpoint(
    run: Run, folder: Path
) -> None:
    server = run(LINE + "config.fails = true\n")
    assert server.end() == 1
    assert 'plug.py", line ' in server.log
    assert "RuntimeError: the database is not there" in server.log
    assert f"raised by on_start of endpoints.a ({folder}/wasp.toml:1)" in server.log
    assert "the server did not start" in server.log


def test_an_address_in_use_is_an_error_with_advice(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = run(LINE.replace(":0", f":{port}"))
        assert server.end() == 1
    assert f"cannot listen on tcp://127.0.0.1:{port}" in server.log
    assert "another process listens there" in server.log


def test_mistakes_are_printed_and_nothing_is_started(run: Run, folder: Path) -> None:
    server = run(LINE.replace("framing", "farming") + "limits.headers_max = 0\n")
    assert server.end() == 2
    assert f"{folder}/wasp.toml:4: endpoints.a.farming: unknown key: did you mean 'framing'?" in (
        server.log
    )
    assert "2 errors in" in server.log
    assert "Traceback" not in server.log


def test_a_missing_configuration_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "wasp.toml").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "vespiary", "run", "wsap.toml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "wsap.toml: cannot be read: there is no such file; did you mean 'wasp.toml'?" in (
        done.stderr
    )


def test_the_log_is_json_if_asked_for(run: Run) -> None:
    server = run('[log]\nformat = "json"\n' + LINE)
    server.serves(1)
    assert server.stop() == 0
    records = [json.loads(line) for line in server.log.splitlines()]
    assert any(record["message"].startswith("Serving tcp://") for record in records)
    assert {"time", "level", "logger", "message", "process"} <= records[0].keys()


def test_a_pid_file_is_there_while_the_server_runs(run: Run, folder: Path) -> None:
    server = run('pid_file = "run.pid"\n' + LINE)
    server.serves(1)
    assert (folder / "run.pid").read_text() == f"{server.process.pid}\n"
    assert server.stop() == 0
    assert not (folder / "run.pid").exists()


def test_workers_serve_and_stop_together(run: Run, lines: Connect) -> None:
    server = run("workers = 2\n" + LINE)
    (url,) = server.serves(1)
    assert lines(url).ask("Ann") == "hello Ann 1"
    assert server.stop() == 0
    assert "Stopping 2 workers" in server.log


def test_a_service_manager_is_notified_of_each_state(run: Run, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        server = run(
            LINE,
            environment={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "20000"},
        )

        def next_state() -> str:
            while (text := manager.recv(1000).decode()) == "WATCHDOG=1":
                pass
            return text

        assert next_state() == "READY=1\nSTATUS=Serving 1 endpoint"
        assert manager.recv(1000) == b"WATCHDOG=1"
        assert manager.recv(1000) == b"WATCHDOG=1"
        server.reload()
        first, second = next_state().splitlines()
        assert first == "RELOADING=1"
        assert second.startswith("MONOTONIC_USEC=")
        assert next_state().startswith("READY=1")
        assert server.stop() == 0
        assert next_state() == "STOPPING=1"


def test_sockets_that_are_passed_are_served_by_name(run: Run, lines: Connect) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as first,
        socket.create_server(("127.0.0.1", 0)) as second,
    ):
        port = second.getsockname()[1]
        passed = {"lines": first, "web": second}
        server = run(LINE + 'socket = "web"\n', passed=passed)
        assert server.serves(1) == [f"tcp://127.0.0.1:{port}"]
        assert lines(server.urls[0]).ask("Ann") == "hello Ann 1"
        server.reload()
        assert lines(server.urls[0]).ask("Ann") == "hello Ann 2"
        assert server.stop() == 0
        wrong = run(LINE + 'socket = "wbe"\n', passed=passed)
        assert wrong.end() == 2
        assert "it has passed: lines (1), web (1)" in wrong.log
