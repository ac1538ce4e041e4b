"""The host `process`: plug-ins in processes of their own, which fail in every way."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.waiting import wait_until
from tests.wasp.conftest import Lines, Run, Running, address_of
from vespiary.wasp import FileError, check

FAULTY = """
import os, signal, sys, vespiary

class Faulty(vespiary.Handler):
    def __init__(self, config: dict = {}):
        self.config = config

    async def on_start(self, server):
        print("starting", self.config.get("name", ""))
        if "exit" in self.config:
            os._exit(self.config["exit"])
        if self.config:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def on_message(self, connection, message):
        answer = getattr(self, "do_" + message.decode())()
        connection.send(str(answer or "done").encode())

    def do_pid(self): return os.getpid()
    def do_version(self): return 1
    def do_write(self): os.write(1, b"to standard output\\n")
    def do_raise(self): raise RuntimeError("this is a fault of the plug-in")
    def do_hang(self):
        while True: pass
    def do_leak(self):
        kept = []
        while True: kept.append(bytearray(b"x" * (4 << 20)))
    def do_exit(self): sys.exit(3)
    def do_leave(self): os._exit(4)
    def do_kill(self): os.kill(os.getpid(), signal.SIGKILL)
    def do_close(self): os.closerange(0, 4096)
    def do_fork(self):
        forked = os.fork()
        if forked == 0:
            os.setsid()
            signal.pause()
        print("forked", forked, flush=True)
        os._exit(5)

class Page(vespiary.Handler):
    def on_request(self, request):
        return request.respond(200, f"process {os.getpid()}")

class Datagrams(vespiary.Handler):
    def on_datagram(self, datagram):
        datagram.reply(str(os.getpid()).encode())

class Echo(vespiary.Handler):
    def on_message(self, connection, message):
        connection.send(message)

async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""

TEXT = """\
[admin]
url = "http://127.0.0.1:0/"

[endpoints.other]
url = "tcp://127.0.0.1:0"
plugin = "faulty.py:Faulty"
framing = "line"

[endpoints.faulty]
url = "tcp://127.0.0.1:0"
plugin = "faulty.py:Faulty"
host = "process"
framing = "line"
process = { hang_seconds = 20, memory_bytes_max = "300MiB", restart_seconds_max = 0.05 }
config = { name = "first" }
deadlines.close_seconds = 0.5
"""
ENDS = {
    "exit": "ended with status 3",
    "leave": "ended with status 4",
    "kill": "was killed by SIGKILL",
    "fork": "ended with status 5",
    "leak": "It had reached memory_bytes_max, 314572800 bytes",
    "close": "it has closed the descriptors of its server",
}

Connect = Callable[[str], Lines]


@pytest.fixture(autouse=True)
def _plugin(folder: Path) -> None:
    (folder / "faulty.py").write_text(FAULTY)


def started(run: Run, text: str = TEXT) -> tuple[Running, str, str, str]:
    """A server with the URLs of its administration, of the process and of the other endpoint."""
    server = run(text)
    urls = server.serves(3)
    admin = next(url for url in urls if url.startswith("http"))
    other, faulty = (url for url in urls if url.startswith("tcp"))
    return server, admin, faulty, other


def status(admin: str) -> Any:
    with urllib.request.urlopen(f"{admin}status", timeout=60) as answer:
        return json.load(answer)["endpoints"]


def post(admin: str, path: str) -> Any:
    request = urllib.request.Request(f"{admin}{path}", method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["done"]
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read().decode()) from error


