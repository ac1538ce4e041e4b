"""For each tool a planted defect is found for the right reason, and its repaired twin passes.

VESPIARY_DEFECT_RUNS=10 runs all of them so many times (make nightly), with another seed each time.
"""

import os
import shutil
from pathlib import Path

import pytest

from tests.prove.conftest import Run, prove

RUNS = int(os.environ.get("VESPIARY_DEFECT_RUNS", "1"))

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(300 * RUNS)]

DEFECTS = {
    "inversion/locks": ("inversion", "2 threads take 2 locks in orders that can deadlock"),
    "leak/memory": ("memory-growth", "server: memory grows by"),
    "hang/plain": ("stop-timeout", "did not end within 4 s after SIGTERM"),
    "fragments/plain": ("client-exit", "client-1 ended with 1 instead of 0"),
    "descriptors/plain": ("descriptors", "40 descriptors more than before its clients"),
    "time-wait/timewait": ("alarm", "time_wait > 100: time_wait is "),
    "crash/plain": ("stop-exit", "ended with 139 (SIGSEGV) instead of 0"),
    "child/plain": ("left-behind", "1 process outlived the server's stop"),
}
"""Cell: what must be found, and what its text has."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """All of them, with and without their defects; so many times."""
    folder = tmp_path_factory.mktemp("defects")
    here = Path(__file__).parent
    shutil.copy(here / "defects.toml", folder)
    shutil.copytree(here / "programs", folder / "programs")
    return [prove(folder / "defects.toml", "--jobs", "2") for _ in range(RUNS)]


@pytest.mark.parametrize("name", DEFECTS)
def test_a_planted_defect_is_found_for_the_right_reason(name: str, runs: list[Run]) -> None:
    kind, text = DEFECTS[name]
    for run in runs:
        cell = run.cell(name)
        assert [finding["kind"] for finding in cell["findings"]] == [kind], cell["findings"]
        assert text in cell["findings"][0]["text"]
        assert cell["outcome"] == "failed"


@pytest.mark.parametrize("name", DEFECTS)
def test_the_repaired_twin_passes(name: str, runs: list[Run]) -> None:
    case, tool = name.split("/")
    for run in runs:
        cell = run.cell(f"{case}-repaired/{tool}")
        assert cell["outcome"] == "passed", cell["findings"]


def test_the_run_fails_and_says_how_to_repeat_it(runs: list[Run]) -> None:
    assert len(runs) == RUNS
    for run in runs:
        assert run.code == 1
        assert f"16 cells: 8 passed, 8 failed ({run.report['seconds']:.0f} s)" in run.output
        assert f"--seed {run.report['seed']} repeats it" in run.output
