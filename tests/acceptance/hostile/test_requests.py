"""HTTP requests that two readers would read in two ways: each is refused, none is smuggled in."""

import pytest

from tests.acceptance.hostile.conftest import Serve
from tests.acceptance.hostile.peer import REQUEST, TEXT, frame
from tests.acceptance.hostile.server_process import MEBIBYTE

pytestmark = pytest.mark.acceptance

ENDPOINTS = {
    "page": {"url": "http://127.0.0.1:0", "handler": "page"},
    "echo": {"url": "ws://127.0.0.1:0", "handler": "echo"},
}
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
SECOND = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKS = b"\r\n0\r\n\r\n"

AMBIGUOUS = {
    "two lengths": (POST + b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n", 400),
    "a list of lengths": (POST + b"Content-Length: 0, 0\r\n\r\n", 400),
    "a signed length": (POST + b"Content-Length: +0\r\n\r\n", 400),
    "a negative length": (POST + b"Content-Length: -1\r\n\r\n", 400),
    "a length in hexadecimal": (POST + b"Content-Length: 0x10\r\n\r\n", 400),
    "a length beyond 64 bits": (POST + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
    "an empty length": (POST + b"Content-Length:\r\n\r\n", 400),
    "length and chunks": (
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" + CHUNKS,
        400,
    ),
    "chunks and length": (
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n" + CHUNKS,
        400,
    ),
    "chunked twice": (POST + b"Transfer-Encoding: chunked, chunked\r\n" + CHUNKS, 400),
    "chunked in two lines": (
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" + CHUNKS,
        400,
    ),
    "chunked not last": (POST + b"Transfer-Encoding: chunked, identity\r\n" + CHUNKS, 400),
    "an unknown coding": (POST + b"Transfer-Encoding: xchunked\r\n" + CHUNKS, 400),
    "a tab in the coding": (POST + b"Transfer-Encoding: chunked\x0b\r\n" + CHUNKS, 400),
    "another coding before chunked": (POST + b"Transfer-Encoding: gzip, chunked\r\n" + CHUNKS, 501),
    "chunks in HTTP/1.0": (
        b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + CHUNKS,
        400,
    ),
    "space before the colon": (POST + b"Content-Length : 5\r\n\r\n", 400),
    "space before the name": (b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    "a folded line": (POST + b"Transfer-Encoding:\r\n chunked\r\n" + CHUNKS, 400),
    "no name": (POST + b": value\r\n\r\n", 400),
    "a bare line feed": (b"GET / HTTP/1.1\nHost: x\n\n", 400),
    "a bare line feed in a header": (POST + b"A: b\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "a bare carriage return": (POST + b"A: b\rTransfer-Encoding: chunked\r\n\r\n", 400),
    "a zero byte in a value": (POST + b"A: b\0c\r\n\r\n", 400),
    "a zero byte in a name": (POST + b"A\0: b\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "a host with a path": (b"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 400),
    "a host with a user": (b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a space in the target": (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a fragment of a scheme": (b"GET file:///etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "no version": (b"GET /\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/1.10": (b"GET / HTTP/1.10\r\nHost: x\r\n\r\n", 400),
    "a method of 100 letters": (b"G" * 100 + b" / HTTP/1.1\r\nHost: x\r\n\r\n", 501),
}


@pytest.mark.parametrize("endpoint", ["page", "echo"])
def test_every_ambiguous_request_is_refused_and_what_follows_it_is_not_read(
    serve: Serve, endpoint: str
) -> None:
    server = serve(**ENDPOINTS)
    wrong = {}
    with server.steady("echo", 16 * MEBIBYTE):
        for name, (request, status) in AMBIGUOUS.items():
            with server.connect(endpoint) as peer:
                peer.send_if_it_still_can(request + SECOND)
                end = peer.end()
            answers = (b"\n" + end.before).count(b"\nHTTP/1.1 ")
            if (end.status, answers) != (status, 1) or b"smuggled" in end.before:
                wrong[name] = end.before
    assert not wrong
    told = server.wait_idle(endpoint)
    by_status = {f"status_{status}": 0 for _, status in AMBIGUOUS.values()}
    for _, status in AMBIGUOUS.values():
        by_status[f"status_{status}"] += 1
    assert told["connections_refused"] == by_status
    assert told["protocol_errors"] == len(AMBIGUOUS)


@pytest.mark.parametrize(
    "first",
    [
        b"GET /first HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /first HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
    ],
    ids=["close", "HTTP/1.0"],
)
def test_what_follows_the_last_request_is_not_read(serve: Serve, first: bytes) -> None:
    server = serve(**ENDPOINTS)
    with server.connect("page") as peer:
        peer.send(first + SECOND)
        end = peer.end()
    assert end.status == 200
    assert end.before.endswith(b" /first\n")
    assert b"\r\nConnection: close\r\n" in end.before
    assert (b"\n" + end.before).count(b"\nHTTP/1.1 ") == 1


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"Content-Length: 1048577\r\n\r\n", 413),
        (b"Content-Length: 1048577\r\nExpect: 100-continue\r\n\r\n", 413),
        (b"Transfer-Encoding: chunked\r\n\r\n2b\n", 400),
        (b"Transfer-Encoding: chunked\r\n\r\n1\r\n", 400),
    ],
    ids=["a length", "an expectation", "a bare LF", "too short a chunk"],
)
@pytest.mark.parametrize("endpoint", ["page", "echo"])
def test_a_body_that_is_too_long_or_malformed_is_refused_and_is_not_a_request(
    serve: Serve, endpoint: str, lines: bytes, status: int
) -> None:
    server = serve(**ENDPOINTS)
    with server.connect(endpoint) as peer:
        peer.send(POST + lines + SECOND)
        end = peer.end()
    assert end.status == status
    assert b"\r\nConnection: close\r\n" in end.before
    assert (b"\n" + end.before).count(b"\nHTTP/1.1 ") == 1


def test_a_request_cut_into_single_bytes_is_read_as_one(serve: Serve) -> None:
    server = serve(**ENDPOINTS)
    with server.connect("echo") as peer:
        for byte in REQUEST % b"/":
            peer.send(bytes([byte]))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += peer.read(1)
        assert head.startswith(b"HTTP/1.1 101 ")
        peer.send(frame(TEXT, b"hello"))
        assert peer.read_frame() == (TEXT, b"hello")


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"GET ", b"POST ", 405),
        (b"Version: 13", b"Version: 12", 426),
        (b"Sec-WebSocket-Key: ", b"X-Key: ", 400),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIHNhbXBsZQ==", 400),
        (b"Upgrade: websocket", b"Upgrade: h2c", 426),
        (b"Connection: Upgrade", b"Connection: close", 400),
        (b"HTTP/1.1", b"HTTP/1.0", 426),
    ],
    ids=["method", "version", "no key", "short key", "protocol", "connection", "HTTP/1.0"],
)
def test_an_upgrade_that_lacks_a_part_is_refused(
    serve: Serve, old: bytes, new: bytes, status: int
) -> None:
    server = serve(**ENDPOINTS)
    with server.connect("echo") as peer:
        peer.send((REQUEST % b"/").replace(old, new))
        end = peer.end()
    assert end.status == status
    if b"Version" in new:
        assert b"\r\nSec-WebSocket-Version: 13\r\n" in end.before
    assert server.wait_idle("echo")["connections_refused"] == {f"status_{status}": 1}