def fresh(lines: Connect, url: str) -> Lines:
    """A connection that is served: one that the old process has accepted is closed."""
    made: list[Lines] = []

    def is_served() -> bool:
        try:
            made.append(lines(url))
            return made[-1].ask("version") == "1"
        except OSError:
            return False

    wait_until(is_served)
    return made[-1]


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_every_fault_is_contained_reported_and_recovered_from(run: Run, lines: Connect) -> None:
    server, admin, url, other_url = started(run)
    other = lines(other_url)
    server_process = other.ask("pid")
    before = lines(url).ask("pid")
    assert before != server_process
    for number, (fault, report) in enumerate(ENDS.items(), start=2):
        client = fresh(lines, url)
        process = client.ask("pid")
        with contextlib.suppress(ConnectionResetError):
            assert client.ask(fault) == ""
        server.wait_for(report)
        assert other.ask("pid") == server_process
        again = fresh(lines, url).ask("pid")
        assert again != process
        assert status(admin)["faulty"]["plugin_process"]["processes_started"] == number
    assert "The last lines that it has written:\n" in server.log
    assert "\n  starting first" in server.log
    forked = int(server.log.partition("forked ")[2].split()[0])
    assert not is_alive(forked)
    found = status(admin)["faulty"]
    assert found["connections_accepted"] >= len(ENDS)
    assert found["plugin_process"]["last_end"] is not None
    other.close()
    assert server.stop() == 0


def test_a_process_that_hangs_is_killed_with_its_stacks_in_the_log(
    run: Run, lines: Connect
) -> None:
    text = TEXT.replace("hang_seconds = 20", "hang_seconds = 2")
    server, _, url, other = started(run, text)
    client = lines(url)
    assert client.ask("hang") == ""
    server.wait_for("its event loop was blocked for")
    assert "in do_hang" in server.log
    assert fresh(lines, url).ask("pid") != lines(other).ask("pid")


def test_an_exception_and_output_stay_in_the_process(run: Run, lines: Connect) -> None:
    server, admin, url, _ = started(run)
    client = lines(url)
    process = client.ask("pid")
    assert client.ask("write") == "done"
    server.wait_for("to standard output")
    with pytest.raises(ConnectionResetError):
        client.ask("raise")
    server.wait_for("this is a fault of the plug-in")
    assert lines(url).ask("pid") == process
    assert status(admin)["faulty"]["handler_errors"] == 1


def test_a_start_that_fails_stops_the_start_of_the_server(run: Run) -> None:
    server = run(TEXT.replace('name = "first"', 'name = "first", exit = 7'))
    assert server.end() == 1
    assert "ended with status 7 before it served; it has written:\n  " in server.log
    assert "\n  starting first" in server.log
    assert "raised by on_start of endpoints.faulty" in server.log


def test_a_reload_replaces_the_process_and_one_that_fails_changes_nothing(
    run: Run, lines: Connect, folder: Path
) -> None:
    server, _, url, _ = started(run)
    held = lines(url)
    process = held.ask("pid")
    file = folder / "wasp.toml"
    file.write_text(file.read_text().replace('name = "first"', 'name = "first", exit = 7'))
    server.reload()
    server.wait_for("ended with status 7 before it served")
    assert held.ask("pid") == process
    file.write_text(TEXT.replace("first", "second"))
    server.reload(2)
    server.wait_for("starting second")
    with contextlib.suppress(OSError):
        assert held.ask("pid") in (process, "")

    def answer() -> str:
        # The old process accepts until its end has begun, and then ends these connections.
        try:
            return fresh(lines, url).ask("pid")
        except OSError:
            return ""

    wait_until(lambda: answer() not in (process, ""))
    wait_until(lambda: not is_alive(int(process)), lambda: server.log)


def test_the_commands_of_operators_reach_the_process(run: Run, lines: Connect) -> None:
    server, admin, url, _ = started(run)
    client = lines(url)
    process = client.ask("pid")
    post(admin, "endpoints/faulty/suspend")
    assert status(admin)["faulty"]["state"] == "suspended"
    waiting = lines(url)
    waiting.socket.sendall(b"pid\n")
    assert client.ask("pid") == process
    assert status(admin)["faulty"]["connections_accepted"] == 1
    post(admin, "endpoints/faulty/resume")
    assert waiting.ask("version") == process
    peer = "{}:{}".format(*client.socket.getsockname())
    done = post(admin, f"endpoints/faulty/disconnect?peer={peer}")
    assert done == "closing 1 connection of faulty"
    assert client.end() == b""
    post(admin, "endpoints/faulty/drain")
    assert status(admin)["faulty"]["state"] == "drained"
    wait_until(lambda: not is_alive(int(process)), lambda: server.log)
    post(admin, "endpoints/faulty/resume")
    assert fresh(lines, status(admin)["faulty"]["urls"][0]).ask("pid") != process
    with urllib.request.urlopen(f"{admin}metrics", timeout=60) as answer:
        metrics = answer.read().decode()
    assert 'vespiary_plugin_processes_started_total{endpoint="faulty"} 1.0' in metrics
    assert 'vespiary_plugin_process_serving{endpoint="faulty"} 1.0' in metrics
    assert server.stop() == 0


