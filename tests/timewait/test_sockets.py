"""Real sockets, in a network namespace of their own."""

import errno
import os
import shutil
import socket
from collections.abc import Callable
from typing import Any

import pytest

Scene = Callable[[str], dict[str, Any]]

TIME_WAIT_SECONDS = 60
OF_SS = {
    "ESTAB": "established",
    "TIME-WAIT": "time_wait",
    "LISTEN": "listen",
    "CLOSE-WAIT": "close_wait",
    "FIN-WAIT-2": "fin_wait2",
}


def owner(report: dict[str, Any], pid: int) -> dict[str, Any]:
    (row,) = (row for row in report["owners"] if row["pid"] == pid)
    found: dict[str, Any] = row
    return found


def test_totals_are_those_that_were_made(scene: Scene) -> None:
    report = scene("totals")["report"]
    present = {name: count for name, count in report["states"].items() if count}
    assert present == {
        "time_wait": 75,
        "established": 12,
        "listen": 3,
        "close_wait": 3,
        "fin_wait2": 3,
    }
    assert report["ipv6"]["time_wait"] == 25
    assert report["ipv4"]["time_wait"] == 50


def test_totals_are_those_of_ss(scene: Scene) -> None:
    if shutil.which("ss") is None:
        pytest.skip("ss is not installed (Debian: iproute2)")
    found = scene("totals")
    states = found["report"]["states"]
    assert {OF_SS[name]: count for name, count in found["ss"].items()} == {
        name: count for name, count in states.items() if count
    }


def test_totals_agree_with_the_kernels_counters(scene: Scene) -> None:
    (namespace,) = scene("totals")["report"]["namespaces"]
    states, sockstat = namespace["states"], namespace["sockstat"]
    assert sockstat["tw"] == states["time_wait"] + namespace["orphaned_fin_wait2"]
    established = states["established"] + states["close_wait"]
    assert namespace["counters"]["CurrEstab"] == established
    assert sockstat["inuse"] == established + states["listen"]


def test_each_socket_in_time_wait_has_a_beginning_and_an_end(scene: Scene) -> None:
    report = scene("totals")["report"]
    waits = [it for it in report["sockets"] if it["state"] == "time_wait"]
    assert len(waits) == 75
    for it in waits:
        assert it["closed_by"] == "this end"
        assert it["until"] - it["since"] == pytest.approx(TIME_WAIT_SECONDS, abs=0.01)
        assert report["time"] - 50 < it["since"] < report["time"] + 0.5
    (whole,) = (row["time_wait"] for row in report["owners"] if row["process"] is None)
    assert min(it["since"] for it in waits) == pytest.approx(whole["since"], abs=0.6)
    assert max(it["until"] for it in waits) == pytest.approx(whole["until"], abs=0.6)


def test_a_live_socket_belongs_to_the_process_that_holds_it(scene: Scene) -> None:
    found = scene("totals")
    row = owner(found["report"], found["pid"])
    assert row["states"]["established"] == 12
    assert row["states"]["close_wait"] == 3
    assert row["states"]["listen"] == 3


def test_which_side_closed_is_known_by_state_and_port(scene: Scene) -> None:
    assert scene("totals")["report"]["closed"] == {
        "here_as_client": 63,
        "here_as_server": 15,
        "by_peer": 3,
    }


def test_a_budget_is_full_when_the_kernel_has_no_port_left(scene: Scene) -> None:
    found = scene("fullness")
    budgets = [report["budgets"][0] for report in found["reports"]]
    assert [it["ports"] for it in budgets] == [196, 196, 196]
    assert [it["used"] for it in budgets] == [97, 107, 196]
    # connect takes one half first, and goes to the other one when that is full.
    assert budgets[0]["connect_half"] == {"ports": 98, "used": 97}
    assert budgets[1]["connect_half"] == {"ports": 98, "used": 98}
    assert budgets[1]["bind_half"] == {"ports": 98, "used": 9}
    assert budgets[0]["cliff_seconds"] < 1
    assert budgets[1]["cliff_seconds"] == 0
    assert budgets[2]["exhaustion_seconds"] == 0
    assert found["errno"] == errno.EADDRNOTAVAIL


