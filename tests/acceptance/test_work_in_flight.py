"""The example that finishes its work before it stops."""

import signal

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from .conftest import Start

pytestmark = pytest.mark.acceptance


def rest(client: ClientConnection) -> tuple[list[str], int | None]:
    """What still comes, and the close code."""
    received: list[str] = []
    try:
        while True:
            received.append(str(client.recv(timeout=60)))
    except ConnectionClosed as closed:
        return received, closed.rcvd.code if closed.rcvd else None


def test_orders_in_flight_are_finished_and_idle_clients_are_sent_away(start: Start) -> None:
    example = start("work_in_flight.py", "ws://127.0.0.1:0")
    with connect(example.url) as busy, connect(example.url) as idle:
        busy.send("1.5")
        assert busy.recv(timeout=60) == "accepted: 1.5"
        idle.send("0")
        assert [idle.recv(timeout=60) for _ in range(2)] == ["accepted: 0", "finished: 0"]
        example.send_signal(signal.SIGTERM)
        assert rest(idle) == (["goodbye"], 1001)
        assert rest(busy) == (["finished: 1.5", "goodbye"], 1001)
    example.wait_stopped()
    assert "2 connections were served" in example.output


def test_a_second_signal_ends_at_once(start: Start) -> None:
    example = start("work_in_flight.py", "ws://127.0.0.1:0")
    with connect(example.url) as busy:
        busy.send("14")
        assert busy.recv(timeout=60) == "accepted: 14"
        example.send_signal(signal.SIGTERM)
        example.wait_for("topping")
        assert example.stop() < 12
