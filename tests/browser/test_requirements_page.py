"""The page of `vespiary trace report` as a reviewer uses it, from a file, without a server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.browser.chromium import Chromium, Page
from tests.browser.conftest import CHECKOUT
from vespiary.cli.main import main

pytestmark = pytest.mark.acceptance

CATALOGUE = """\
[[requirement]]
id = "nest/1/1"
level = "MUST"
role = ["client"]
says = "A wasp knocks."
why = "Fear."

[[requirement]]
id = "nest/1/2"
level = "SHOULD"
role = ["server"]
says = "A guard answers."
excluded = "There is no guard."
"""


@pytest.fixture
def page(chromium: Chromium, tmp_path: Path) -> Iterator[Page]:
    """The report on two requirements."""
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "nest.toml").write_text(CATALOGUE)
    (tmp_path / "trace.toml").write_text('[sources]\nrust = ["*.rs"]\n')
    (tmp_path / "a.rs").write_text('fn f() -> bool { requires!("nest/1/1" => x) }\n')
    path = tmp_path / "page.html"
    config = ["--config", str(tmp_path / "trace.toml"), "--html", str(path)]
    assert CliRunner().invoke(main, ["trace", "report", *config]).exit_code == 0
    with chromium.open(path.as_uri()) as opened:
        yield opened


def shown(page: Page) -> list[str]:
    """The requirements that can be seen."""
    ids: list[str] = page.run(
        "[...document.querySelectorAll('#requirements details')]"
        ".filter((one) => one.checkVisibility()).map((one) => one.id)"
    )
    return ids


def choose(page: Page, name: str, value: str) -> None:
    page.run(
        f"(() => {{ const one = document.querySelector('[name={name}]'); one.value = '{value}';"
        " one.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


def test_everything_is_shown_and_counted_at_first(page: Page) -> None:
    assert shown(page) == ["nest/1/1", "nest/1/2"]
    assert page.run("document.querySelector('output').value") == "2 of 2 requirements"


@pytest.mark.parametrize(
    ("name", "value", "left"),
    [
        ("status", "excluded", ["nest/1/2"]),
        ("status", "proven", []),
        ("level", "MUST", ["nest/1/1"]),
        ("role", "server", ["nest/1/2"]),
        ("why", "missing", ["nest/1/2"]),
        ("specification", "nest", ["nest/1/1", "nest/1/2"]),
    ],
)
def test_each_filter_leaves_what_it_names(
    page: Page, name: str, value: str, left: list[str]
) -> None:
    choose(page, name, value)
    assert shown(page) == left
    choose(page, name, "")
    assert len(shown(page)) == 2


def test_the_search_looks_into_what_is_folded_and_wants_every_word(page: Page) -> None:
    page.click("[name=text]")
    page.write("no  GUARD")
    assert shown(page) == ["nest/1/2"]
    page.write(" wasp")
    assert shown(page) == []
    page.click("button[type=reset]")
    page.wait_for("document.querySelector('output').value.startsWith('2 of 2')")


def test_a_requirement_opens_with_the_keyboard_and_by_its_address(page: Page) -> None:
    page.run("document.querySelector('summary').focus()")
    assert page.run("document.activeElement.parentElement.id") == "nest/1/1"
    page.run("location.hash = '#nest/1/2'")
    page.wait_for("document.getElementById('nest/1/2').open")


def test_the_page_fits_a_phone_also_where_a_problem_has_long_words(
    chromium: Chromium, tmp_path: Path
) -> None:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "nest.toml").write_text(CATALOGUE)
    (tmp_path / "trace.toml").write_text('[sources]\nrust = ["*.rs"]\n')
    unknown = f'fn {80 * "f"}() -> bool {{ requires!("nest/1/{80 * "1"}" => x) }}\n'
    (tmp_path / f"{80 * 'a'}.rs").write_text(unknown)
    path = tmp_path / "page.html"
    config = ["--config", str(tmp_path / "trace.toml"), "--html", str(path)]
    CliRunner().invoke(main, ["trace", "report", *config])
    with chromium.open(path.as_uri()) as page:
        page.resize(390, 844)
        assert page.run("document.documentElement.scrollWidth") <= 390


def test_every_field_has_a_label(page: Page) -> None:
    fields = "[...document.forms[0].elements].filter((it) => it.matches('input, select'))"
    assert page.run(f"{fields}.every((it) => it.labels.length === 1)")
    assert page.run(f"{fields}.length") == 6


def test_the_page_is_whole_without_its_script() -> None:
    """What stands in the file is the report; the script hides, and adds nothing."""
    text = (CHECKOUT / "src/vespiary/prove/trace/page_parts.py").read_text()
    assert "innerHTML" not in text
    assert "fetch(" not in text


def test_a_total_shows_the_requirements_that_it_counts(page: Page) -> None:
    page.run("document.querySelector('#totals button[value=excluded]').click()")
    assert shown(page) == ["nest/1/2"]
    assert page.run("document.querySelector('[name=status]').value") == "excluded"
