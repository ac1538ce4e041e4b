"""What a client's handshake says and checks, and its frames' keys, seen from a bare server."""

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import vespiary
from vespiary.request import Headers

from .kit import Echo, serving, until, virtual_time

Answer = Callable[[Headers], bytes]
CLOSE = 8


def accepted(headers: Headers, *lines: str) -> bytes:
    key = headers["sec-websocket-key"].encode()
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    accept = base64.b64encode(digest).decode()
    head = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept}",
        *lines,
    ]
    return "\r\n".join([*head, "", ""]).encode()


class Bare:
    """A server that remembers every byte."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[tuple[str, Headers]] = []
        self.frames = bytearray()
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionResetError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            pairs = [
                (name, value.strip()) for name, _, value in (it.partition(":") for it in lines)
            ]
            headers = Headers(pairs)
            self.requests.append((first, headers))
            writer.write(self.answer(headers))
            own = bytearray()
            while data := await reader.read(65536):
                self.frames += data
                own += data
                if any(opcode == CLOSE for opcode, _, _ in frames(bytes(own))):
                    break
        writer.close()


@asynccontextmanager
async def bare(
    answer: Answer = accepted, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[Bare, str]]:
    told = Bare(answer)
    async with await asyncio.start_server(told.serve, host, 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield told, f"ws://[{host}]:{port}" if ":" in host else f"ws://{host}:{port}"
        for writer in told.writers:
            writer.close()
            with contextlib.suppress(ConnectionResetError):
                await writer.wait_closed()


def frames(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Opcode, mask key and payload of each masked frame."""
    while len(data) >= 6:
        length, start = data[1] & 0x7F, 2
        assert data[1] & 0x80, "a client masks every frame"
        if length == 126:
            length, start = int.from_bytes(data[2:4]), 4
        key = data[start : start + 4]
        payload = data[start + 4 : start + 4 + length]
        if len(payload) < length:
            return
        yield data[0] & 0x0F, key, bytes(it ^ key[at % 4] for at, it in enumerate(payload))
        data = data[start + 4 + length :]


async def test_the_request_says_what_was_asked_for() -> None:
    async with bare(lambda headers: accepted(headers, "Sec-WebSocket-Protocol: b")) as (told, url):
        options = vespiary.WebSocket(headers=[("X-One", "1")])
        async with vespiary.connect(
            f"{url}/chat?room=%23a",
            websocket=options,
            subprotocols=["a", "b"],
            headers=[("X-Two", "2")],
        ) as client:
            assert client.subprotocol == "b"
    ((first, headers),) = told.requests
    assert first == "GET /chat?room=%23a HTTP/1.1"
    assert headers["host"] == url.removeprefix("ws://")
    assert headers["sec-websocket-protocol"] == "a, b"
    assert (headers["x-one"], headers["x-two"]) == ("1", "2")
    assert len(base64.b64decode(headers["sec-websocket-key"])) == 16


async def test_header_fields_may_be_a_mapping_and_stay_whole() -> None:
    async with bare() as (told, url):
        both = vespiary.WebSocket(headers={"cd": "z"})
        async with vespiary.connect(url, websocket=both, headers={"ab": "y"}):
            pass
        _, headers = told.requests[0]
        assert (headers["ab"], headers["cd"]) == ("y", "z")
        assert "a" not in headers


async def test_interim_responses_before_the_101_are_skipped() -> None:
    def hinted(headers: Headers) -> bytes:
        return b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3 + accepted(headers)

    async with bare(hinted) as (told, url), vespiary.connect(url) as client:
        client.send("x")
        await until(lambda: told.frames)


async def test_a_header_limit_of_this_end_is_not_blamed_on_the_server() -> None:
    async with bare(lambda headers: accepted(headers, "X: " + "y" * 2000)) as (_, url):
        limits = vespiary.Limits(header_bytes_max=1000)
        with pytest.raises(vespiary.LocalError, match="header_bytes_max is 1000"):
            await vespiary.connect(url, limits=limits)