def get(admin: str, path: str) -> Any:
    with urllib.request.urlopen(f"{admin}{path}", timeout=60) as answer:
        return json.load(answer)


def test_connections_of_the_process_are_listed_inspected_and_closed(
    run: Run, lines: Connect
) -> None:
    server, admin, url, other = started(run)
    theirs, own = [lines(url) for _ in range(3)], [lines(other) for _ in range(2)]
    for client in theirs + own:
        assert client.ask("version") == "1"
    page = get(admin, "connections")
    assert page["count"] == 5
    assert sorted(row["endpoint"] for row in page["rows"]) == ["faulty"] * 3 + ["other"] * 2
    assert get(admin, "connections?endpoint=faulty")["count"] == 3
    assert get(admin, "connections?endpoint=other")["count"] == 2
    # Pages follow each other over both processes, sorted or not.
    for order in ("", "&order=messages_received"):
        found = [get(admin, f"connections?offset={n}&limit=1{order}")["rows"] for n in range(6)]
        assert len({row["id"] for rows in found for row in rows}) == 5
        assert found[5] == []
    peer = "{}:{}".format(*theirs[0].socket.getsockname())
    row = get(admin, f"connections?peer={peer}")["rows"][0]
    facts = get(admin, f"connections/{row['id']}")
    assert (facts["id"], facts["peer"], facts["endpoint"]) == (row["id"], peer, "faulty")
    assert facts["url"] == url
    assert facts["messages_received"] == 1
    for page_of, shown in (("connections", row["id"]), (f"connections/{row['id']}", peer)):
        with urllib.request.urlopen(f"{admin}dashboard/{page_of}", timeout=60) as answer:
            assert shown in answer.read().decode()
    assert post(admin, f"connections/{row['id']}/disconnect") == f"closing {row['id']}"
    assert theirs[0].end() == b""
    wait_until(lambda: get(admin, "connections?endpoint=faulty")["count"] == 2)
    with pytest.raises(AssertionError, match=r"there is no connection .*: it has ended"):
        post(admin, f"connections/{row['id']}/disconnect")
    left = get(admin, "connections?endpoint=faulty")["rows"][0]["id"]
    with pytest.raises(AssertionError, match=r"cannot be tapped"):
        post(admin, f"connections/{left}/tap")
    assert server.stop() == 0


def test_a_long_list_of_the_process_comes_whole(run: Run, lines: Connect) -> None:
    _, admin, url, _ = started(run)
    clients = [lines(url) for _ in range(300)]
    for client in clients:
        assert client.ask("version") == "1"
    page = get(admin, "connections?endpoint=faulty&limit=500&order=open_seconds")
    assert page["count"] == len(page["rows"]) == 300
    page = get(admin, "connections?endpoint=faulty&limit=100&offset=250")
    assert len(page["rows"]) == 50


def test_a_process_that_is_away_has_no_connections_in_the_list(run: Run, lines: Connect) -> None:
    server, admin, url, other = started(run)
    process = int(lines(url).ask("pid"))
    kept = lines(other)
    assert kept.ask("version") == "1"
    os.kill(process, signal.SIGSTOP)
    try:
        # It hangs: the others are listed, and asking for its own says so.
        assert get(admin, "connections")["count"] == 1
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(admin, "connections?endpoint=faulty")
        assert b"has not answered" in refused.value.read()
    finally:
        os.kill(process, signal.SIGCONT)
    wait_until(lambda: get(admin, "connections")["count"] == 2, lambda: server.log)


