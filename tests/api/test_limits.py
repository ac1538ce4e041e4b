"""Every limit and deadline that a peer can reach is reported, in the unit of its name."""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

import vespiary
from tests.logs import lines

from .kit import TCP, WS, Recorder, serving, until

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
SECONDS = 0.05


class Silent(vespiary.Handler):
    """Takes everything."""

    def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
        pass


class Closing(vespiary.Handler):
    def on_open(self, connection: vespiary.Connection) -> None:
        connection.close()


class Subscribing(vespiary.Handler):
    """Subscribes once too often; what is not caught would reset the stream before it is up."""

    def on_open(self, connection: vespiary.Connection) -> None:
        connection.subscribe("a")
        with contextlib.suppress(vespiary.SendRefused):
            connection.subscribe("ab")


class Talking(vespiary.Handler):
    """Sends more than is read."""

    def on_open(self, connection: vespiary.Connection) -> None:
        for _ in range(40):
            connection.send(bytes(1 << 20))


class Stream:
    """A peer on a plain socket, which reads nothing that it is not asked to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, url: str) -> "Stream":
        port = int(url.rstrip("/").rpartition(":")[2])
        return cls(*await asyncio.open_connection("127.0.0.1", port))


@dataclass
class Case:
    """How a limit is reached: by so many peers, each of which sends this."""

    name: str
    value: float
    handler: type[vespiary.Handler] = Silent
    url: str = TCP
    sent: bytes = b""
    peers: int = 1
    more: dict[str, Any] = field(default_factory=dict)


LIMITS = [
    Case("connections_max", 1, url=WS, peers=2),
    Case("connections_per_address_max", 1, url=WS, peers=2),
    Case("accepts_per_second_max", 1, url=WS, peers=3),
    Case("handshakes_pending_max", 1, url=WS, peers=2),
    Case("message_bytes_max", 10, sent=bytes(100) + b"\n"),
    Case("frame_bytes_max", 10, url=WS, sent=UPGRADE + b"\x82\xe4\0\0\0\0" + bytes(100)),
    Case("fragments_max", 1, url=WS, sent=UPGRADE + b"\x02\x81\0\0\0\0a\0\x81\0\0\0\0a"),
    Case("header_bytes_max", 100, url=WS, sent=UPGRADE),
    Case("headers_max", 2, url=WS, sent=UPGRADE),
    Case("body_bytes_max", 2, url=WS, sent=POST),
    Case("topics_per_connection_max", 1, Subscribing),
    Case("subscriptions_max", 1, Subscribing),
    Case("topic_bytes_max", 1, Subscribing),
    Case("write_bytes_max", 1 << 17, Talking, more={"slow_consumer": "drop-newest"}),
]
DEADLINES = [
    Case("handshake_seconds", SECONDS, url=WS, sent=b"GET"),
    Case("first_byte_seconds", SECONDS),
    Case("message_seconds", SECONDS, sent=b"a"),
    Case("idle_seconds", SECONDS),
    Case("data_seconds", SECONDS),
    Case(
        "write_seconds",
        SECONDS,
        Talking,
        more={"limits": vespiary.Limits(write_bytes_max=1 << 26)},
    ),
    Case("close_seconds", SECONDS, Closing, WS, UPGRADE),
    Case("ping_timeout_seconds", SECONDS, url=WS, sent=UPGRADE),
]
NOT_REACHED = {
    # They pause reading.
    "write_high_bytes",
    "write_low_bytes",
    "inbox_messages_max",
    "inbox_bytes_max",
    # They are of datagrams: see test_datagrams.py and test_pseudo_connections.py.
    "datagram_idle_seconds",
    "datagram_bytes_max",
    "datagrams_pending_max",
    # They close a connection between two requests.
    "requests_per_connection_max",
    "keep_alive_seconds",
    # It sends a ping.
    "ping_interval_seconds",
    # The kernel's, and the stop's.
    "tcp_keepalive_seconds",
    "drain_seconds",
    # They are of threads: see test_thread_pools.py.
    "threads_max",
    "thread_idle_seconds",
}


def options(case: Case) -> dict[str, Any]:
    found: dict[str, Any] = dict(case.more)
    if case in LIMITS:
        found["limits"] = vespiary.Limits(**{case.name: int(case.value)})
    else:
        more = {"ping_interval_seconds": SECONDS} if "ping" in case.name else {}
        found["deadlines"] = vespiary.Deadlines(**{case.name: case.value}, **more)
    if case.url == TCP:
        found["framing"] = "line" if case.handler is Silent else "length"
    return found


async def reached(case: Case, handler: vespiary.Handler, is_reported: Callable[[], object]) -> None:
    async with serving(handler, case.url, **options(case)) as server:
        peers = [await Stream.connect(server.urls[0]) for _ in range(case.peers)]
        for peer in peers:
            peer.writer.write(case.sent)
        await until(is_reported)
        assert server.statistics().total.limits_reached[case.name] >= 1
        for peer in peers:
            peer.writer.transport.abort()


def test_the_cases_are_all_fields() -> None:
    fields = [*dataclasses.fields(vespiary.Limits), *dataclasses.fields(vespiary.Deadlines)]
    names = [case.name for case in LIMITS + DEADLINES]
    assert sorted(names + list(NOT_REACHED)) == sorted(item.name for item in fields)


@pytest.mark.parametrize("case", LIMITS + DEADLINES, ids=lambda case: case.name)
async def test_a_limit_that_is_reached_is_given_to_on_limit_in_its_own_unit(case: Case) -> None:
    told: list[tuple[str, float]] = []

    class Telling(case.handler):  # type: ignore[misc, name-defined]
        def on_limit(self, name: str, value: float) -> None:
            told.append((name, value))

    await reached(case, Telling(), lambda: told)
    assert set(told) == {(case.name, case.value)}


@pytest.mark.parametrize("case", LIMITS + DEADLINES, ids=lambda case: case.name)
async def test_a_limit_that_is_reached_is_logged_in_its_own_unit_without_on_limit(
    case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    def reports() -> list[str]:
        return [line for line in lines(caplog, logging.WARNING) if "Limit reached" in line]

    await reached(case, case.handler(), reports)
    assert reports()[0].startswith(f"Limit reached: {case.name} ({case.value}) on ")


async def ends_with(peer: Stream) -> str:
    try:
        while await peer.reader.read(1 << 16):
            pass
    except ConnectionResetError:
        return "reset"
    return "end"


@pytest.mark.parametrize("name", ["first_byte", "message", "idle", "data"])
async def test_a_stream_that_misses_a_deadline_is_reset(name: str) -> None:
    recorder = Recorder()
    deadlines = vespiary.Deadlines(**{f"{name}_seconds": SECONDS})
    for framing in ("line", "raw", "length"):
        if (name, framing) == ("message", "raw"):
            continue
        async with serving(recorder, TCP, framing=framing, deadlines=deadlines) as server:
            peer = await Stream.connect(server.urls[0])
            if name == "message":
                peer.writer.write(b"a")
            assert await ends_with(peer) == "reset"
            await until(lambda: recorder.reasons)
        reason = recorder.reasons[-1]
        assert (reason.side, reason.kind, reason.code) == ("local", "broken", None)
        assert f"{name}_seconds is {SECONDS}" in reason.text


async def test_no_reason_of_a_stream_has_a_close_code() -> None:
    class Broken(Recorder):
        def on_message(self, connection: vespiary.Connection, message: bytes | str) -> None:
            raise ZeroDivisionError

    acts: list[Callable[[vespiary.Connection], object]] = [
        lambda client: client.close(),
        lambda client: client.send(b"ab\n"),
        lambda client: client.send(bytes(100) + b"\n"),
    ]
    limits = vespiary.Limits(message_bytes_max=50)
    for act in acts:
        recorder = Broken()
        async with (
            serving(recorder, TCP, framing="line", limits=limits) as server,
            vespiary.connect(server.urls[0]) as client,
        ):
            act(client)
            assert (await client.wait_closed()).code is None
        # The end of the server has closed every connection.
        assert [reason.code for reason in recorder.reasons] == [None]
