"""The page of `vespiary prove --html`: what failed and why is seen first, and opens by a click."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import Chromium, Page
from tests.browser.conftest import CHECKOUT

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

SUITE = """
[matrix]
tools = ["plain", "memory"]
[cases.good]
clients = [{ command = "sleep 1" }]
[cases.bad]
clients = [{ command = ["sh", "-c", "echo '<b>why</b>'; exit 7"] }]
"""

FIRST = "document.querySelector('.failures li')"


@pytest.fixture(scope="module")
def report(chromium: Chromium, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page of a run of four cells, of which two failed, opened."""
    folder = tmp_path_factory.mktemp("prove")
    suite, page = folder / "suite.toml", folder / "page.html"
    suite.write_text(SUITE)
    command = [sys.executable, "-m", "vespiary", "prove", str(suite), "--html", str(page)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, timeout=100, check=False)
    assert done.returncode == 1, done.stderr
    with chromium.open(page.as_uri()) as opened:
        yield opened


def test_what_failed_and_why_stands_above_the_grid(report: Page) -> None:
    assert report.run("document.querySelector('.verdict').textContent") == "2 failed of 4 cells"
    text = report.run(f"{FIRST}.textContent")
    assert text == "bad/memory client-exit client-1 ended with 7 instead of 0"
    top = report.run(f"{FIRST}.getBoundingClientRect().top")
    assert top < report.run("document.querySelector('table.grid').getBoundingClientRect().top")


def test_the_grid_has_a_row_per_case_and_a_column_per_tool(report: Page) -> None:
    rows = "[...document.querySelectorAll('table.grid tbody tr')]"
    names = f"{rows}.map((row) => [row.cells[0].textContent, row.cells[1].className])"
    assert report.run(names) == [["bad", "failed"], ["good", "passed"]]
    heads = "[...document.querySelectorAll('table.grid thead th')].map((each) => each.textContent)"
    assert report.run(heads) == ["", "memory", "plain"]


def test_a_click_on_a_cell_opens_it_with_its_outputs_and_its_memory(report: Page) -> None:
    cell = "document.getElementById('good%2Fmemory')"
    assert report.run(f"{cell}.open") is False
    report.click("td.passed a[title='good/memory']")
    report.wait_for(f"{cell}.open")
    assert report.run(f"{cell}.querySelectorAll('figure svg path').length") > 0
    bad = "document.getElementById('bad%2Fplain')"
    assert report.run(f"{bad}.open") is True
    assert "<b>why</b>" in report.run(f"{bad}.querySelector('.finding pre').textContent")


def test_the_mark_of_a_flaky_cell_can_be_read(chromium: Chromium, tmp_path: Path) -> None:
    suite, flag, page = (tmp_path / name for name in ("suite.toml", "flag", "page.html"))
    suite.write_text(f'[cases.odd]\nclients = [{{ command = ["test", "-e", "{flag}"] }}]\n')
    options = ["--history", str(tmp_path / "history.sqlite"), "--html", str(page)]
    for is_there in (False, True, False):
        flag.touch() if is_there else flag.unlink(missing_ok=True)
        command = [sys.executable, "-m", "vespiary", "prove", str(suite), *options]
        subprocess.run(command, cwd=CHECKOUT, capture_output=True, timeout=100, check=False)
    with chromium.open(page.as_uri()) as opened:
        mark = "getComputedStyle(document.querySelector('.cell summary .flaky'))"
        assert opened.run(f"{mark}.color") != opened.run(f"{mark}.backgroundColor")
        contrast = "document.querySelector('td .flaky')"
        assert opened.run(f"{mark}.color") == opened.run(f"getComputedStyle({contrast}).color")
        plots = "document.querySelectorAll('figure[data-plot*=\"runs\"]').length"
        assert opened.run(plots) == 4


def test_nothing_was_loaded(report: Page) -> None:
    assert report.run("performance.getEntriesByType('resource').length") == 0
