"""Who closed, as the kernel's tracepoint reports it; as root only.

A few of the connections leave no TIME_WAIT, because both ends of them close at once and the kernel
resets such a connection now and then. So what is there is compared, and that it is most of them.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from vespiary.prove.timewait.monitor import Monitor
from vespiary.prove.timewait.namespaces import own_namespace

Scene = Callable[[str], dict[str, Any]]
pytestmark = pytest.mark.usefixtures("tracepoint_allowed")


def waits(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [it for it in report["sockets"] if it["state"] == "time_wait"]


def test_the_closer_of_every_connection_is_the_process_that_closed_it(scene: Scene) -> None:
    found = scene("traced")
    closer = {port: pid for pid, ports in found["closed"] for port in ports}
    assert len(closer) == 600
    rows = {row["local_port"]: row for row in waits(found["report"])}
    compared = closer.keys() & rows.keys()
    assert len(compared) > 500
    assert {port: rows[port]["pid"] for port in compared} == {
        port: closer[port] for port in compared
    }
    assert {rows[port]["known_by"] for port in compared} == {"tracepoint"}


def test_its_coverage_is_whole_and_stays(scene: Scene) -> None:
    found = scene("traced")
    for report in (found["report"], found["later"]):
        known = report["attribution"]
        assert known["method"] == "tracepoint"
        assert known["known_by"] == {"tracepoint": len(waits(report))}
        assert known["coverage"] == 1
        assert known["lost_events"] == 0


def test_processes_that_have_ended_are_one_row_of_their_name(scene: Scene) -> None:
    report = scene("traced")["report"]
    names = Counter(it["process"] for it in waits(report))
    assert len(names) == 2
    assert 1 <= names["bash"] <= 5
    rows = {row["process"]: row for row in report["owners"] if not row["pid"]}
    for name, count in names.items():
        assert rows[name]["states"] == {"time_wait": count}
        assert rows[name]["processes"] == (1 if name == "bash" else 15)


def test_the_tracepoint_is_chosen_where_it_is_allowed() -> None:
    with Monitor(lambda: [own_namespace()]) as watching:
        assert watching.report()["attribution"]["method"] == "tracepoint"
