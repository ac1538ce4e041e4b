"""The page for a browser: whole, within itself, and safe from what a program is called."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.locks.conftest import PROGRAMS, Result
from vespiary.prove.locks.findings import Finding, LockStory, Step
from vespiary.prove.locks.known import Known
from vespiary.prove.locks.outcome import Coverage, Outcome
from vespiary.prove.locks.page import as_html
from vespiary.prove.locks.places import Frame
from vespiary.prove.locks.statistics import Group, Place, Span, Spread, Statistics, Use

HOSTILE = "</script></title></style><script>alert(1)</script><img src=x onerror='alert(2)'>\"&'"


class Page(HTMLParser):
    """What a browser would make of a page: its elements, attributes and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self._within = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs
        self._within = tag

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        (self.scripts if self._within == "script" else self.texts).append(data)


def hostile_outcome(source: Path) -> Outcome:
    """An outcome in which everything that comes from a program is hostile."""
    frames = [Frame(HOSTILE, HOSTILE, str(source), 2), Frame(HOSTILE, HOSTILE, HOSTILE, 1)]
    lock = LockStory(HOSTILE, HOSTILE, frames, is_made=True)
    steps = [Step(HOSTILE, HOSTILE, frames, HOSTILE, frames, held_stack=frames) for _ in range(2)]
    finding = Finding("inversion", HOSTILE, HOSTILE, 1, [lock], steps)
    spread = Spread(10, 20_000_000, 2_000_000, 1, 1, 1)
    place = Place(frames, 1, 1, 1)
    group = Group(
        name=HOSTILE,
        process=1,
        locks=1,
        kind=HOSTILE,
        made=frames,
        acquisitions=10,
        contended=10,
        failed=1,
        wait=spread,
        hold=spread,
        queue_max=3,
        uses=[Use(HOSTILE, 1, 1, 1)],
        waits_at=[place],
        holds_at=[place],
        spans=[Span(0, True, 0, 10)],
    )
    figures = Statistics(1, 1, 100, [group], [group], 5, {0: HOSTILE})
    coverage = Coverage(processes=1, outlived=[HOSTILE])
    coverage.lockless[HOSTILE] += 1
    return Outcome(0, False, [finding], coverage, statistics=[figures])


def test_everything_from_the_program_is_text_and_never_markup(tmp_path: Path) -> None:
    source = tmp_path / "source.c"
    source.write_text(f"one\n{HOSTILE}\nthree\n")
    outcome = hostile_outcome(source)
    text = as_html(outcome, Known(outcome.findings, [], [], []), ["run", HOSTILE])
    page = Page(text)
    # One script of data, and the page's own.
    assert page.elements.count("script") == 2
    assert "img" not in page.elements
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "style"]
    assert not [value for _, value in page.attributes if value and value.startswith("javascript")]
    data, script = page.scripts
    assert json.loads(data)["locks"][0]["name"] == HOSTILE
    assert "alert" not in script
    # The line of source is shown as it is.
    assert HOSTILE in page.texts
    assert "alert(1)" not in re.sub(r"&lt;script&gt;alert\(1\)|\\u003cscript>alert\(1\)", "", text)


def test_the_page_loads_nothing_and_lets_only_its_own_script_run(tmp_path: Path) -> None:
    source = tmp_path / "source.c"
    outcome = hostile_outcome(source)
    page = Page(as_html(outcome, Known(outcome.findings, [], [], []), ["run"]))
    names = {name for name, _ in page.attributes}
    assert not names & {"src", "href", "action", "formaction", "srcset", "data"}
    policy = next(value for name, value in page.attributes if name == "content")
    assert policy is not None
    assert "default-src 'none'" in policy
    assert re.search(r"script-src 'sha256-[\w+/]{43}='", policy)


def test_a_finding_has_its_circle_both_stacks_of_each_order_and_source_with_context(
    watched: Callable[..., Result], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    program = PROGRAMS / "python_two_orders.py"
    result = watched(sys.executable, program, options=["--full", "--html", page])
    text = page.read_text()
    found = Page(text)
    (finding,) = result.findings("inversion")
    assert finding["signature"] in text
    assert text.count('class="arrow"') == 4  # Two in each drawing: for wide and narrow screens.
    # Held and wanted, of two threads.
    assert text.count('<p class="side-title">holds') == 2
    assert text.count('<p class="side-title">and wants') == 2
    assert text.count('class="hit"') >= 4
    for line in ("        pass", "    b.acquire()", "    a.acquire(blocking=True)"):
        assert line in found.texts
    assert "What to change:" in text
    assert "Every acquisition" in text


@pytest.mark.parametrize(
    ("program", "verdict"), [("one_order", "Nothing found"), ("without_locks", "nothing can be")]
)
def test_a_run_without_findings_says_what_that_means(
    program: str,
    verdict: str,
    compiled: Callable[..., Path],
    watched: Callable[..., Result],
    tmp_path: Path,
) -> None:
    page = tmp_path / "page.html"
    watched(compiled(program), options=["--html", page])
    assert verdict in page.read_text()
    # The fast mode has no figures.
    assert "Every acquisition" not in page.read_text()


def test_what_is_known_already_is_behind_a_fold(
    compiled: Callable[..., Path], watched: Callable[..., Result], tmp_path: Path
) -> None:
    page, suppressions = tmp_path / "page.html", tmp_path / "suppress.toml"
    suppressions.write_text('[[suppress]]\nreason = "since <long>"\nstack = ["*:b_then_a"]\n')
    options = ["--html", page, "--suppress", suppressions]
    assert watched(compiled("two_orders"), options=options).status == 0
    text = page.read_text()
    assert "<summary>1 suppressed</summary>" in text
    assert "since &lt;long&gt;" in text
    assert "<article>" not in text


def test_of_many_processes_the_busiest_have_their_tables_and_the_others_a_line(
    tmp_path: Path,
) -> None:
    outcome = hostile_outcome(tmp_path / "source.c")
    (figures,) = outcome.statistics
    outcome.statistics = [replace(figures, process=number) for number in range(30)]
    text = as_html(outcome, Known([], [], [], []), ["run"])
    assert text.count("<h3>Process ") == 8
    assert "22 more processes" in text
    assert text.count('class="timeline"') == 8


def test_what_a_thread_did_to_a_lock_is_reported_as_that_and_as_no_order(
    compiled: Callable[..., Path], watched: Callable[..., Result], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    result = watched(compiled("foreign_unlock"), options=["--html", page])
    assert result.status == 122
    assert ", with mutex L0 a, at" in result.output
    assert "and wants" not in page.read_text()
    assert "foreign_unlock.c" in page.read_text()
