"""The page of `vespiary locks --html`, as somebody uses it: sorted, filtered, wide and narrow."""

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.browser.chromium import Chromium, Page
from tests.browser.conftest import CHECKOUT

pytestmark = pytest.mark.acceptance

PROGRAM = """
import threading, time
busy = threading.Lock()
idle = threading.Lock()
other = threading.Lock()
def work():
    for _ in range(15):
        with busy:
            time.sleep(0.001)
    with idle: pass
def turn():
    with idle, other: pass
def back():
    with other, idle: pass
for batch in ([work] * 3, [turn, lambda: (time.sleep(0.1), back())]):
    threads = [threading.Thread(target=body) for body in batch]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
"""

FIRST = "document.querySelector('table.sorted tbody')"
NAMES = f"[...{FIRST}.rows].filter((row) => !row.hidden).map((row) => row.cells[0].textContent)"


@pytest.fixture(scope="module")
def report(chromium: Chromium, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page of a run with an inversion and a queue, opened."""
    folder = tmp_path_factory.mktemp("locks")
    program, page = folder / "program.py", folder / "page.html"
    program.write_text(PROGRAM)
    verb = [sys.executable, "-m", "vespiary", "locks", "--full", "--html", str(page), "--"]
    words = [*verb, sys.executable, str(program)]
    done = subprocess.run(words, cwd=CHECKOUT, capture_output=True, timeout=100, check=False)
    assert done.returncode == 120, done.stderr
    with chromium.open(page.as_uri()) as opened:
        yield opened


def test_the_inversion_comes_first_with_its_circle(report: Page) -> None:
    order = "one.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING"
    assert report.run(
        "((one, other) => Boolean("
        + order
        + "))(document.querySelector('article svg.circle'), document.querySelector('table'))"
    )
    assert report.run("document.querySelector('.verdict').textContent") == "1 inversion"


def test_nothing_was_loaded_and_nothing_was_refused(report: Page) -> None:
    assert report.run("performance.getEntriesByType('resource').length") == 0
    # The style and the script are let through by their hashes.
    assert report.run("getComputedStyle(document.querySelector('.badge')).textTransform") == (
        "uppercase"
    )
    assert report.run("document.querySelectorAll('th button').length") > 5


def test_a_click_on_a_heading_sorts_by_it_and_a_second_one_the_other_way(report: Page) -> None:
    heading = "table.sorted thead th:nth-child(2) button"
    values = f"[...{FIRST}.rows].map((row) => Number(row.cells[1].dataset.value))"
    report.run(f"document.querySelector('{heading}').scrollIntoView()")
    report.click(heading)
    down = report.run(values)
    assert down == sorted(down, reverse=True)
    assert len(set(down)) > 2
    report.click(heading)
    assert report.run(values) == sorted(down)
    assert report.run(f"document.querySelector('{heading}').parentNode.ariaSort") == "ascending"


def test_the_filter_leaves_the_locks_that_have_all_its_words(report: Page) -> None:
    every = len(report.run(NAMES))
    report.run("document.querySelector('input[type=search]').scrollIntoView()")
    report.click("input[type=search]")
    report.write("python BUSY work")
    left = report.run(NAMES)
    assert len(left) == 1
    assert "busy" in left[0]
    count = "document.querySelector('input[type=search]').nextElementSibling.textContent"
    assert report.run(count) == f"1 of {every}"
    report.run("document.querySelector('input[type=search]').select()")
    report.write(" ")
    assert len(report.run(NAMES)) == every


def test_the_time_line_shows_threads_of_a_lock_and_locks_of_a_thread(report: Page) -> None:
    choose = (
        "((kind) => { const select = document.querySelector('select');"
        " const option = [...select.options].find((one) => one.value.startsWith(kind)"
        " && (kind === 'thread' || one.textContent.includes('busy')));"
        " select.value = option.value; select.dispatchEvent(new Event('change'));"
        " return [...document.querySelectorAll('svg.timeline .name')].map((n) => n.textContent);"
        " })"
    )
    rows = report.call(choose, "lock")
    assert len(rows) == 3
    assert all(row.startswith("thread ") for row in rows)
    assert report.run("document.querySelectorAll('svg.timeline rect.wait').length") > 0
    assert report.run("document.querySelector('svg.timeline rect.hold title').textContent")
    rows = report.call(choose, "thread")
    assert rows
    assert all(re.search("lock|mutex|GIL", row, re.IGNORECASE) for row in rows)


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_a_narrow_and_a_wide_window(width: int, report: Page) -> None:
    report.resize(width, 800)
    report.wait_for(f"innerWidth === {width}")
    wide = (
        f"[...document.querySelectorAll('body *')].filter((e) => !e.closest('.scroll, .drawing,"
        f" .source, svg') && e.getBoundingClientRect().right > {width}).map((e) => e.outerHTML)"
    )
    assert report.run(wide) == []
    assert report.run("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("width", "shown"), [(360, "narrow"), (1280, "wide")])
def test_the_circle_can_be_read_on_every_width(width: int, shown: str, report: Page) -> None:
    report.resize(width, 800)
    report.wait_for(f"innerWidth === {width}")
    visible = "[...document.querySelectorAll('svg.circle')].filter((e) => e.clientWidth > 0)"
    assert report.run(f"{visible}.map((e) => e.classList[1])") == [shown]
    # The height of its letters on the screen, in pixels.
    size = "parseFloat(getComputedStyle(e.querySelector('.lock-label')).fontSize)"
    scale = "e.getBoundingClientRect().width / e.viewBox.baseVal.width"
    assert report.run(f"((e) => {size} * {scale})({visible}[0])") >= 12
    assert report.run("((e) => e.scrollWidth <= e.clientWidth)(document.querySelector('.drawing'))")


def test_a_dark_page_is_dark(report: Page) -> None:
    light = "matchMedia('(prefers-color-scheme: dark)').matches"
    assert report.run(light) is False
    report.prefer("dark")
    ground = report.run("getComputedStyle(document.body).backgroundColor")
    report.prefer("light")
    assert ground == "rgb(22, 24, 28)"
    assert report.run("getComputedStyle(document.body).backgroundColor") == "rgb(251, 250, 248)"


def test_the_page_is_small(report: Page) -> None:
    assert report.run("document.documentElement.outerHTML.length") < 600_000
