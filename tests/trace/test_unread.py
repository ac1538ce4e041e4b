"""Marks and claims that a run has seen, and that reading the sources does not find, count too."""

import subprocess
from pathlib import Path

import pytest

from .test_fooling import trace, write_project

GUARD = """
from vespiary_trace import requires

def refused(kilograms):
    if negative(kilograms) and requires("fool/1/1", kilograms > 31):
        return True
    return False
"""

TEST = """
import pytest
from test_guard import refused

@pytest.mark.requirement("fool/1/1")
def test_it():
    assert refused(40)
"""

SECOND = """
def negative(kilograms):
    if must("fool/1/1", kilograms > 0):
        pass
    return True
"""

HIDDEN = {
    "a name from a dictionary": "import vespiary_trace\nmust = vars(vespiary_trace)['requires']\n",
    "a name that is computed": "import vespiary_trace as v\nmust = getattr(v, 'requires')\n",
}


def outcome(done: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    return done.returncode, done.stdout + done.stderr


def project(folder: Path, guard: str, test: str = TEST) -> None:
    write_project(folder, {"guard": guard, "it": test})


@pytest.mark.parametrize("name", HIDDEN)
def test_a_mark_that_only_the_run_has_seen_must_be_needed_too(tmp_path: Path, name: str) -> None:
    project(tmp_path, HIDDEN[name] + SECOND + GUARD)
    status, words = outcome(trace(tmp_path, "prove", "--jobs=1"))
    assert status == 1
    assert "test_guard.py:5: the mark of fool/1/1 is claimed, and no claiming test fails" in words
    status, words = outcome(trace(tmp_path, "gate"))
    assert status == 1
    assert "no claiming test fails while test_guard.py:5 is disabled" in words


def test_a_mark_of_a_file_that_no_pattern_names_counts_and_is_compared(tmp_path: Path) -> None:
    guard = "from unlisted.second import negative\n" + GUARD
    project(tmp_path, guard)
    (tmp_path / "unlisted").mkdir()
    second = tmp_path / "unlisted" / "second.py"
    text = "from vespiary_trace import requires as must\n" + SECOND
    needed = text.replace("        pass\n    return True", "        return True\n    return False")
    second.write_text(needed)
    assert trace(tmp_path, "prove", "--jobs=1").returncode == 0
    assert trace(tmp_path, "gate").returncode == 0
    second.write_text("# A comment.\n" + needed)
    assert trace(tmp_path, "gate").returncode == 0
    second.write_text(text)
    status, words = outcome(trace(tmp_path, "gate"))
    assert status == 1
    assert "the mark of fool/1/1 in negative has changed since it was proven" in words
    second.unlink()
    words = outcome(trace(tmp_path, "gate"))[1]
    assert "unlisted/second.py: 1 mark of fool/1/1 no longer exists here: restore it" in words


CLAIMS = {
    "a hook of conftest": (
        "def test_it():",
        "import pytest\ndef pytest_collection_modifyitems(items):\n"
        "    for item in items:\n        item.add_marker(pytest.mark.requirement('fool/1/1'))\n",
    ),
    "a name that is computed": (
        "import pytest\nm = getattr(pytest.mark, 'requirement')\n@m('fool/1/1')\ndef test_it():",
        "",
    ),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_that_only_the_run_has_seen_is_compared_too(tmp_path: Path, name: str) -> None:
    head, conftest = CLAIMS[name]
    test = f"from test_guard import refused\n{head}\n    assert refused(40)\n"
    project(tmp_path, GUARD.replace("negative(kilograms) and ", ""), test)
    (tmp_path / "conftest.py").write_text(conftest)
    assert trace(tmp_path, "prove", "--jobs=1").returncode == 0
    gate = outcome(trace(tmp_path, "gate"))
    assert "has changed" not in gate[1]
    (tmp_path / "test_it.py").write_text("# A comment.\n" + test)
    assert outcome(trace(tmp_path, "gate")) == gate
    (tmp_path / "test_it.py").write_text(test.replace("assert refused(40)", "pass"))
    status, words = outcome(trace(tmp_path, "gate"))
    assert status == 1
    assert "the claim of fool/1/1 in test_it has changed since it was proven" in words


def test_a_test_that_fails_with_all_marks_enabled_is_shown_with_its_error(tmp_path: Path) -> None:
    guard = GUARD.replace("negative(kilograms) and ", "")
    project(tmp_path, guard, TEST.replace("refused(40)", "refused(4), 'not refused at all'"))
    status, words = outcome(trace(tmp_path, "prove", "--jobs=1"))
    assert status == 1
    assert "test_it.py::test_it did not pass with all marks enabled: failed\n    " in words
    assert "AssertionError: not refused at all" in words


def test_a_claim_that_pytest_does_not_collect_is_a_warning(tmp_path: Path) -> None:
    guard = GUARD.replace("negative(kilograms) and ", "")
    project(tmp_path, guard, TEST.replace("def test_it", "def it_refuses"))
    words = outcome(trace(tmp_path, "prove", "--jobs=1"))[1]
    assert (
        "warning: test_it.py: 1 claim did not run, because pytest does not collect its test: check"
        " that run.pytest in trace.toml has the file" in words
    )
    (tmp_path / "test_it.py").write_text(TEST)
    assert "did not run" not in outcome(trace(tmp_path, "prove", "--jobs=1"))[1]


def test_sources_and_tests_may_be_reached_by_links(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "project"
    elsewhere.mkdir()
    folder.mkdir()
    project(folder, "def negative(_): return True\n" + GUARD)
    for name in ("test_guard.py", "test_it.py"):
        (folder / name).rename(elsewhere / name)
    (folder / "links").symlink_to(elsewhere)
    settings = folder / "trace.toml"
    settings.write_text(settings.read_text().replace('"*.py"', '"links/*.py"'))
    done = trace(folder, "prove", "--jobs=1")
    assert done.stdout.startswith("1 of 1 mark proven; 1 of 1 claim confirmed"), done.stdout
    assert trace(folder, "gate").returncode == 0
    (elsewhere / "test_it.py").write_text(TEST.replace("assert refused", "refused"))
    assert "its evidence is out of date" in trace(folder, "gate").stdout
