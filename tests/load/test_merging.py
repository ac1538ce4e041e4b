"""The reports of several machines as one, and the plan in shares."""

import threading
from collections.abc import Iterator
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest

from vespiary.errors import ConfigurationError
from vespiary.prove.load import Plan
from vespiary.prove.load.machines import shares
from vespiary.prove.load.merging import merged
from vespiary.prove.load.report import Report
from vespiary.prove.load.run import run_native


class Echo(BaseRequestHandler):
    def handle(self) -> None:
        while received := self.request.recv(65536):
            self.request.sendall(received)


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"tcp://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_connections_and_rates_are_divided() -> None:
    parts = shares(Plan("tcp://x:1", connections=10, rate=1000.0, seed=5), 3)
    assert [part.connections for part in parts] == [4, 3, 3]
    assert [part.rate for part in parts] == pytest.approx([400, 300, 300])
    assert [part.seed for part in parts] == [5, 6, 7]
    stepped = shares(Plan("tcp://x:1", connections=2, steps=((10.0, 1.0), (20.0, 2.0))), 2)
    assert stepped[1].steps == ((5.0, 1.0), (10.0, 2.0))
    with pytest.raises(ConfigurationError, match="3 hosts cannot share 2 connections"):
        shares(Plan("tcp://x:1", connections=2), 3)


def test_reports_are_added(url: str) -> None:
    told = {
        "a": run_native(Plan(url, connections=2, messages=30)),
        "b": run_native(Plan(url, connections=3, messages=10, rate=1000.0)),
    }
    report = Report.from_native(merged(told))
    assert report.clean
    assert (report.connections, report.connected) == (5, 5)
    assert (report.sent, report.received, report.latency.count) == (90, 90, 90)
    assert sum(point.received for point in report.series) == 90
    assert report.paced is not None
    assert report.paced.due == 30
    slowest = max(each["latency_seconds"]["maximum"] for each in told.values())
    assert report.latency.maximum == slowest
    assert report.latency.minimum <= report.latency.p50 <= report.latency.p99 <= slowest * 1.01
    assert report.percentile(50) == report.latency.p50
    assert report.driver.endswith(" on a, b")


def test_what_went_wrong_on_one_machine_is_named_with_it(url: str) -> None:
    told = {
        "good": run_native(Plan(url, messages=1)),
        "bad": run_native(Plan("tcp://127.0.0.1:1", connections=30, messages=1)),
    }
    report = Report.from_native(merged(told))
    assert not report.clean
    assert (report.refused, len(report.problems), report.problems_omitted) == (30, 20, 10)
    assert report.problems[0].text.startswith("bad: connect: ")
