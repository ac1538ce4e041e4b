"""HTTP requests as a load, against servers of Python's `http.server`."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from vespiary.prove.load import Plan, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.load.conftest import Load, Serve

pytestmark = pytest.mark.acceptance

Start = Callable[..., str]


class Answering(BaseHTTPRequestHandler):
    """Answers with the method, the target and the body."""

    protocol_version = "HTTP/1.1"
    status = 200
    chunked = False
    requests_max = 0
    """After so many the connection is closed; zero: never."""

    seen: list[tuple[str, dict[str, str], bytes]]

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.seen.append((f"{self.command} {self.path}", dict(self.headers.items()), body))
        self.count = getattr(self, "count", 0) + 1
        self.send_response(self.status)
        if self.requests_max and self.count >= self.requests_max:
            self.send_header("Connection", "close")
            self.close_connection = True
        if self.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body) + 5))
        self.end_headers()
        if self.command == "HEAD":
            return
        text = b"took " + body
        self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(text), text) if self.chunked else text)

    do_POST = do_PUT = do_HEAD = do_GET  # noqa: N815 - the names that http.server looks for.

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def http() -> Iterator[Start]:
    """Start a server whose handler has these attributes."""
    with contextlib.ExitStack() as stack:

        def start(**attributes: Any) -> str:
            handler = type("Handler", (Answering,), {"seen": [], **attributes})
            server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
            server.daemon_threads = True
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            return f"http://127.0.0.1:{server.server_address[1]}/"

        yield start


@pytest.mark.parametrize(
    "attributes",
    [{}, {"chunked": True}, {"requests_max": 3}, {"requests_max": 1, "chunked": True},
     {"protocol_version": "HTTP/1.0"}],
)  # fmt: skip
@pytest.mark.parametrize("options", [[], ["--size", "5000"], ["--size", "500", "--fragment"]])
def test_requests_are_answered_also_where_the_server_closes_connections(
    http: Start, load: Load, driver: str, attributes: dict[str, Any], options: list[str]
) -> None:
    url = http(**attributes)
    done = load(url, "--connections", 4, "--messages", 10, "--driver", driver, *options)
    assert done.status == 0, done.output + done.errors
    assert (done.report["sent"], done.report["received"]) == (40, 40)
    assert done.report["latency_seconds"]["count"] == 40
    closes = attributes.get("requests_max") or (10 if "protocol_version" not in attributes else 1)
    assert done.report["connected"] == 4 * -(-10 // closes)


def test_several_requests_in_flight_are_answered_in_order(http: Start, load: Load) -> None:
    done = load(http(), "--pipeline", 8, "--messages", 100, "--method", "HEAD")
    assert done.status == 0, done.output + done.errors
    assert done.report["received"] == 100


def test_a_request_has_what_the_options_say(http: Start, tmp_path: Path, load: Load) -> None:
    seen: list[tuple[str, dict[str, str], bytes]] = []
    url = http(seen=seen).replace("http://", "http://me:p@") + "things?a=b"
    bodies = tmp_path / "bodies.txt"
    bodies.write_text('{"a": 1}\n{"bb": 2}\n')
    options = ["--data", bodies, "--messages", 2, "-H", "X-Test: a", "--cookie", "one=1"]
    done = load(url, *options, "--method", "PUT")
    assert done.status == 0, done.output + done.errors
    assert [body for _, _, body in seen] == [b'{"a": 1}', b'{"bb": 2}']
    for line, headers, body in seen:
        assert line == "PUT /things?a=b"
        assert headers["Host"].startswith("127.0.0.1:")
        assert (headers["X-Test"], headers["Cookie"]) == ("a", "one=1")
        assert headers["Authorization"].startswith("Basic ")
        assert headers["Content-Length"] == str(len(body))


def test_an_error_status_is_a_fault_and_named(http: Start, load: Load) -> None:
    done = load(http(status=503), "--messages", 3, json=False)
    assert done.status == 1
    assert "FAILED: 3 requests were answered with an error status." in done.output
    assert "failed: connection 0, message 0: it was answered with the status 503" in done.output
    assert "99.9 %" in done.output


def test_the_table_speaks_of_requests(http: Start, load: Load) -> None:
    done = load(http(), "--messages", 30, json=False)
    assert done.status == 0
    assert "GET requests" in done.output
    assert "requests/s" in done.output
    assert "30 requests were answered." in done.output


@pytest.mark.parametrize(
    ("answer", "count", "words"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "closed", "middle of a response"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "violations", "no HTTP version"),
        (b"", "closed", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 2, "violations", "answers no request"),
    ],
)
def test_a_server_that_breaks_http_is_reported(
    serve: Serve, load: Load, answer: bytes, count: str, words: str
) -> None:
    def answers(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(65536)

    done = load(serve(answers).replace("tcp://", "http://"), "--messages", 2)
    assert done.status == 1
    assert done.report[count] == 1
    assert words in done.problem["text"]


def test_a_server_that_never_answers_loses_the_request(serve: Serve) -> None:
    def say_nothing(connection: socket.socket) -> None:
        while connection.recv(65536):
            pass

    url = serve(say_nothing)
    report = run(Plan(url.replace("tcp://", "http://"), messages=2, reply_timeout=0.3))
    assert (report.lost, report.unsent, report.clean) == (1, 1, False)


def test_a_server_that_is_gone_when_a_connection_is_opened_again_is_reported(serve: Serve) -> None:
    answer = b"HTTP/1.0 200 OK\r\n\r\nhello"
    connections: list[socket.socket] = []

    def once(connection: socket.socket) -> None:
        connections.append(connection)
        if len(connections) == 1:
            connection.recv(65536)
            connection.sendall(answer)

    report = run(Plan(serve(once).replace("tcp://", "http://"), messages=3))
    assert (report.received, report.clean) == (1, False)
    assert report.lost + report.unsent == 2