async def test_the_default_compression_takes_a_server_that_keeps_its_context() -> None:
    line = "Sec-WebSocket-Extensions: permessage-deflate"
    async with bare(lambda headers: accepted(headers, line)) as (told, url):
        options = vespiary.WebSocket(compression=vespiary.Compression())
        async with vespiary.connect(url, websocket=options) as client:
            assert client.extensions == ["permessage-deflate"]
        offered = told.requests[0][1]["sec-websocket-extensions"]
        assert offered.endswith(", permessage-deflate; client_max_window_bits=12")


async def test_an_ipv6_address_stands_in_brackets() -> None:
    async with bare(host="::1") as (told, url):
        async with vespiary.connect(url) as client:
            assert client.peer is not None
            assert client.peer[0] == "::1"
        assert told.requests[0][1]["host"] == url.removeprefix("ws://")


async def test_user_and_password_of_the_url_are_sent_as_basic_authentication() -> None:
    async with bare() as (told, url):
        async with vespiary.connect(url.replace("ws://", "ws://me:p%40ss@")):
            pass
        headers = told.requests[0][1]
        assert base64.b64decode(headers["authorization"].removeprefix("Basic ")) == b"me:p@ss"
        assert "me" not in headers["host"]


async def test_an_error_does_not_tell_the_password() -> None:
    with pytest.raises(ConnectionRefusedError) as raised:
        await vespiary.connect("ws://me:secret@127.0.0.1:1/")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"subprotocols": ["a", "a"]}, "twice"),
        ({"subprotocols": ["a b"]}, "token"),
        ({"subprotocols": [""]}, "token"),
        ({"headers": [("Host", "else.where")]}, "handshake itself"),
        ({"headers": [("Upgrade", "h2c")]}, "handshake itself"),
        ({"headers": [("X", "a\r\nY: b")]}, "X"),
        ({"headers": [("no name", "x")]}, "no name"),
    ],
)
async def test_a_request_that_cannot_be_is_reported_before_anybody_is_asked(
    options: dict[str, list[object]], words: str
) -> None:
    with pytest.raises(vespiary.ConfigurationError, match=words):
        vespiary.connect("ws://127.0.0.1:1", **options)  # type: ignore[arg-type]


async def test_credentials_stand_in_one_place_only() -> None:
    with pytest.raises(vespiary.ConfigurationError, match="both"):
        vespiary.connect("ws://a:b@h/", headers=[("authorization", "Bearer x")])
    maker = vespiary.connect("ws://a:b@h/", headers=lambda: [("authorization", "Bearer x")])
    with pytest.raises(vespiary.ConfigurationError, match=r"^headers: both"):
        await maker


@pytest.mark.parametrize("fields", [{"a b": "c"}, {"a": "b\r\nc: d"}, {"Host": "h"}])
async def test_a_header_field_that_cannot_be_sent_is_not_reported_as_a_fault_of_the_url(
    fields: dict[str, str],
) -> None:
    for headers in (fields, lambda: fields):
        with pytest.raises(vespiary.ConfigurationError, match=r"^headers: the header") as caught:
            await vespiary.connect("ws://127.0.0.1:1", headers=headers)
        assert caught.value.subject == "headers"


def leave_connecting(url: str) -> None:
    vespiary.connect(url)


def leave_in_a_plain_with(url: str) -> None:
    connecting: Any = vespiary.connect(url)
    with pytest.raises((TypeError, AttributeError)), connecting:
        pass


def leave_for_a_method(url: str) -> None:
    with pytest.raises(AttributeError, match="await it first"):
        vespiary.connect(url).send("hello")  # type: ignore[attr-defined]


@pytest.mark.parametrize("leave", [leave_connecting, leave_in_a_plain_with, leave_for_a_method])
def test_a_connect_that_nobody_awaits_warns(leave: Callable[[str], None]) -> None:
    with pytest.warns(RuntimeWarning, match=r"ws://127.0.0.1:1/.* was never awaited"):
        leave("ws://user:secret@127.0.0.1:1")


