"""The operator's commands with workers: each reaches all of them, and those that start later."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.addresses import free_port
from tests.waiting import wait_until
from tests.wasp.conftest import Lines, Run, Running, address_of
from tests.wasp.operating import done, is_ended, vespiary
from vespiary.wasp.worker_calls import Colleague, WorkerCalls, WorkerSilent

Connect = Callable[[str], Lines]

TEXT = """\
workers = {{ count = 2, restart_seconds_max = "100ms" }}

[admin]
url = "http://127.0.0.1:{port}/"
audit_file = "audit.jsonl"

[endpoints.a]
url = "tcp://127.0.0.1:{a}"
plugin = "plug.py:Greeter"
framing = "line"
deadlines = {{ close_seconds = "200ms", drain_seconds = "2s" }}
"""


@pytest.fixture
def server(run: Run) -> Running:
    """A server with two workers."""
    started = run(TEXT.format(port=free_port(), a=free_port()))
    started.serves(3)
    return started


def status(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done(folder, "status", "wasp.toml", "--json"))
    return found


def both(folder: Path, url: str, lines: Connect) -> list[Lines]:
    """Connections of both workers."""
    made: list[Lines] = []

    def has_both() -> bool:
        made.append(lines(url))
        made[-1].ask("Ann")
        return all(one["connections_open"] for one in status(folder)["workers"])

    wait_until(has_both)
    return made


def test_a_list_has_the_connections_of_all_workers(
    server: Running, lines: Connect, folder: Path
) -> None:
    clients = both(folder, server.urls[0], lines)
    found = json.loads(done(folder, "connections", "--json"))
    assert found["count"] == len(clients)
    rows = found["rows"]
    assert {row["worker"] for row in rows} == {1, 2}
    assert len({row["id"] for row in rows}) == len(clients)
    for order in ([], ["--order", "bytes_received"]):
        pages = [
            json.loads(
                done(folder, "connections", "--json", "--limit", "2", "--offset", str(n), *order)
            )
            for n in range(0, len(clients), 2)
        ]
        ids = [row["id"] for page in pages for row in page["rows"]]
        assert sorted(ids) == sorted(row["id"] for row in rows)
    of_second = json.loads(done(folder, "connections", "--json", "--worker", "2"))
    assert {row["worker"] for row in of_second["rows"]} == {2}
    for number in (1, 2):
        one = next(row for row in rows if row["worker"] == number)
        assert json.loads(done(folder, "inspect", one["id"]))["peer"] == one["peer"]
        output = done(folder, "tap", one["id"], "--seconds", "0.01")
        assert output == "The tap has ended: 0.01 seconds are over\n"
    assert done(folder, "disconnect", "a") == f"closing {len(clients)} connections of a\n"
    assert all(map(is_ended, clients))


def test_a_worker_that_starts_later_is_suspended_and_limited_too(
    server: Running, lines: Connect, folder: Path
) -> None:
    done(folder, "suspend", "a")
    assert (
        done(folder, "limit", "a", "message_bytes_max", "8")
        == "a: message_bytes_max is 8 until the next reload\n"
    )
    processes = [one["process"] for one in status(folder)["workers"]]
    for process in processes:
        os.kill(process, signal.SIGKILL)

    def are_replaced() -> bool:
        result = vespiary(folder, "status", "wasp.toml", "--json")
        now = json.loads(result.output)["workers"] if result.exit_code == 0 else []
        new = [one["process"] for one in now if one["process"]]
        return len(new) == 2 and not set(new) & set(processes)

    wait_until(are_replaced, lambda: server.log)
    assert "a: suspended" in done(folder, "status")
    waiting = lines(server.urls[0])
    waiting.socket.sendall(b"Ann\n")
    assert status(folder)["endpoints"]["a"]["connections_open"] == 0
    done(folder, "resume", "a")
    assert waiting.ask("Ben").startswith("hello Ann")
    waiting.socket.sendall(b"more than eight bytes\n" * 2)
    assert is_ended(waiting)


def test_a_drain_ends_the_connections_of_all_workers_and_a_resume_accepts_again(
    server: Running, lines: Connect, folder: Path
) -> None:
    clients = both(folder, server.urls[0], lines)
    assert done(folder, "drain", "a") == "a: drain\n"
    assert all(map(is_ended, clients))
    for client in clients:
        client.close()
    assert "a: drained" in done(folder, "status")
    assert "is drained: resume starts it again" in vespiary(folder, "suspend", "a").output
    waiting = lines(server.urls[0])
    waiting.socket.sendall(b"Ann\n")
    assert done(folder, "resume", "a") == "a: resume\n"
    assert waiting.ask("Ben").startswith("hello Ann")


def test_a_reload_ends_what_operators_have_changed(
    server: Running, lines: Connect, folder: Path
) -> None:
    done(folder, "suspend", "a")
    done(folder, "limit", "a", "connections_max", "1")
    done(folder, "reload")
    server.wait_for("the one before it drains")
    assert lines(server.urls[0]).ask("Ann").startswith("hello Ann")
    assert lines(server.urls[0]).ask("Ben").startswith("hello Ben")
    assert address_of(server.urls[0])[0] == "127.0.0.1"
    entries = [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]
    assert [entry["what"] for entry in entries] == ["suspend", "set limit", "reload"]


def test_the_display_of_top_has_a_row_for_each_worker(server: Running, folder: Path) -> None:
    output = done(folder, "top", "--count", "2", "--interval", "0.1")
    assert output.count("Endpoints") == 2
    for worker in status(folder)["workers"]:
        assert str(worker["process"]) in output
    assert "sockets in TIME_WAIT" in output


def test_a_worker_that_does_not_answer_is_named() -> None:
    calls, other = WorkerCalls(), Colleague(2, os.getpid())

    async def main() -> list[str]:
        texts = []
        for is_listening in (False, True):
            with socket.socket(socket.AF_UNIX) as silent:
                if is_listening:
                    silent.bind(calls._path(other.process))
                    silent.listen()
                with pytest.raises(WorkerSilent) as got:
                    await calls.ask(other, "measures", {}, 0.05)
                texts.append(str(got.value))
        return texts

    unreachable, silent = asyncio.run(main())
    name = f"worker 2 (process {os.getpid()})"
    assert unreachable == f"{name} cannot be reached: Connection refused"
    assert silent == f"{name} did not answer within 0.05 s"
