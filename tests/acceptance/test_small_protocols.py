"""The examples of small protocols: JSON lines, binary calls, and HTTP with cookies."""

import json
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from .conftest import EXAMPLES, Start

pytestmark = pytest.mark.acceptance


def test_lines_of_json_are_answered_with_lines_of_json(start: Start) -> None:
    example = start("json_lines.py", "tcp://127.0.0.1:0")
    with (
        socket.create_connection(example.address, 60) as client,
        client.makefile("rb") as answers,
    ):

        def ask(line: bytes) -> Any:
            client.sendall(line + b"\n")
            return json.loads(answers.readline())

        assert ask(b'{"sensor": "roof", "celsius": 20}') == {
            "sensor": "roof", "count": 1, "mean": 20.0,
        }  # fmt: skip
        assert ask(b'{"sensor": "roof", "celsius": 23}')["mean"] == 21.5
        assert ask(b'{"report": true}') == {"sensors": {"roof": 21.5}}
        for wrong in (b"{", b"[" * 5000, b"\xff", b""):
            assert "not JSON" in ask(wrong)["error"]
        wrongs = (
            *(b"3", b"{}", b'{"sensor": "a", "celsius": true}'),
            *(b'{"sensor": "a", "celsius": NaN}', b'{"sensor": 1, "celsius": 1}'),
        )
        for wrong in wrongs:
            assert ask(wrong)["error"].startswith("send {")
        assert ask(b'{"report": true}') == {"sensors": {"roof": 21.5}}
        client.sendall(b"x" * 20_000)
        assert read_to_end(client) == b""
    example.stop()


def test_a_slow_call_does_not_hold_up_a_fast_one(start: Start) -> None:
    example = start("binary_rpc.py", "serve", "tcp://127.0.0.1:0", serving=1)
    command = [sys.executable, str(EXAMPLES / "binary_rpc.py"), "call", example.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "the sum is 7.0; the slow call is slow.done()=False",
        "failed: there is no method 9",
        "the slow call has ended",
    ]
    example.stop()


def test_calls_have_the_bytes_that_the_example_says(start: Start) -> None:
    example = start("binary_rpc.py", "serve", "tcp://127.0.0.1:0", serving=1)
    with socket.create_connection(example.address, 60) as client, client.makefile("rb") as answers:

        def ask(call: bytes) -> bytes:
            client.sendall(struct.pack("<H", len(call)) + call)
            (length,) = struct.unpack("<H", answers.read(2))
            return answers.read(length)

        assert ask(struct.pack("<IBd", 7, 1, 0.5)) == struct.pack("<IBd", 7, 0, 0.5)
        assert ask(struct.pack("<IB", 8, 3)).startswith(struct.pack("<IB", 8, 1))
        assert ask(struct.pack("<IB", 9, 1) + b"odd").startswith(struct.pack("<IB", 9, 1))
        client.sendall(struct.pack("<H", 2) + b"ab")
        assert read_to_end(client) == b""
    example.stop()


def test_files_are_uploaded_and_downloaded_piece_by_piece(start: Start) -> None:
    example = start("upload_and_download.py", "http://127.0.0.1:0")
    size = 20_000_000
    content = bytes(range(256)) * (size // 256)

    def in_chunks() -> Iterator[bytes]:
        for first in range(0, len(content), 1 << 20):
            yield content[first : first + (1 << 20)]

    with httpx.Client(base_url=example.url, trust_env=False, timeout=60) as client:
        for name, body in (("whole.bin", content), ("chunked.bin", in_chunks())):
            stored = client.put(f"/{name}", content=body)
            assert stored.text == f"stored {len(content)} bytes as {name}\n"
            assert client.get(f"/{name}").content == content
            assert client.head(f"/{name}").headers["content-length"] == str(len(content))
        assert client.get("/").text == "chunked.bin\nwhole.bin\n"
        for path in ("/missing", "/../etc/passwd", "/.hidden"):
            assert client.get(path).status_code == 404
        assert client.post("/whole.bin").status_code == 405
        with socket.create_connection(("127.0.0.1", client.base_url.port or 0)) as cut:
            cut.sendall(b"PUT /cut HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhoney")
            cut.shutdown(socket.SHUT_WR)
            read_to_end(cut)
        assert client.get("/").text == "chunked.bin\nwhole.bin\n"
    example.stop()


def read_to_end(client: socket.socket) -> bytes:
    """What comes before the end or the reset."""
    try:
        return client.recv(100)
    except ConnectionResetError:
        return b""


def test_the_page_counts_visits_in_a_cookie_that_cannot_be_changed(start: Start) -> None:
    example = start("visits_cookie.py", "http://127.0.0.1:0")
    with httpx.Client(base_url=example.url, trust_env=False) as browser:
        for count in (1, 2, 3):
            page = browser.get("/").raise_for_status()
            assert page.text == f"This is your visit {count}.\n"
            assert "HttpOnly" in page.headers["set-cookie"]
        cookie = browser.cookies["visits"]
        assert browser.head("/").headers["content-length"] == str(len("This is your visit 4.\n"))
        forgotten = browser.get("/forget")
        assert (forgotten.status_code, forgotten.headers["location"]) == (303, "/")
        assert browser.get("/").text == "This is your visit 1.\n"
        assert browser.get("/else").status_code == 404
        assert browser.post("/").status_code == 405
    for wrong in (cookie.replace("3.", "300."), "3.", "x.y", "3", "\xb2." + "0" * 64):
        headers = {b"Cookie": f"visits={wrong}".encode()}
        answer = httpx.get(example.url, headers=headers, trust_env=False)
        assert answer.text == "This is your visit 1.\n"
    example.stop()
