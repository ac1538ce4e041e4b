"""Load with datagrams: what is lost, doubled, late, altered or refused is counted as that."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import pytest

import vespiary
from vespiary.prove.load.expectations import parse_expectation

if TYPE_CHECKING:
    from tests.load.conftest import Load

pytestmark = pytest.mark.acceptance

Answer = Callable[[int, bytes], list[bytes]]
"""What comes back for a datagram, which is the connection's n-th from zero."""
Serve = Callable[[Answer], str]

FAULTS = ("refused", "reset", "altered", "lost", "reordered", "duplicated", "unsent", "extra_bytes")
MESSAGES = 40


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server, in a thread, that answers each datagram so."""
    with ExitStack() as stack:

        def start(answer: Answer) -> str:
            served = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            served.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            served.bind(("127.0.0.1", 0))
            thread = threading.Thread(target=_serve, args=(served, answer), daemon=True)
            thread.start()
            stack.callback(_stop, served, thread)
            return f"udp://127.0.0.1:{served.getsockname()[1]}"

        yield start


def _serve(served: socket.socket, answer: Answer) -> None:
    counts: dict[Any, int] = {}
    while True:
        data, peer = served.recvfrom(1 << 16)
        if not data:
            return
        number = counts.get(peer, 0)
        counts[peer] = number + 1
        for back in answer(number, data):
            with suppress(OSError):
                served.sendto(back, peer)


def _stop(served: socket.socket, thread: threading.Thread) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
        last.sendto(b"", served.getsockname())
    thread.join(30)


def echo(_number: int, data: bytes) -> list[bytes]:
    return [data]


def at_seventh(change: Callable[[bytes], list[bytes]]) -> Answer:
    """An echo, except for one datagram of each connection."""
    return lambda number, data: change(data) if number == 7 else [data]


class Swaps:
    """Sends the seventh datagram of a connection behind the eighth."""

    def __init__(self) -> None:
        self.held = b""

    def __call__(self, number: int, data: bytes) -> list[bytes]:
        if number == 7:
            self.held = data
            return []
        return [data, self.held] if number == 8 else [data]


def faults(told: dict[str, Any]) -> dict[str, int]:
    return {name: told[name] for name in FAULTS if told[name]}


@pytest.mark.parametrize("size", [8, 32, 1472, 65_507])
def test_what_comes_back_is_compared_and_measured(
    serve: Serve, load: Load, driver: str, size: int
) -> None:
    url = serve(echo)
    options = ("--connections", 5, "--messages", MESSAGES, "--size", size, "--driver", driver)
    # A busy machine may take its time.
    done = load(url, *options, "--timeout", "30s")
    told = done.report
    assert (done.status, told["clean"], told["complete"], told["driver"]) == (0, True, True, driver)
    assert (told["connected"], told["sent"], told["received"]) == (5, 5 * MESSAGES, 5 * MESSAGES)
    assert told["bytes_sent"] == told["bytes_received"] == 5 * MESSAGES * size
    assert told["latency_seconds"]["count"] == 5 * MESSAGES


@pytest.mark.parametrize(
    ("make", "counted"),
    [
        (lambda: at_seventh(lambda _data: []), {"lost": 1}),
        (lambda: at_seventh(lambda data: [data, data]), {"duplicated": 1}),
        (lambda: at_seventh(lambda data: [data[:-1] + bytes([data[-1] ^ 1])]), {"altered": 1}),
        (lambda: at_seventh(lambda data: [data[:-5]]), {"altered": 1}),
        (Swaps, {"reordered": 1}),
    ],
    ids=["lost", "duplicated", "altered", "cut", "reordered"],
)
def test_each_fault_is_counted_as_what_it_is(
    serve: Serve, load: Load, driver: str, make: Callable[[], Answer], counted: dict[str, int]
) -> None:
    options = ("--messages", MESSAGES, "--pipeline", 4, "--driver", driver)
    done = load(serve(make()), *options, "--timeout", "2s")
    told = done.report
    assert done.status == 1
    assert faults(told) == counted
    assert told["sent"] == MESSAGES
    assert told["received"] == MESSAGES - told["lost"]
    assert told["latency_seconds"]["count"] == MESSAGES
    assert done.problem["fault"] == next(iter(counted))
    if "lost" in counted:
        assert told["latency_seconds"]["maximum"] >= 2


def test_a_lost_datagram_makes_room_for_the_next(serve: Serve, load: Load) -> None:
    url = serve(lambda number, data: [data] if number % 2 else [])
    done = load(url, "--messages", 10, "--timeout", "100ms")
    assert faults(done.report) == {"lost": 5}
    assert (done.report["sent"], done.report["received"]) == (10, 5)
    assert "no echo for 0.1 s" in done.problem["text"]


@pytest.mark.parametrize(
    ("expected", "status"),
    [
        (["lost <= 25%"], 0),
        (["lost == 10"], 0),
        (["lost <= 24%"], 1),
        (["lost <= 25%", "p50 < 1ns"], 3),
        (["duplicated == 0"], 1),
    ],
)
def test_an_expectation_allows_some_loss(
    serve: Serve, load: Load, expected: list[str], status: int
) -> None:
    url = serve(lambda number, data: [data] if number % 4 else [])
    conditions = [part for text in expected for part in ("--expect", text)]
    done = load(url, "--messages", MESSAGES, "--timeout", "1s", "--pipeline", 40, *conditions)
    assert done.status == status
    assert done.report["lost"] == 10
    assert not done.report["clean"]


def test_a_share_is_shown_as_one(serve: Serve, load: Load) -> None:
    url = serve(lambda number, data: [data] if number else [])
    options = ("--messages", 4, "--timeout", "100ms", "--expect", "lost <= 30%")
    done = load(url, *options, json=False)
    assert done.status == 0
    assert "expected lost <= 30%: met, 25%" in done.output
    assert "FAILED: 1 message never came back." in done.output


def test_a_port_where_nobody_listens_ends_the_connection(load: Load, driver: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    done = load(f"udp://127.0.0.1:{port}", "--messages", 5, "--driver", driver, "--timeout", "30s")
    told = done.report
    assert done.status == 1
    assert faults(told) == {"reset": 1, "lost": 1, "unsent": 4}
    assert "refused" in done.problem["text"]


def test_a_rate_is_kept_and_its_latencies_count_from_when_a_datagram_was_due(
    serve: Serve, load: Load
) -> None:
    options = ("--connections", 3, "--rate", 300, "--duration", "1s", "--timeout", "30s")
    done = load(serve(echo), *options)
    assert done.report["paced"]["due"] == 300
    assert done.report["received"] == 300
    assert faults(done.report) == {}


def test_without_echoes_datagrams_are_only_sent(serve: Serve, load: Load) -> None:
    options = ("--messages", MESSAGES, "--expect-reply", "none")
    done = load(serve(lambda number, data: [b"x"] if number % 2 else []), *options)
    assert done.status == 0
    assert done.report["sent"] == MESSAGES


def test_a_server_with_pseudo_connections_is_loaded(load: Load) -> None:
    class Echo(vespiary.Handler[bytes]):
        def on_message(self, connection: vespiary.Connection[bytes], message: bytes) -> None:
            connection.send(message)

    async def main() -> None:
        server = vespiary.Server(signals=False)
        server.add(Echo(), "udp://127.0.0.1:0", connections=True)
        async with server:
            options = ("--connections", 20, "--messages", 50, "--timeout", "30s")
            done = await asyncio.to_thread(load, server.urls[0], *options)
            assert (done.status, done.report["received"]) == (0, 1000)
            assert server.statistics().endpoints[0].connections_accepted == 20

    vespiary.run(main())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["udp://127.0.0.1"], "is not a HOST:PORT"),
        (["udp://127.0.0.1:1", "--size", "7"], "size is 7; it must be between 8 and 65507"),
        (["udp://127.0.0.1:1", "--size", "65508"], "between 8 and 65507"),
        (["udp://127.0.0.1:1", "--framing", "line"], "must be of one kind"),
        (["udp://127.0.0.1:1", "tcp://127.0.0.1:1"], "must be of one kind"),
        (["udp://127.0.0.1:1", "--fragment"], "a datagram leaves as a whole: remove --fragment"),
        (["udp://127.0.0.1:1", "--header", "A: b"], "need a ws://"),
        (["udp://127.0.0.1:1", "--expect", "p99 <= 1%"], "is not a unit of time"),
        (["udp://127.0.0.1:1", "--expect", "refused <= 1%"], "and not the unit '%'"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    load: Load, arguments: list[str], words: str
) -> None:
    done = load(*arguments, json=False)
    assert done.status == 2
    assert words in done.errors


def test_a_share_is_of_the_messages_that_were_sent() -> None:
    expectation = parse_expectation("lost <= 1.5%")
    assert (expectation.name, expectation.value, expectation.is_share) == ("lost", 1.5, True)
