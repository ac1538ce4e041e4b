"""Datagrams under attack: floods from invented addresses, and attempts to multiply traffic."""

import contextlib
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.acceptance.hostile.conftest import ECHO, Serve
from tests.acceptance.hostile.server_process import MEBIBYTE, Server

pytestmark = [pytest.mark.acceptance, pytest.mark.serial]

UDP = {"url": "udp://127.0.0.1:0", "handler": "echo", "connections": True}
PEERS = 3000
PEERS_MAX = 500


@contextlib.contextmanager
def peer(source: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.settimeout(30)
        made.bind((source, 0))
        yield made


def target(server: Server) -> tuple[str, int]:
    parts = urlsplit(server.urls["udp"])
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


def flood(server: Server, datagram: bytes) -> None:
    """Send a datagram from each of many addresses; the kernel may drop some of them."""
    for number in range(PEERS):
        with peer(f"127.9.{number // 250}.{1 + number % 250}") as invented:
            invented.sendto(datagram, target(server))
        if number % 50 == 0:
            # One round trip, so that the kernel's buffer is empty again.
            server.statistics("udp")


def has_come(told: dict[str, Any]) -> bool:
    """Whether most of a flood has arrived, whatever became of it."""
    return bool(told["datagrams_received"] >= PEERS - told["datagrams_dropped"].get(LOST, 0) - 50)


LOST = "receive_buffer"


def test_invented_peers_are_bounded_and_those_that_are_there_are_served(serve: Serve) -> None:
    limits = {"connections_max": PEERS_MAX}
    server = serve(calm=ECHO, udp={**UDP, "limits": limits})
    with server.steady("calm", 16 * MEBIBYTE), peer() as real:
        real.sendto(b"first", target(server))
        assert real.recv(100) == b"first"
        flood(server, b"x")
        told = server.wait_for("udp", has_come)
        assert told["connections_open"] == PEERS_MAX
        assert told["datagrams_dropped"]["connections_max"] > 0
        real.sendto(b"still here", target(server))
        assert real.recv(100) == b"still here"


def test_invented_peers_are_forgotten_after_their_idle_time(serve: Serve) -> None:
    limits = {"connections_max": PEERS_MAX}
    deadlines = {"datagram_idle_seconds": 0.5}
    server = serve(udp={**UDP, "limits": limits, "deadlines": deadlines})
    descriptors = server.descriptors
    flood(server, b"x")
    server.wait_idle("udp")
    assert server.descriptors == descriptors
    with peer() as real:
        real.sendto(b"room again", target(server))
        assert real.recv(100) == b"room again"


def test_no_more_leaves_than_the_handler_sends(serve: Serve) -> None:
    # A peer that is not admitted gets nothing, not even an error, and no peer a second answer.
    server = serve(udp={**UDP, "limits": {"connections_max": 1}})
    with peer() as admitted, peer("127.9.0.1") as victim:
        admitted.sendto(b"", target(server))
        assert admitted.recv(100) == b""
        for size in (0, 1, 1000):
            victim.sendto(bytes(size), target(server))
            admitted.sendto(bytes(size), target(server))
            assert admitted.recv(2000) == bytes(size)
        victim.settimeout(0)
        with pytest.raises(BlockingIOError):
            victim.recv(2000)
    told = server.statistics("udp")
    assert told["datagrams_sent"] == 4
    assert told["bytes_sent"] == 1001
    assert told["datagrams_dropped"]["connections_max"] == 3
