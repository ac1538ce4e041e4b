"""What a run sends, to whom, and when: handshakes, messages of one's own, rates, scripts."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from websockets.sync.server import Server, ServerConnection, serve

from tests.addresses import free_port
from vespiary.prove.load import Plan, run
from vespiary.prove.load.openmetrics import Exporter
from vespiary.prove.metrics import served

if TYPE_CHECKING:
    from pathlib import Path

    from tests.load.conftest import Load, Serve

pytestmark = pytest.mark.acceptance

Start = Callable[..., str]


@pytest.fixture
def websocket() -> Iterator[Start]:
    """Start a server of the `websockets` library."""
    with contextlib.ExitStack() as stack:

        def start(handler: Callable[[ServerConnection], None], **options: Any) -> str:
            server: Server = stack.enter_context(serve(handler, "127.0.0.1", 0, **options))
            stack.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            return f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"

        yield start


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


def echo_bytes(connection: socket.socket) -> None:
    while received := connection.recv(65536):
        connection.sendall(received)


def test_the_handshake_has_headers_cookies_and_credentials(websocket: Start, load: Load) -> None:
    seen: list[dict[str, str]] = []

    def note(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.append(dict(connection.request.headers.raw_items()))
        echo(connection)

    url = websocket(note, compression=None).replace("ws://", "ws://me:p%40ss@")
    done = load(
        url, "--messages", 1, "-H", "X-Test: a: b", "--cookie", "one=1", "--cookie", "two=2"
    )
    assert done.status == 0, done.output + done.errors
    (headers,) = seen
    assert headers["X-Test"] == "a: b"
    assert headers["Cookie"] == "one=1; two=2"
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == b"me:p@ss"
    assert "p%40ss" not in done.output
    assert done.report["plan"]["headers"] == ["X-Test", "Cookie"]


def test_a_subprotocol_is_agreed_on_or_the_run_fails(websocket: Start, load: Load) -> None:
    url = websocket(echo, compression=None, subprotocols=["chat.2"])
    offered = ["--subprotocol", "chat.3", "--subprotocol", "chat.2"]
    assert load(url, "--messages", 1, *offered).status == 0
    plain = websocket(echo, compression=None)
    done = load(plain, "--messages", 1, *offered)
    assert (done.status, done.report["refused"]) == (1, 1)
    assert "none of the subprotocols" in done.problem["text"]


@pytest.mark.parametrize("options", [[], ["--fragment"], ["--text", "--pipeline", 8]], ids=str)
def test_messages_pass_compressed(websocket: Start, load: Load, options: list[object]) -> None:
    agreed: list[int] = []

    def note(connection: ServerConnection) -> None:
        agreed.append(len(connection.protocol.extensions))
        echo(connection)

    url = websocket(note, compression="deflate", max_size=None)
    done = load(url, "--compress", "--messages", 20, "--connections", 3, "--size", 2000, *options)
    assert done.status == 0, done.output + done.errors
    assert agreed == [1, 1, 1]
    assert done.report["received"] == 60


def test_compressed_messages_are_smaller_and_alterations_are_found(
    websocket: Start, load: Load, tmp_path: Path
) -> None:
    def alter(connection: ServerConnection) -> None:
        for number, message in enumerate(connection):
            assert isinstance(message, bytes)
            connection.send(message[:-1] + b"?" if number == 4 else message)

    data = tmp_path / "lines"
    data.write_bytes(b"\n".join(bytes([65 + number]) * 1000 for number in range(10)))
    url = websocket(alter, compression="deflate")
    done = load(url, "--compress", "--messages", 10, "--data", data)
    assert done.status == 1
    assert (done.report["altered"], done.problem["offset"]) == (1, 999)
    assert done.report["bytes_sent"] < 5000


def test_a_server_without_compression_is_refused_where_it_is_asked_for(
    websocket: Start, load: Load
) -> None:
    done = load(websocket(echo, compression=None), "--compress", "--messages", 1)
    assert (done.status, done.report["refused"]) == (1, 1)
    assert "permessage-deflate" in done.problem["text"]


@pytest.mark.parametrize("framing", ["raw", "line", "length"])
def test_the_lines_of_a_file_are_sent_in_turn(
    serve: Serve, load: Load, tmp_path: Path, framing: str
) -> None:
    received: list[bytes] = []

    def note(connection: socket.socket) -> None:
        while piece := connection.recv(65536):
            received.append(piece)
            connection.sendall(piece)

    data = tmp_path / "messages.txt"
    data.write_bytes(b"one\ntwo two\nthree three three\n")
    done = load(serve(note), "--data", data, "--messages", 5, "--framing", framing, "--pipeline", 3)
    assert done.status == 0, done.output + done.errors
    assert done.report["received"] == 5
    texts = [b"one", b"two two", b"three three three", b"one", b"two two"]
    frames = {
        "raw": texts,
        "line": [text + b"\n" for text in texts],
        "length": [len(text).to_bytes(4, "big") + text for text in texts],
    }
    assert b"".join(received) == b"".join(frames[framing])


def test_the_files_of_a_folder_are_messages(websocket: Start, load: Load, tmp_path: Path) -> None:
    (tmp_path / "b.bin").write_bytes(b"\n\x00second")
    (tmp_path / "a.bin").write_bytes(b"first")
    seen: list[str | bytes] = []

    def note(connection: ServerConnection) -> None:
        for message in connection:
            seen.append(message)
            connection.send(message)

    done = load(websocket(note, compression=None), "--data", tmp_path, "--messages", 3)
    assert done.status == 0, done.output + done.errors
    assert seen == [b"first", b"\n\x00second", b"first"]


def test_a_dropped_message_of_ones_own_is_one_lost_message(
    serve: Serve, load: Load, tmp_path: Path
) -> None:
    def drop(connection: socket.socket) -> None:
        with connection.makefile("rb") as lines:
            for number, line in enumerate(lines):
                if number != 6:
                    connection.sendall(line)

    data = tmp_path / "messages.txt"
    data.write_text("".join(f"this is message number {number}\n" for number in range(50)))
    done = load(
        serve(drop), "--data", data, "--messages", 50, "--framing", "line", "--pipeline", 5,
        "--timeout", "2s",
    )  # fmt: skip
    assert done.status == 1
    assert (done.report["lost"], done.report["altered"], done.report["received"]) == (1, 0, 49)
    assert done.problem["message"] == 6


def test_a_feed_is_counted_for_the_whole_duration(serve: Serve, load: Load) -> None:
    def feed(connection: socket.socket) -> None:
        connection.settimeout(0.01)
        while True:
            connection.sendall(b"tick\ntock\n")
            with contextlib.suppress(TimeoutError):
                if not connection.recv(65536):
                    return

    done = load(
        serve(feed), "--messages", 0, "--duration", "500ms", "--expect-reply", "none",
        "--framing", "line", "--connections", 2,
    )  # fmt: skip
    assert done.status == 0, done.output + done.errors
    report = done.report
    assert report["sent"] == report["lost"] == 0
    assert report["received"] >= 8
    assert report["seconds"] >= 0.5


def test_a_server_that_only_takes_messages_gets_all_of_them(serve: Serve, load: Load) -> None:
    taken: list[int] = []

    def take(connection: socket.socket) -> None:
        count = 0
        while piece := connection.recv(65536):
            count += len(piece)
        taken.append(count)

    done = load(
        serve(take), "--messages", 5000, "--connections", 2, "--expect-reply", "none",
        "--framing", "length", "--pipeline", 0, "--close-timeout", "30s",
    )  # fmt: skip
    assert done.status == 0, done.output + done.errors
    assert done.report["sent"] == 10_000
    assert taken == [5000 * 36, 5000 * 36]


def test_a_server_that_takes_nothing_is_reported(serve: Serve, load: Load) -> None:
    def ignore(connection: socket.socket) -> None:
        threading.Event().wait(40)

    done = load(
        serve(ignore), "--messages", 500, "--expect-reply", "none", "--size", "1MiB",
        "--timeout", "500ms",
    )  # fmt: skip
    assert (done.status, done.report["lost"]) == (1, 1)
    assert "takes nothing for" in done.problem["text"]


def test_a_publishing_websocket_is_counted(websocket: Start, load: Load) -> None:
    def publish(connection: ServerConnection) -> None:
        for message in connection:
            for _ in range(3):
                connection.send(message)

    done = load(
        websocket(publish, compression=None), "--messages", 10, "--duration", "1s",
        "--expect-reply", "none", json=False,
    )  # fmt: skip
    assert done.status == 0, done.output + done.errors
    assert "sent         10 messages" in done.output
    assert "came         30 messages" in done.output


def test_connections_are_spread_over_several_targets(serve: Serve, load: Load) -> None:
    counts = {"first": 0, "second": 0}

    def counted(name: str) -> Callable[[socket.socket], None]:
        def note(connection: socket.socket) -> None:
            counts[name] += 1
            echo_bytes(connection)

        return note

    urls = [serve(counted("first")), serve(counted("second"))]
    done = load(*urls, "--connections", 5, "--messages", 3)
    assert done.status == 0
    assert done.report["received"] == 15
    assert counts == {"first": 3, "second": 2}


def test_a_rate_grows_within_the_ramp(serve: Serve) -> None:
    report = run(Plan(serve(echo_bytes), rate=400, ramp_up=1.0, duration=1.5))
    assert report.clean
    # Half of the rate on average in the first second.
    assert report.paced is not None
    assert report.received == report.paced.due == pytest.approx(200 + 200, abs=2)
    early = sum(point.sent for point in report.series if point.start_seconds < 0.45)
    assert early < report.received / 3


def test_steps_follow_one_another(serve: Serve, load: Load) -> None:
    done = load(serve(echo_bytes), "--step", "100:500ms", "--step", "600:500ms", "--connections", 2)
    assert done.status == 0
    assert done.report["received"] == pytest.approx(350, abs=2)
    assert done.report["paced"]["planned_per_second"] == pytest.approx(350, rel=0.01)


def test_the_report_has_a_line_for_each_step(serve: Serve, load: Load) -> None:
    options = ["--step", "100:300ms", "--step", "2000:300ms"]
    lines = load(serve(echo_bytes), *options, json=False).output.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("step"))
    assert [line.split()[:3] for line in lines[at + 1 : at + 3]] == [
        ["0.0", "s", "100"],
        ["0.3", "s", "2,000"],
    ]


def test_without_a_rate_a_ramp_lets_connections_begin_one_by_one(serve: Serve) -> None:
    firsts: list[float] = []

    def note(connection: socket.socket) -> None:
        first = connection.recv(65536)
        firsts.append(time.monotonic())
        connection.sendall(first)
        echo_bytes(connection)

    report = run(Plan(serve(note), connections=4, messages=2, ramp_up=1.0))
    assert report.clean
    assert max(firsts) - min(firsts) > 0.6


SCRIPT = """
async def user(connection):
    connection.send("hello")
    answer = await connection.receive()
    assert answer == "hello", answer
