"""Sources that are edited while `prove` runs: nothing is said of them, and everything else stays.

The tests here edit a file themselves, as a person might at that moment.
"""

from pathlib import Path

import pytest

from .test_fooling import trace, write_project

CODE = """
from vespiary_trace import requires

def refused(kilograms):
    if requires("fool/1/1", kilograms > 31):
        return True
    return False
"""

OTHER = """
from vespiary_trace import requires

def is_late(days):
    if requires("fool/2/1", days > 3):
        return True
    return False
"""

TEST = """
import pytest
from test_code import refused

@pytest.mark.requirement("fool/1/1")
def test_it():
    assert refused(40)
"""

TEST_OF_OTHER = """
import os
from pathlib import Path
import pytest
from test_other import is_late

def write(name, before, after):
    path = Path(__file__).with_name(name)
    path.write_text(path.read_text().replace(before, after))

@pytest.mark.requirement("fool/2/1")
def test_it():
    EDIT
    assert is_late(4)
"""


def project(folder: Path, edit: str) -> None:
    write_project(
        folder,
        {
            "code": CODE,
            "other": OTHER,
            "it": TEST,
            "of_other": TEST_OF_OTHER.replace("EDIT", edit),
        },
    )
    (folder / "plain.py").write_text("LIMIT = 31\n")


def edits(before: str, after: str, name: str = "test_code.py") -> str:
    return f"write({name!r}, {before!r}, {after!r})"


UNDONE = """if "40" in Path(__file__).with_name("test_it.py").read_text():
        write("test_code.py", "31", "30")
        write("test_code.py", "30", "31")"""


@pytest.mark.parametrize(
    ("edit", "name"),
    [
        (edits("kilograms > 31", "kilograms > 30"), "test_code.py"),
        (edits("assert refused(40)", "assert refused(41)", "test_it.py"), "test_it.py"),
        (edits("\n\ndef", "\n\n# A comment.\ndef"), "test_code.py"),
        (UNDONE, "test_code.py"),
        ("Path(__file__).with_name('test_code.py').unlink(missing_ok=True)", "test_code.py"),
    ],
    ids=["a mark", "a claim", "a comment", "an edit that was undone", "a file that was removed"],
)
def test_nothing_is_written_of_what_was_edited_during_the_run(
    tmp_path: Path, edit: str, name: str
) -> None:
    project(tmp_path, edit)
    done = trace(tmp_path, "prove", "--jobs=1")
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{name} changed while the tests ran" in done.stdout
    assert "the evidence of 1 requirement was not written" in done.stdout
    assert "run vespiary trace prove --only fool/1/1" in done.stdout
    told = trace(tmp_path, "gate")
    assert told.returncode == 1
    assert "fool/1/1" in told.stdout
    assert "fool/2/1" not in told.stdout


def test_a_source_without_marks_may_be_imported_by_every_test(tmp_path: Path) -> None:
    project(tmp_path, edits("31", "32", "plain.py"))
    done = trace(tmp_path, "prove", "--jobs=1")
    assert done.returncode == 1
    assert "plain.py changed while the tests ran" in done.stdout
    assert "the evidence of 2 requirements was not written" in done.stdout
    assert trace(tmp_path, "gate").returncode == 1
    assert trace(tmp_path, "prove", "--jobs=1").returncode == 0
    assert trace(tmp_path, "gate").returncode == 0


def test_an_old_proof_is_not_kept_in_place_of_one_that_was_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(tmp_path, "if os.environ.get('EDIT'): " + edits("31", "32", "plain.py"))
    assert trace(tmp_path, "prove", "--jobs=1").returncode == 0
    assert trace(tmp_path, "gate").returncode == 0
    monkeypatch.setenv("EDIT", "1")
    done = trace(tmp_path, "prove", "--jobs=1", "--only=fool/2/1")
    assert done.returncode == 1
    assert "plain.py changed while the tests ran" in done.stdout
    told = trace(tmp_path, "gate")
    assert "fool/2/1" in told.stdout
    assert "fool/1/1" not in told.stdout


def test_files_that_only_appear_during_the_run_are_not_edits(tmp_path: Path) -> None:
    project(tmp_path, "Path(__file__).with_name('new.py').write_text('x = 1')")
    assert trace(tmp_path, "prove", "--jobs=1").returncode == 0
    assert trace(tmp_path, "gate").returncode == 0
