"""The counts and the exit status for each fault of a server that is not ours, on every framing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.load.faulty import AT, FAULTS, FRAMINGS, SIZE, FaultyServer, running
from vespiary.prove.load import Plan, Report, run

if TYPE_CHECKING:
    from tests.load.conftest import Load

pytestmark = pytest.mark.acceptance

CONNECTIONS = 3
MESSAGES = 40
ALL = CONNECTIONS * MESSAGES
RUNS = 5

COUNTED: dict[str, dict[str, int]] = {
    "none": {},
    "delay": {},
    "freeze": {},
    "drop": {"lost": CONNECTIONS, "received": ALL - CONNECTIONS},
    "duplicate": {"duplicated": CONNECTIONS},
    "reorder": {"reordered": CONNECTIONS},
    "alter": {"altered": CONNECTIONS},
    "truncate": {"altered": CONNECTIONS},
    "close": {"closed": CONNECTIONS, "received": CONNECTIONS * AT},
    "never-close": {"unclosed": CONNECTIONS},
}
"""What is counted for each fault; every other fault's count is zero, and all messages come back."""

FAULT_COUNTS = (
    "refused", "reset", "closed", "unclosed", "altered", "lost", "reordered", "duplicated",
    "unsent", "extra_bytes", "violations", "abandoned",
)  # fmt: skip


def check(fault: str, told: dict[str, Any]) -> None:
    wanted = dict.fromkeys(FAULT_COUNTS, 0) | {"received": ALL} | COUNTED[fault]
    if fault == "close":
        # How many were in flight depends on when the client saw the close.
        wanted.pop("lost")
        assert told["lost"] + told.pop("unsent") == ALL - CONNECTIONS * AT
        wanted.pop("unsent")
    assert {name: told[name] for name in wanted} == wanted
    assert told["clean"] == (not COUNTED[fault])
    assert told["complete"]


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_counted_as_what_it_is(load: Load, framing: str, fault: str) -> None:
    server = FaultyServer(framing, fault)
    options: dict[str, Any] = {"connections": CONNECTIONS, "messages": MESSAGES, "pipeline": 8}
    if framing != "websocket":
        options["framing"] = framing
    # What is dropped is waited for as long as this; nothing else depends on it.
    timeout = 3.0 if fault == "drop" else 30.0
    close_timeout = 0.5 if fault == "never-close" else 30.0
    with running(server) as url, ThreadPoolExecutor(RUNS) as pool:

        def once(seed: int) -> Report:
            plan = Plan(url, **options, seed=seed, size=SIZE)
            return run(replace(plan, reply_timeout=timeout, close_timeout=close_timeout))

        reports = [pool.submit(once, seed) for seed in range(RUNS - 1)]
        arguments = [f"--{name}={value}" for name, value in options.items()]
        done = load(url, *arguments, "--timeout", timeout, "--close-timeout", close_timeout)
        for report in reports:
            check(fault, asdict(report.result()))
    check(fault, done.report)
    assert done.status == (1 if COUNTED[fault] else 0)


def quantile(values: list[float], share: float) -> float:
    """The smallest value that at least this share does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(share * 1000) // 1000) - 1)]


@pytest.mark.parametrize("framing", ["length", "websocket"])
def test_corrected_percentiles_agree_with_the_servers_own_when_it_freezes(framing: str) -> None:
    rate, seconds = 500.0, 1.0
    server = FaultyServer(framing, "freeze", seconds=0.4)
    named = None if framing == "websocket" else framing
    with running(server) as url:
        report = run(Plan(url, duration=seconds, rate=rate, framing=named, size=SIZE))
    assert report.clean
    assert report.received == len(server.answered) == rate * seconds
    began = report.monotonic_start_seconds
    own = [at - began - number / rate for number, at in enumerate(server.answered)]
    latency = report.latency
    for share, measured in ((0.9, latency.p90), (0.99, latency.p99), (1.0, latency.maximum)):
        assert measured == pytest.approx(quantile(own, share), rel=0.05)
    assert latency.p90 > 0.2


def test_a_server_that_freezes_until_the_end_does_not_hide_what_was_due(load: Load) -> None:
    server = FaultyServer("line", "freeze", seconds=60)
    with running(server) as url:
        done = load(url, "--framing", "line", "--rate", 1000, "--duration", "1s", "--timeout", "3s")
    report = done.report
    assert done.status == 1
    assert (report["sent"], report["received"], report["lost"]) == (AT + 1, AT, 1)
    assert report["unsent"] == 1000 - report["sent"]
    assert report["paced"]["due"] == 1000
    assert not report["paced"]["reached"]
    latency = report["latency_seconds"]
    assert latency["count"] == 1000
    # Those that were due in the first tenth waited until sending ended, 100 ms after the second.
    assert latency["p90"] == pytest.approx(1.0, rel=0.05)
    assert latency["p50"] == pytest.approx(0.6, rel=0.05)


def test_a_rate_that_cannot_be_reached_is_reported(load: Load) -> None:
    server = FaultyServer("line", "delay", seconds=0.02)
    with running(server) as url:
        options = ["--framing", "line", "--rate", 1000, "--duration", "500ms"]
        told = load(url, *options)
        text = load(url, *options, json=False)
    assert told.status == text.status == 1
    assert told.report["paced"]["reached_per_second"] < 100
    assert told.report["unsent"] > 400
    assert "FAILED: the rate was not reached:" in text.output
    assert "of 1,000 messages/s." in text.output