"""


def test_a_script_is_called_with_each_connection(
    websocket: Start, load: Load, tmp_path: Path
) -> None:
    script = tmp_path / "user.py"
    script.write_text(SCRIPT)
    url = websocket(echo, compression=None)
    done = load(
        url, "--script", script, "--connections", 3, "--messages", 4, "--expect", "p99 < 30s"
    )
    assert done.status == 0, done.output + done.errors
    assert (done.report["connected"], done.report["received"]) == (12, 12)
    assert done.report["latency_seconds"]["count"] == 12
    assert sum(point["received"] for point in done.report["series"]) == 12


def test_an_exception_in_a_script_is_a_fault(websocket: Start, load: Load, tmp_path: Path) -> None:
    def shout(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(str(message).upper())

    script = tmp_path / "user.py"
    script.write_text(SCRIPT)
    done = load(websocket(shout, compression=None), "--script", script, json=False)
    assert done.status == 1
    assert "FAILED: 1 call of the script failed." in done.output
    assert "failed: connection 0: AssertionError: HELLO" in done.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ftp://127.0.0.1:1"], "is not an address that can be loaded; use tcp://"),
        (["tcp://127.0.0.1:1", "-H", "X: y"], "headers need a ws://"),
        (["tcp://127.0.0.1:1", "--compress"], "need a ws:// or wss:// address"),
        (["tcp://127.0.0.1:1", "--insecure"], "need a tls://, wss:// or https:// address"),
        (["tcp://127.0.0.1:1", "--method", "PUT"], "needs an http:// or https:// address"),
        (["tls://127.0.0.1:1", "--ca", "none.pem"], "--ca: none.pem cannot be read: No such file"),
        (["tls://127.0.0.1:1", "--ca", "pyproject.toml"], "--ca: it has no certificate"),
        (["tls://127.0.0.1:1", "--key", "pyproject.toml"], "--cert, which is missing"),
        (["http://127.0.0.1:1", "--framing", "line"], "all addresses must be of one kind"),
        (["http://127.0.0.1:1", "--method", "PO ST"], "is not a method of HTTP"),
        (["http://127.0.0.1:1", "--method", "GET", "--size", "3"], "a GET request has no body"),
        (["http://127.0.0.1:1", "-H", "Content-Length: 3"], "is written by the client itself"),
        (["http://127.0.0.1:1", "--expect-reply", "none"], "every request has a response"),
        (["ws://127.0.0.1:1", "-H", "X"], "is not 'NAME: VALUE'"),
        (["ws://127.0.0.1:1", "--cookie", "X"], "is not NAME=VALUE"),
        (["tcp://127.0.0.1:1", "ws://127.0.0.1:1"], "ws://"),
        (["tcp://me:secret@127.0.0.1:1"], "only ws, wss, http and https URLs can have a user name"),
        (["tcp://127.0.0.1:1", "--step", "10"], "is not a rate and its time"),
        (["tcp://127.0.0.1:1", "--step", "10:1s", "--rate", "5"], "replace rate"),
        (["tcp://127.0.0.1:1", "--data", "pyproject.toml", "--size", "3"], "remove --size"),
        (["tcp://127.0.0.1:1", "--data", "none"], "none cannot be read: No such file"),
        (["tcp://127.0.0.1:1", "--script", "none.py"], "none.py cannot be run: FileNotFound"),
        (["tcp://127.0.0.1:1", "--script", "tests/conftest.py"], "has no 'async def user("),
        (["tcp://127.0.0.1:1", "--script", "pyproject.toml"], "is not a Python file"),
        (
            ["tcp://127.0.0.1:1", "--script", "tests/conftest.py", "--rate", "1"],
            "with --script: remove it",
        ),
    ],
)
def test_what_cannot_be_sent_is_refused(load: Load, arguments: list[str], words: str) -> None:
    done = load(*arguments, json=False)
    assert done.status == 2
    assert words in done.errors
    assert "secret" not in done.errors


def test_progress_is_served_as_metrics(serve: Serve) -> None:
    port = free_port()
    exporter = Exporter()
    with served(str(port), exporter):
        report = run(Plan(serve(echo_bytes), messages=50, connections=2), exporter)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
    assert report.clean
    assert "vespiary_load_messages_received_total 100.0" in text
    assert 'vespiary_load_faults_total{kind="lost"} 0.0' in text
