"""The administration: health checks, metrics, status, operator's commands, and who may use them."""

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.addresses import OWN_HOST
from tests.waiting import wait_until
from tests.wasp.conftest import Lines, Run, Running, address_of
from vespiary.wasp import FileError, check

Connect = Callable[[str], Lines]

ADMIN = '[admin]\nurl = "http://127.0.0.1:{port}/"\n'
A = f"""\
[endpoints.a]
url = "tcp://{OWN_HOST}:0"
plugin = "plug.py:Greeter"
framing = "line"
deadlines.close_seconds = "200ms"
"""
B = A.replace("endpoints.a", "endpoints.b")


def get(port: int, path: str, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def parsed(text: str) -> list[Any]:
    return list(text_string_to_metric_families(text))  # type: ignore[no-untyped-call]


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vespiary", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def done(folder: Path, *words: str) -> str:
    result = command(folder, *words)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_status_and_metrics_count_each_endpoint(
    run: Run, lines: Connect, folder: Path, port: int
) -> None:
    server = run(ADMIN.format(port=port) + A + B)
    server.serves(3)
    client = lines(server.urls[0])
    assert client.ask("Ann") == "hello Ann 1"
    assert get(port, "/healthz") == (200, "ok\n")
    assert get(port, "/readyz") == (200, "ok\n")
    status: dict[str, Any] = json.loads(get(port, "/status")[1])
    assert status["process"] == server.process.pid
    assert status["endpoints"]["a"]["state"] == "serving"
    assert status["endpoints"]["a"]["urls"] == [server.urls[0]]
    assert status["endpoints"]["a"]["connections_open"] == 1
    assert status["endpoints"]["b"]["connections_open"] == 0
    assert f"a: serving tcp://{OWN_HOST}:" in done(folder, "status")
    assert json.loads(done(folder, "status", "wasp.toml", "--json"))["endpoints"].keys() == {
        "a",
        "b",
    }
    text = get(port, "/metrics", Accept="application/openmetrics-text; version=1.0.0")[1]
    families = {family.name: family for family in parsed(text)}
    values = {
        sample.labels["endpoint"]: sample.value
        for sample in families["vespiary_messages_received"].samples
        if sample.name.endswith("_total")
    }
    assert values == {"a": 1, "b": 0}
    assert families["vespiary_last_reload_successful"].samples[0].value == 1
    assert "vespiary_connections_open{" in get(port, "/metrics")[1]


def test_a_suspended_endpoint_accepts_nothing_until_it_is_resumed(
    run: Run, lines: Connect, folder: Path, port: int
) -> None:
    server = run(ADMIN.format(port=port) + A + B)
    server.serves(3)
    before = lines(server.urls[0])
    assert before.ask("Ann") == "hello Ann 1"
    assert done(folder, "suspend", "a") == "a: suspend\n"
    assert get(port, "/readyz") == (503, "a: suspended\n")
    waiting = lines(server.urls[0])
    waiting.socket.sendall(b"Ben\n")
    assert before.ask("Ann") == "hello Ann 2"
    assert json.loads(get(port, "/status")[1])["endpoints"]["a"]["connections_accepted"] == 1
    assert done(folder, "resume", "a") == "a: resume\n"
    assert waiting.ask("Cem") == "hello Ben 3"
    assert get(port, "/readyz") == (200, "ok\n")


def test_a_drained_endpoint_listens_again_after_a_resume_or_a_reload(
    run: Run, lines: Connect, folder: Path, port: int
) -> None:
    text = ADMIN.format(port=port) + A + B
    server = run(text)
    server.serves(3)
    client = lines(server.urls[0])
    assert client.ask("Ann") == "hello Ann 1"
    done(folder, "drain", "a")
    assert client.end() == b""
    with socket.socket() as refused:
        assert refused.connect_ex(address_of(server.urls[0])) != 0
    assert "a: drained:" in done(folder, "status")
    assert "drained: resume starts it again" in command(folder, "suspend", "a").stderr
    done(folder, "resume", "a")
    assert lines(server.urls[-1]).ask("Ann") == "hello Ann 1"
    done(folder, "drain", "a")
    assert "replaced a; unchanged b" in done(folder, "reload")
    assert lines(server.urls[-1]).ask("Ann") == "hello Ann 1"
    assert server.stop() == 0


def test_connections_are_closed_by_endpoint_and_by_peer(
    run: Run, lines: Connect, folder: Path, port: int
) -> None:
    server = run(ADMIN.format(port=port) + A + B)
    server.serves(3)
    one, other, third = lines(server.urls[0]), lines(server.urls[0]), lines(server.urls[1])
    for client in (one, other, third):
        client.ask("Ann")
    host, number = one.socket.getsockname()
    assert (
        done(folder, "disconnect", "a", "--peer", f"{host}:{number}")
        == "closing 1 connection of a\n"
    )
    assert one.end() == b""
    assert other.ask("Ann") == "hello Ann 3"
    assert done(folder, "disconnect", "a") == "closing 1 connection of a\n"
    assert other.end() == b""
    assert third.ask("Ann") == "hello Ann 2"


def test_commands_for_what_is_not_there_are_refused_with_advice(
    run: Run, folder: Path, port: int
) -> None:
    text = ADMIN.format(port=port) + A
    (folder / "wasp.toml").write_text(text)
    assert f"no answer from http://127.0.0.1:{port}/" in command(folder, "status").stderr
    run(text).serves(2)
    result = command(folder, "suspend", "b")
    assert result.returncode == 1
    assert "there is no endpoint 'b': there are a" in result.stderr
    (folder / "wasp.toml").write_text(A)
    result = command(folder, "reload")
    assert result.returncode == 2
    assert "has no [admin]" in result.stderr


def test_a_reload_by_command_prints_its_outcome(run: Run, folder: Path, port: int) -> None:
    text = ADMIN.format(port=port) + A
    run(text).serves(2)
    (folder / "wasp.toml").write_text(text + "colour = 1\n")
    result = command(folder, "reload")
    assert result.returncode == 1
    assert "endpoints.a.colour: unknown key" in result.stderr
    assert "the latest reload failed" in done(folder, "status")
    metrics = get(port, "/metrics")[1]
    assert "vespiary_last_reload_successful 0.0" in metrics
    (folder / "wasp.toml").write_text(text + B)
    assert done(folder, "reload") == "Reloaded: started b; unchanged a\n"


def test_a_token_is_needed_beside_health_checks(run: Run, folder: Path, port: int) -> None:
    (folder / "token").write_text("correct horse battery\n")
    text = ADMIN.format(port=port) + 'token = "${file:token}"\n' + A
    run(text).serves(2)
    assert get(port, "/healthz")[0] == 200
    assert get(port, "/status")[0] == 401
    assert get(port, "/metrics", Authorization="Bearer wrong")[0] == 401
    assert get(port, "/status", Authorization="Bearer correct horse battery")[0] == 200
    assert "a: serving" in done(folder, "status")


def test_pages_of_browsers_may_not_use_it(run: Run, port: int) -> None:
    run(ADMIN.format(port=port) + A).serves(2)
    assert get(port, "/status", Origin="https://example.com")[0] == 403
    assert get(port, "/status", Host=f"example.com:{port}")[0] == 403
    assert get(port, "/status", Host=f"localhost:{port}")[0] == 200


def test_a_unix_socket_is_for_its_owner(run: Run, folder: Path) -> None:
    path = folder / "admin.sock"
    run(f'[admin]\nurl = "http+unix://{path}:/"\n' + A).serves(2)
    assert path.stat().st_mode & 0o777 == 0o600
    assert "a: serving" in done(folder, "status")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('url = "http://0.0.0.0:9180/"', "admin.token: is missing: 0.0.0.0 is not a loopback"),
        ('url = "http://127.0.0.1:9180/"\ntoken = "short"', "admin.token: is too short"),
        (
            'url = "ws://127.0.0.1:9180/"',
            "admin.url: expected a URL with http://, https:// or http+unix",
        ),
        ('url = "http://127.0.0.1:9180/x"', "admin.url: expected a URL without a path"),
        ('url = "http://127.0.0.1:9180/"\nmode = "600"', "admin.mode: is for http+unix:// only"),
    ],
)
def test_an_administration_that_would_be_open_is_refused(
    folder: Path, table: str, words: str
) -> None:
    (folder / "wasp.toml").write_text(f"[admin]\n{table}\n{A}")
    with pytest.raises(FileError) as got:
        check(folder / "wasp.toml")
    assert words in str(got.value)


def test_with_workers_any_of_them_answers_with_the_totals_of_all(
    run: Run, lines: Connect, folder: Path, port: int
) -> None:
    server = run("workers = 2\n" + ADMIN.format(port=port) + A)
    url = server.serves(2)[0]
    clients = [lines(url) for _ in range(6)]
    for client in clients:
        assert client.ask("Ann").startswith("hello Ann")

    def opened() -> bool:
        status = json.loads(get(port, "/status")[1])
        return bool(status["endpoints"]["a"]["connections_open"] == 6)

    wait_until(opened)
    assert len(json.loads(get(port, "/status")[1])["workers"]) == 2
    _reload_with_workers(server, folder, port)


def _reload_with_workers(server: Running, folder: Path, port: int) -> None:
    assert "new workers start" in done(folder, "reload")
    server.wait_for("Reloaded: generation 2 serves")
    assert get(port, "/healthz")[0] == 200
    assert server.stop() == 0
