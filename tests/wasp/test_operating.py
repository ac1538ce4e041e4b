"""The operator's commands for one process: connections, limits, the log's level, taps, audit."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_until
from tests.wasp.conftest import Lines, Run, Running
from tests.wasp.operating import ask, done, is_ended, is_refused, vespiary

Connect = Callable[[str], Lines]

TEXT = """\
[admin]
url = "http://127.0.0.1:{port}/"
audit_file = "audit.jsonl"

[endpoints.a]
url = "tcp://127.0.0.1:0"
plugin = "plug.py:Greeter"
framing = "line"
deadlines.close_seconds = "200ms"

[endpoints.b]
url = "tcp://127.0.0.1:0"
plugin = "plug.py:Greeter"
framing = "line"
"""


@pytest.fixture
def server(run: Run, port: int) -> Running:
    """A server with two endpoints."""
    started = run(TEXT.format(port=port))
    started.serves(4)
    return started


def audited(folder: Path) -> list[dict[str, Any]]:
    """The entries of the audit log."""
    lines = (folder / "audit.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def listed(folder: Path, *words: str) -> dict[str, Any]:
    """A list of connections."""
    found: dict[str, Any] = json.loads(done(folder, "connections", "--json", *words))
    return found


def test_connections_are_listed_by_filter_and_page(
    server: Running, lines: Connect, folder: Path
) -> None:
    ours = [lines(server.urls[0]) for _ in range(3)]
    other = lines(server.urls[1])
    for number, client in enumerate([*ours, other]):
        client.ask("x" * (10 * number))
    assert listed(folder)["count"] == 4
    assert listed(folder, "--endpoint", "b")["count"] == 1
    host, number = ours[1].socket.getsockname()
    one = listed(folder, "--peer", f"{host}:{number}")
    assert [row["peer"] for row in one["rows"]] == [f"{host}:{number}"]
    assert listed(folder, "--peer", "127.0.0.0/8")["count"] == 4
    assert listed(folder, "--peer", "10.0.0.0/8")["count"] == 0
    first, second = (listed(folder, "--limit", "3", "--offset", text) for text in ("0", "3"))
    ids = [row["id"] for page in (first, second) for row in page["rows"]]
    assert len(set(ids)) == 4
    largest = listed(folder, "--order", "bytes_received", "--limit", "2")["rows"]
    assert [row["endpoint"] for row in largest] == ["b", "a"]
    assert [row["bytes_received"] for row in largest] == [31, 21]
    assert "4 connections, 4 shown" in done(folder, "connections")
    refused = vespiary(folder, "connections", "--peer", "10.0.0.0/40")
    assert refused.exit_code == 1
    assert "does not appear to be an IPv4 or IPv6 network" in refused.output


def test_a_connection_is_inspected_and_disconnected_by_its_id(
    server: Running, lines: Connect, folder: Path
) -> None:
    one, other = lines(server.urls[0]), lines(server.urls[0])
    one.ask("Ann")
    other.ask("Ben")
    host, number = one.socket.getsockname()
    identity = listed(folder, "--peer", f"{host}:{number}")["rows"][0]["id"]
    facts = json.loads(done(folder, "inspect", identity))
    assert facts["endpoint"] == "a"
    assert facts["url"] == server.urls[0]
    assert facts["bytes_received"] == 4
    assert done(folder, "disconnect", identity) == f"closing {identity}\n"
    assert one.end() == b""
    assert other.ask("Cem") == "hello Cem 3"
    one.close()
    wait_until(lambda: listed(folder)["count"] == 1)
    gone = vespiary(folder, "inspect", identity)
    assert gone.exit_code == 1
    assert f"there is no connection {identity}: it has ended" in gone.output


def test_a_limit_is_checked_and_lasts_until_the_next_reload(
    server: Running, lines: Connect, folder: Path
) -> None:
    first = lines(server.urls[0])
    first.ask("Ann")
    text = done(folder, "limit", "a", "connections_max", "1")
    assert text == "a: connections_max is 1 until the next reload\n"
    assert "connections_max = 1, until the next reload" in done(folder, "endpoints")
    assert "connections_max = 1\n" in done(folder, "endpoints", "--limits", "a")
    assert is_refused(server.urls[0])
    assert lines(server.urls[1]).ask("Ben") == "hello Ben 1"
    done(folder, "limit", "a", "message_bytes_max", "8")
    first.socket.sendall(b"more than eight bytes\n")
    assert is_ended(first)
    first.close()
    wait_until(lambda: listed(folder, "--endpoint", "a")["count"] == 0)
    done(folder, "reload")
    assert "until the next reload" not in done(folder, "endpoints")
    again = [lines(server.urls[0]) for _ in range(2)]
    assert [one.ask("more than eight bytes")[:6] for one in again] == ["hello ", "hello "]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("connection_max", "1", "did you mean 'connections_max'?"),
        ("connections_max", "few", "must be a number such as 1000, 64KiB or 2MiB"),
        ("connections_max", "0", "must be a whole number"),
        ("write_high_bytes", "1", "Limits need write_low_bytes <= write_high_bytes"),
        ("idle_seconds", "soon", "must be a time such as 10, 250ms"),
        ("inbox_messages_max", "9", "change the configuration, and reload"),
    ],
)
def test_a_limit_that_is_not_valid_changes_nothing(
    server: Running, folder: Path, name: str, value: str, words: str
) -> None:
    before = done(folder, "endpoints", "--limits", "a")
    result = vespiary(folder, "limit", "a", name, value)
    assert result.exit_code == 1
    assert words in result.output
    assert done(folder, "endpoints", "--limits", "a") == before
    assert audited(folder)[-1]["result"].startswith("refused: ")


def test_a_deadline_that_is_set_applies_to_new_connections(
    server: Running, lines: Connect, folder: Path
) -> None:
    done(folder, "limit", "a", "idle_seconds", "50ms")
    assert is_ended(lines(server.urls[0]))
    status = json.loads(done(folder, "status", "wasp.toml", "--json"))
    assert status["endpoints"]["a"]["limits_reached"] == {"idle_seconds": 1}


def test_a_suspension_ends_with_a_reload(server: Running, lines: Connect, folder: Path) -> None:
    done(folder, "suspend", "a")
    waiting = lines(server.urls[0])
    waiting.socket.sendall(b"Ann\n")
    assert "a: suspended" in done(folder, "status")
    done(folder, "reload")
    assert waiting.ask("Ben") == "hello Ann 1"
    assert "a: serving" in done(folder, "status")


def test_the_level_of_the_log_is_set_until_the_next_reload(server: Running, folder: Path) -> None:
    assert "the level of the log is error" in done(folder, "log-level", "error")
    done(folder, "log-level", "debug", "--logger", "vespiary.wasp")
    count = server.log.count("Reloaded:")
    done(folder, "reload")
    server.wait_for("Reloaded:", count + 1)


def test_a_tap_shows_what_passes_in_both_directions(
    server: Running, lines: Connect, folder: Path
) -> None:
    client = lines(server.urls[0])
    client.ask("Ann")
    identity = listed(folder)["rows"][0]["id"]
    # The tap ends after four records: two messages and two answers.
    items = tapped(folder, identity, client)
    assert [(one["direction"], one["bytes"]) for one in items[:4]] == [
        ("received", 4),
        ("sent", 12),
        ("received", 3),
        ("sent", 11),
    ]
    assert items[0]["text"] == "Ben\n"
    assert items[1]["text"] == "hello Ben 2\n"
    assert items[2]["hex"] == "01 02 0a"
    assert items[-1]["end"] == "4 records were shown"
    assert client.ask("Dee") == "hello Dee 4"
    assert audited(folder)[-1]["what"] == "tap"


def tapped(folder: Path, identity: str, client: Lines) -> list[dict[str, Any]]:
    """The items of a tap, on a connection that sends two messages when it has begun."""

    def send() -> None:
        wait_until(lambda: (folder / "audit.jsonl").exists() and audited(folder))
        client.ask("Ben")
        client.ask("\x01\x02")

    sending = threading.Thread(target=send)
    sending.start()
    output = done(folder, "tap", identity, "--records", "4", "--json")
    sending.join()
    return [json.loads(line) for line in output.splitlines()]


def test_each_change_is_in_the_audit_log(server: Running, folder: Path, port: int) -> None:
    done(folder, "suspend", "a")
    done(folder, "resume", "a")
    assert vespiary(folder, "drain", "c").exit_code == 1
    done(folder, "reload")
    entries = audited(folder)
    assert [entry["what"] for entry in entries] == ["suspend", "resume", "drain", "reload"]
    assert {entry["role"] for entry in entries} == {"admin"}
    assert entries[0]["who"] == "local user from 127.0.0.1"
    assert entries[0]["arguments"] == {"endpoint": "a"}
    assert entries[0]["result"] == "ok: a: suspend"
    assert entries[2]["result"] == "refused: there is no endpoint 'c': there are a, b"
    assert ask(port, "GET", "/audit").json["entries"] == entries
    assert (folder / "audit.jsonl").stat().st_mode & 0o777 == 0o600
