"""The pytest plugin in a run of somebody's own: it notes which test reached which mark."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """
import pytest
from vespiary.trace import requires

def refused(masked: bool) -> bool:
    return requires("toy/4/1", not masked)

@pytest.fixture(scope="module")
def started() -> bool:
    return requires("toy/4/2")

@pytest.mark.requirement("toy/4/1")
@pytest.mark.requirement("toy/4/2", "toy/4/1")
def test_both(started: bool) -> None:
    assert refused(False)

def test_that_claims_nothing(started: bool) -> None:
    assert not refused(True)

def test_that_reaches_nothing() -> None:
    pytest.skip("nothing to be done")

def test_that_fails() -> None:
    assert refused(True)

@pytest.mark.xfail
def test_that_is_expected_to_fail() -> None:
    assert refused(True)
"""


def run(folder: Path, *arguments: str, table: Path | None) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(PROGRAM)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    options = ["-p", "vespiary.prove.trace.plugin", "-p", "no:randomly", *arguments]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=folder,
        env={**os.environ, "VESPIARY_TRACE": str(table or "")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("recorded")
    result = run(folder, "--trace-record=record.json", table=folder / "table")
    assert result.returncode == 1, result.stdout
    tests = json.loads((folder / "record.json").read_text())["tests"]
    return {test["id"].removeprefix("test_it.py::"): test for test in tests}


def lines(sites: list[str]) -> list[str]:
    return [site.rpartition("/")[2] for site in sites]


def test_each_test_is_noted_with_its_claims(recorded: dict[str, dict[str, Any]]) -> None:
    assert {name: test["claims"] for name, test in recorded.items()} == {
        "test_both": ["toy/4/2", "toy/4/1"],
        "test_that_claims_nothing": [],
        "test_that_reaches_nothing": [],
        "test_that_fails": [],
        "test_that_is_expected_to_fail": [],
    }


def test_what_is_reached_is_reported_from_what_acts(recorded: dict[str, dict[str, Any]]) -> None:
    assert lines(recorded["test_that_claims_nothing"]["reached"]) == ["test_it.py:6"]
    assert recorded["test_that_claims_nothing"]["acted"] == []
    assert lines(recorded["test_both"]["acted"]) == ["test_it.py:10", "test_it.py:6"]


def test_what_a_fixture_has_reached_counts_for_the_test_that_made_it(
    recorded: dict[str, dict[str, Any]],
) -> None:
    assert "test_it.py:10" in lines(recorded["test_both"]["reached"])
    assert "test_it.py:10" not in lines(recorded["test_that_claims_nothing"]["reached"])


def test_what_one_test_reaches_is_not_counted_for_the_next(
    recorded: dict[str, dict[str, Any]],
) -> None:
    assert recorded["test_that_reaches_nothing"]["reached"] == []


def test_outcomes_are_noted(recorded: dict[str, dict[str, Any]]) -> None:
    assert [test["outcome"] for test in recorded.values()] == [
        "passed", "passed", "skipped", "failed", "xfailed"
    ]  # fmt: skip


def test_without_a_file_to_count_in_nothing_can_be_recorded(tmp_path: Path) -> None:
    result = run(tmp_path, "--trace-record=record.json", table=None)
    assert result.returncode == 4
    assert "set VESPIARY_TRACE" in result.stderr


def test_the_plugin_alone_knows_the_marker_and_changes_nothing(tmp_path: Path) -> None:
    result = run(tmp_path, table=None)
    assert "1 failed, 2 passed, 1 skipped, 1 xfailed" in result.stdout