def test_advice_fits_what_was_measured(scene: Scene) -> None:
    report = scene("fullness")["reports"][2]
    advice = {it["setting"]: it["advice"] for it in report["advice"] if it["advice"]}
    assert "10.9.9.9:9 has taken 196 of 196 ports" in advice["net.ipv4.ip_local_port_range"]
    assert "4 reserved ports lie inside" in advice["net.ipv4.ip_local_reserved_ports"]
    assert "1 lets new connections to 10.9.9.9:9 take ports" in advice["net.ipv4.tcp_tw_reuse"]
    assert "net.ipv4.tcp_max_tw_buckets" not in advice


def test_no_exhaustion_is_forecast_where_ports_are_reused(scene: Scene) -> None:
    (budget,) = (
        it for it in scene("reuse")["report"]["budgets"] if it["destination"] == "127.0.0.1"
    )
    assert budget["reuse"]
    assert budget["used"] == 150


def test_the_coverage_of_polling_is_stated_and_true(scene: Scene) -> None:
    found = scene("polled")
    known = found["report"]["attribution"]
    assert known["method"] == "polling"
    assert known["time_wait"] == 50
    assert known["coverage"] == pytest.approx(30 / 50)
    by_polling = [
        it
        for it in found["report"]["sockets"]
        if it["state"] == "time_wait" and it["known_by"] == "polling"
    ]
    assert len(by_polling) == 30
    assert {it["pid"] for it in by_polling} == {found["pid"]}


def test_a_server_that_closes_is_known_by_its_port(scene: Scene) -> None:
    found = scene("served")
    before, after = found["before"], found["after"]
    assert owner(before, found["pid"])["known_by"]["listener"] == 12
    assert before["attribution"]["known_by"] == {"listener": 12}
    assert before["closed"]["here_as_server"] == 12
    # Not on a port of clients, also when the server has gone.
    assert after["closed"]["here_as_server"] == 12
    assert [row["port"] for row in after["local_ports"]] == [9]


def test_connections_that_skip_time_wait_are_counted_and_explained(scene: Scene) -> None:
    before, after = scene("overflow")["reports"]
    assert (before["overflow"], after["overflow"]) == (0, 10)
    assert after["states"]["time_wait"] == 30
    assert (len(before["alarms"]), len(after["alarms"])) == (0, 1)
    advice = {it["setting"]: it["advice"] for it in after["advice"] if it["advice"]}
    assert "10 connections skipped TIME_WAIT, 10 of them" in advice["TCPTimeWaitOverflow"]
    assert "30 of 30 are used" in advice["net.ipv4.tcp_max_tw_buckets"]
    assert [it["kind"] for it in after["forecasts"]] == ["buckets"]
    assert after["forecasts"][0]["seconds"] == 0


def test_a_process_that_does_not_close_is_named(scene: Scene) -> None:
    found = scene("leak")
    report = found["report"]
    assert owner(report, found["pid"])["states"]["close_wait"] == 120
    advice = {it["setting"]: it["advice"] for it in report["advice"] if it["advice"]}
    assert f"({found['pid']}): it does not close its sockets" in advice["close_wait"]
    (alarm,) = report["alarms"]
    assert alarm["value"] == 120


def test_the_addresses_of_a_socket_are_those_it_has() -> None:
    from vespiary.prove.timewait import Monitor, own_namespace

    server = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    with server, socket.create_connection(("127.0.0.1", server.getsockname()[1])):
        accepted = server.accept()[0]
        with accepted, Monitor(lambda: [own_namespace()], owners="polling", sockets=True) as it:
            rows = it.report()["sockets"]
    port = client_port = None
    for row in rows:
        if row["pid"] == os.getpid() and row["state"] == "established":
            ports = (row["local_port"], row["remote_port"])
            port, client_port = max(port or ports, ports), min(client_port or ports, ports)
            assert row["local_address"] == row["remote_address"] == "127.0.0.1"
    assert port is not None
    assert client_port == port[::-1]