@pytest.mark.parametrize(
    "url", ["ws://127.0.0.1:0", "tcp://127.0.0.1:0", "ws://h/#", "tcp://a@h:1"]
)
async def test_a_url_that_cannot_be_connected_to_is_reported(url: str) -> None:
    with pytest.raises(vespiary.EndpointError):
        vespiary.connect(url)


async def test_a_subprotocol_that_was_not_offered_fails_the_connect() -> None:
    async with bare(lambda headers: accepted(headers, "Sec-WebSocket-Protocol: c")) as (_, url):
        with pytest.raises(vespiary.HandshakeRefused, match="not offered"):
            await vespiary.connect(url, subprotocols=["a", "b"])
        with pytest.raises(vespiary.HandshakeRefused, match="not offered"):
            await vespiary.connect(url)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\nX-Why: tired\r\n\r\ntoo tired",
        b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\nX-Why: tired\r\n\r\n"
        b"4\r\ntoo \r\n5\r\ntired\r\n0\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nX-Why: tired\r\n\r\ntoo tired",
    ],
    ids=["length", "chunked", "to the end"],
)
async def test_a_refusal_tells_status_fields_and_body(answer: bytes) -> None:
    async with bare(lambda _: answer) as (_, url):
        with pytest.raises(vespiary.HandshakeRefused) as raised:
            await vespiary.connect(url)
    assert raised.value.status == 503
    assert raised.value.headers["x-why"] == "tired"
    assert raised.value.body == b"too tired"
    assert raised.value.reason == "too tired"


async def test_of_a_long_body_the_beginning_is_reported_at_once() -> None:
    answer = b"HTTP/1.1 500 Oh\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 5000
    async with bare(lambda _: answer) as (_, url):
        with pytest.raises(vespiary.HandshakeRefused) as raised:
            await vespiary.connect(url)
    assert raised.value.body == b"x" * 4096


async def test_of_a_body_that_does_not_come_the_rest_is_reported_at_the_deadline() -> None:
    answer = b"HTTP/1.1 500 Oh\r\nContent-Length: 100\r\n\r\nonly this"
    deadlines = vespiary.Deadlines(handshake_seconds=2)
    async with bare(lambda _: answer) as (_, url):
        with pytest.raises(vespiary.HandshakeRefused) as raised:
            await vespiary.connect(url, deadlines=deadlines)
    assert (raised.value.status, raised.value.body) == (500, b"only this")


@pytest.mark.requirement("rfc6455/5.3/2", "rfc6455/10.3/1")
async def test_every_frame_has_a_key_of_its_own() -> None:
    count = 1000
    async with bare() as (told, url), vespiary.connect(url) as client:
        for number in range(count):
            client.send(b"the same" if number % 2 else "the same")
        client.ping(b"?")
        await until(lambda: len(list(frames(bytes(told.frames)))) == count + 1)
        seen = list(frames(bytes(told.frames)))
    assert {payload for _, _, payload in seen[:-1]} == {b"the same"}
    keys = {key for _, key, _ in seen}
    # Of 1,001 keys out of 2**32, two are the same once in 8,000 runs; four never.
    assert len(keys) >= count - 2
    # Each bit is set in about half of them: 350 to 650 of 1,001 is nine standard deviations.
    numbers = [int.from_bytes(key) for _, key, _ in seen]
    for bit in range(32):
        assert 350 < sum(number >> bit & 1 for number in numbers) < 650


async def test_each_handshake_has_a_key_of_its_own() -> None:
    async with bare() as (told, url):
        for _ in range(2):
            async with vespiary.connect(url):
                pass
        first, second = (headers["sec-websocket-key"] for _, headers in told.requests)
        assert first != second


