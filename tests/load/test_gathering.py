"""Load from several hosts: what is known of each while it runs, and when it is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from vespiary.prove.acceptance.hosts.remote import Remote
from vespiary.prove.acceptance.outcome import Result
from vespiary.prove.acceptance.plan import Plan as CasePlan
from vespiary.prove.acceptance.sites import Ended
from vespiary.prove.load import Plan
from vespiary.prove.load.gathering import REPORT, Share, SoFar, gather
from vespiary.prove.load.machines import HostLost, _together
from vespiary.prove.load.report import Progress, Report
from vespiary.prove.load.run import run_native
from vespiary.prove.load.table import as_text

COUNTS = (
    *("connected", "refused", "reset", "closed", "unclosed", "sent", "received", "altered"),
    *("lost", "reordered", "duplicated", "unsent", "abandoned", "extra_bytes", "violations"),
    *("bytes_sent", "bytes_received", "pings_sent", "pongs_received"),
)


class Cell:
    id = "h/plain/h"


class Host:
    """A host in this process; `act` is called at each step."""

    def __init__(self, name: str, folder: Path, act: Callable[[Host], list[Ended]]) -> None:
        self.name = name
        self.lost = ""
        self.folder = folder / name
        self.folder.mkdir()
        self.is_closed = False
        self._act = act

    def has_room(self, plan: object) -> bool:
        return True

    def start(self, plan: object) -> None:
        self.so_far = SoFar(self.folder)

    def step(self) -> list[Ended]:
        return self._act(self)

    def files(self, plan: object) -> Path:
        return self.folder

    def close(self) -> None:
        self.is_closed = True


class Case:
    cell = Cell()


def share(host: Host) -> Share:
    return Share(cast("Remote", host), cast("CasePlan", Case()))


def progress(phase: str, sent: int, seconds: float = 3.0) -> Progress:
    counts = dict.fromkeys(COUNTS, 0) | {"sent": sent, "received": sent}
    return Progress(phase=phase, over=False, seconds=seconds, sending_seconds=seconds, **counts)


def told(sent: int) -> dict[str, Any]:
    """A report as the native run gives it, of messages of which one is still on its way."""
    report = run_native(Plan("tcp://127.0.0.1:1", messages=1))
    counts = {"refused": 0, "sent": sent, "received": sent - 1}
    return report | counts | {"clean": True, "problems": []}


def ends(files: Path, report: dict[str, Any]) -> Callable[[Host], list[Ended]]:
    def act(host: Host) -> list[Ended]:
        folder = files / Cell.id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / REPORT).write_text(json.dumps(report))
        return [Ended(cast("CasePlan", Case()), Result("h", "h", "plain"))]

    return act


def test_of_a_host_that_is_lost_the_report_has_what_it_did_until_then(tmp_path: Path) -> None:
    def act(host: Host) -> list[Ended]:
        host.so_far.report(told(7), 2.0)
        host.so_far.report(told(9), 4.0)
        host.lost = "the connection ended"
        return []

    lost = share(Host("b", tmp_path, act))
    whole = share(Host("a", tmp_path, ends(tmp_path, told(100))))
    said: list[str] = []
    assert gather([whole, lost], tmp_path, said.append, lambda progress: None)
    assert "b: it was lost: the connection ended" in said
    plan = Plan("tcp://x:1", connections=10)
    report = Report.from_native(_together(plan, [whole, lost], is_whole=True))
    assert (report.sent, report.received, report.connections) == (109, 107, 10)
    assert report.abandoned == 1
    assert (report.clean, report.complete) == (False, False)
    text = as_text(plan, report)
    assert "FAILED: host b did not do its share to the end: it was lost: the conn" in text


def test_the_progress_of_all_hosts_is_shown_as_one(tmp_path: Path) -> None:
    seen: list[Progress] = []

    def act(phase: str, sent: int) -> Callable[[Host], list[Ended]]:
        def step(host: Host) -> list[Ended]:
            host.so_far.watch(progress(phase, sent, 3.0))
            if seen:
                host.lost = "it was enough"
            return []

        return step

    hosts = [Host("a", tmp_path, act("sending", 5)), Host("b", tmp_path, act("closing", 7))]
    gather([share(host) for host in hosts], tmp_path, lambda text: None, seen.append)
    assert (seen[0].sent, seen[0].phase, seen[0].seconds) == (12, "sending", 3.0)
    assert all(host.is_closed for host in hosts)


def test_after_ctrl_c_the_report_has_what_all_hosts_did_so_far(tmp_path: Path) -> None:
    def act(host: Host) -> list[Ended]:
        host.so_far.report(told(4), 2.0)
        raise KeyboardInterrupt

    parts = [share(Host("a", tmp_path, act))]
    assert not gather(parts, tmp_path, lambda text: None, lambda progress: None)
    plan = Plan("tcp://x:1", connections=10)
    report = Report.from_native(_together(plan, parts, is_whole=False))
    assert (report.sent, report.clean, report.complete) == (4, True, False)
    assert "The run was stopped before its end; 1 message was still in flight." in as_text(
        plan, report
    )


def test_when_no_host_did_anything_that_is_an_error(tmp_path: Path) -> None:
    def act(host: Host) -> list[Ended]:
        host.lost = "no connection (refused)"
        return []

    parts = [share(Host("a", tmp_path, act))]
    gather(parts, tmp_path, lambda text: None, lambda progress: None)
    with pytest.raises(HostLost, match="host a: it was lost: no connection"):
        _together(Plan("tcp://x:1"), parts, is_whole=True)
    with pytest.raises(KeyboardInterrupt):
        _together(Plan("tcp://x:1"), parts, is_whole=False)


def test_only_the_last_two_reports_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "artifacts"
    folder.mkdir()
    so_far = SoFar(folder)
    for number in range(1, 5):
        assert so_far.is_due(10.0 * number)
        so_far.report({"sent": number}, 10.0 * number)
        assert not so_far.is_due(10.0 * number)
    assert sorted(path.name for path in folder.iterdir()) == ["so-far-3.json", "so-far-4.json"]