def test_a_suspended_endpoint_stays_suspended_when_its_process_starts_again(
    run: Run, lines: Connect
) -> None:
    server, admin, url, _ = started(run)
    process = lines(url).ask("pid")
    post(admin, "endpoints/faulty/suspend")
    os.kill(int(process), signal.SIGKILL)
    server.wait_for("is back, as process")
    waiting = lines(url)
    waiting.socket.sendall(b"version\n")
    assert status(admin)["faulty"]["connections_open"] == 0
    post(admin, "endpoints/faulty/resume")
    assert waiting.ask("pid") == "1"


def test_a_keeper_that_is_killed_is_replaced_and_nothing_outlives_the_server(
    run: Run, lines: Connect
) -> None:
    server, _, url, _ = started(run)
    process = int(lines(url).ask("pid"))
    keeper = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(keeper, signal.SIGKILL)
    server.wait_for("The keeper of the process of endpoints.faulty ended")
    again = int(fresh(lines, url).ask("pid"))
    assert again != process
    assert not is_alive(process)
    server.process.kill()
    server.end()
    wait_until(lambda: not is_alive(again))


def test_every_kind_of_endpoint_can_have_a_process(run: Run) -> None:
    kinds = {"page": "http", "app": "http", "echo": "ws", "datagrams": "udp"}
    objects = {"page": "Page", "app": "app", "echo": "Echo", "datagrams": "Datagrams"}
    text = "\n".join(
        f'[endpoints.{name}]\nurl = "{scheme}://127.0.0.1:0"\nhost = "process"\n'
        f'plugin = "faulty.py:{objects[name]}"'
        for name, scheme in kinds.items()
    )
    server = run(text)
    page, app, echo, datagrams = server.serves(4)
    processes = set()
    for url in (page, app):
        with urllib.request.urlopen(url, timeout=60) as answer:
            processes.add(answer.read().decode().removeprefix("process "))
    with connect(echo) as client:
        client.send("hello")
        assert client.recv() == "hello"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(60)
        sender.sendto(b"hello", address_of(datagrams))
        processes.add(sender.recv(100).decode())
    assert len(processes) == 3
    assert str(server.process.pid) not in processes
    assert server.stop() == 0


def test_each_worker_has_a_process_of_its_own(run: Run, lines: Connect) -> None:
    server = run("workers = 2\n" + TEXT)
    server.wait_for("Serving http")
    url = server.urls[1]
    processes = {fresh(lines, url).ask("pid")}
    wait_until(lambda: len(processes | {fresh(lines, url).ask("pid")}) == 2)
    admin = next(url for url in server.urls if url.startswith("http"))
    assert status(admin)["faulty"]["connections_accepted"] >= 2
    # Each connection is found by its id, whichever worker answers.
    clients = [fresh(lines, url) for _ in range(8)]
    assert len({client.ask("pid") for client in clients}) == 2
    for client in clients:
        peer = "{}:{}".format(*client.socket.getsockname())
        row = get(admin, f"connections?peer={peer}")["rows"][0]
        assert get(admin, f"connections/{row['id']}")["peer"] == peer
        post(admin, f"connections/{row['id']}/disconnect")
        assert client.end() == b""
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            'host = "process"\n',
            "",
            ":13: endpoints.faulty.process: is for the hosts process and clr",
        ),
        ("hang_seconds = 20", "hang_second = 20", "did you mean 'hang_seconds'?"),
        ('"300MiB"', '"much"', "expected a size such as 1000"),
        ("faulty.py:Faulty", "faulty.py:Faulti", "did you mean Faulty?"),
    ],
)
def test_mistakes_are_found_before_the_start(folder: Path, old: str, new: str, words: str) -> None:
    path = folder / "wasp.toml"
    path.write_text(TEXT.replace(old, new))
    with pytest.raises(FileError) as got:
        check(path)
    assert words in str(got.value)


def test_another_endpoint_cannot_share_the_address(folder: Path) -> None:
    path = folder / "wasp.toml"
    one = '[endpoints.{0}]\nurl = "http://127.0.0.1:8099/{0}"\nplugin = "faulty.py:Page"\n'
    path.write_text(one.format("a") + one.format("b") + 'host = "process"\n')
    done = subprocess.run(
        [sys.executable, "-m", "vespiary", "run", str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "is served by a separate process: give it another port" in done.stderr