class Slow(Echo):
    """Answers handshakes when it is asked to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.under_way = 0
        self.most = 0
        self.release = asyncio.Event()

    async def on_request(self, request: vespiary.Request) -> None:
        self.asked.append(request.path)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.release.wait()
        finally:
            self.under_way -= 1


async def test_handshakes_with_an_address_run_side_by_side() -> None:
    slow = Slow()
    async with serving(slow) as server:
        tasks = [
            asyncio.ensure_future(vespiary.connect(server.urls[0])._connect()) for _ in range(50)
        ]
        await until(lambda: len(slow.asked) == 50)
        slow.release.set()
        for client in await asyncio.gather(*tasks):
            client.close()


async def test_handshakes_per_address_max_bounds_them_in_the_order_of_the_connects() -> None:
    slow = Slow()
    async with serving(slow) as server:
        url = server.urls[0].rstrip("/")
        tasks = [
            asyncio.ensure_future(
                vespiary.connect(f"{url}/{number}", handshakes_per_address_max=2)._connect()
            )
            for number in range(6)
        ]
        await until(lambda: len(slow.asked) == 2)
        # One that is cancelled while it waits does not take a turn.
        tasks[3].cancel()
        slow.release.set()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(done.pop(3), asyncio.CancelledError)
        for client in done:
            assert isinstance(client, vespiary.Connection)
            client.close()
        assert slow.most == 2
        assert sorted(slow.asked) == ["/0", "/1", "/2", "/4", "/5"]


@virtual_time
async def test_waiting_for_a_turn_does_not_count_against_the_deadline() -> None:
    class Late(Echo):
        async def on_request(self, request: vespiary.Request) -> None:
            await asyncio.sleep(1)

    async with serving(Late) as server:
        deadlines = vespiary.Deadlines(handshake_seconds=5)
        connects = [
            vespiary.connect(server.urls[0], deadlines=deadlines, handshakes_per_address_max=1)
            for _ in range(15)
        ]
        for client in await asyncio.gather(*(one._connect() for one in connects)):
            client.close()


async def test_a_handshake_that_hangs_does_not_make_others_fail() -> None:
    class Hangs(Echo):
        async def on_request(self, request: vespiary.Request) -> None:
            if request.path == "/hangs":
                await asyncio.Event().wait()

    async with serving(Hangs) as server:
        url = server.urls[0].rstrip("/")
        deadlines = vespiary.Deadlines(handshake_seconds=2)
        hanging = vespiary.connect(
            f"{url}/hangs", deadlines=deadlines, handshakes_per_address_max=1
        )._connect()
        first = asyncio.ensure_future(hanging)
        await until(lambda: server.statistics().total.handshakes_pending)
        waiting = vespiary.connect(url, deadlines=deadlines, handshakes_per_address_max=1)
        async with waiting as client:
            client.send("x")
            assert await client.receive() == "x"
        with pytest.raises((TimeoutError, vespiary.HandshakeRefused)):
            await first


async def test_a_dead_address_does_not_cost_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(Echo) as server:
        port = int(server.urls[0].rstrip("/").rpartition(":")[2])
        # Nobody answers here: the address is kept for documents (RFC 5737).
        dead = ("192.0.2.1", port)

        async def resolve(*_: object, **__: object) -> list[tuple[object, ...]]:
            return [(2, 1, 6, "", address) for address in (dead, ("127.0.0.1", port))]

        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "getaddrinfo", resolve)
        began = loop.time()
        async with vespiary.connect(f"ws://some.name:{port}") as client:
            client.send("x")
            assert await client.receive() == "x"
        assert loop.time() - began < 2


@virtual_time
async def test_only_the_address_that_is_used_sees_a_handshake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(Echo) as first, serving(Echo) as second:
        ports = [int(one.urls[0].rstrip("/").rpartition(":")[2]) for one in (first, second)]
        addresses = [("127.0.0.1", port) for port in ports]

        async def resolve(*_: object, **__: object) -> list[tuple[object, ...]]:
            return [(2, 1, 6, "", address) for address in addresses]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        async with vespiary.connect("ws://some.name:1"):
            await asyncio.sleep(60)
        accepted = [one.statistics().total.connections_accepted for one in (first, second)]
        assert accepted == [1, 0]
