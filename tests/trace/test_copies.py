"""A package that is installed as a copy: its tests never execute the marks of the project."""

import shutil
from pathlib import Path

import pytest

from .test_fooling import trace

GUARD = """
from vespiary_trace import requires

def refused(kilograms):
    return requires("parcel/1/1", kilograms > 31)
"""

TEST = """
import pytest
from parcel.guard import refused

@pytest.mark.requirement("parcel/1/1")
def test_it():
    assert refused(40)
    assert not refused(4)
"""

OTHER = """
from vespiary_trace import requires

def empty(text):
    return requires("parcel/1/2", not text)
"""

OTHER_TEST = """
import pytest
from letter import empty

@pytest.mark.requirement("parcel/1/2")
def test_it():
    assert empty("")
    assert not empty("a")
"""

SETTINGS = """
[sources]
python = ["src/**/*.py", "test_*.py", "letter.py"]
[run]
pytest = ["."]
path = ["installed"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose tests import its package from the folder `installed`."""
    package = tmp_path / "src" / "parcel"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "guard.py").write_text(GUARD)
    (tmp_path / "test_guard.py").write_text(TEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "trace.toml").write_text(SETTINGS)
    (tmp_path / "requirements").mkdir()
    tables = [f'[[requirement]]\nid = "parcel/1/{n}"\nlevel = "MUST"\n' for n in (1, 2)]
    (tmp_path / "requirements" / "parcel.toml").write_text("\n".join(tables))
    shutil.copytree(tmp_path / "src", tmp_path / "installed")
    return tmp_path


def words_of(project: Path) -> str:
    copy = project / "installed" / "parcel" / "guard.py"
    return (
        f"the tests import parcel.guard from {copy}, so they never execute the marks in"
        " src/parcel/guard.py: install the project with pip install --editable, or add path ="
        ' ["src"] below [run] in trace.toml'
    )


@pytest.mark.parametrize("is_namespace", [False, True])
def test_tests_of_a_copy_are_refused_with_its_place(project: Path, is_namespace: bool) -> None:
    if is_namespace:
        for folder in ("src", "installed"):
            (project / folder / "parcel" / "__init__.py").unlink()
    done = trace(project, "prove", "--jobs=1")
    assert done.returncode == 2, done.stdout + done.stderr
    assert words_of(project) in done.stderr
    assert not (project / ".cache").exists()


def test_a_copy_beside_marks_that_are_executed_is_a_warning(project: Path) -> None:
    (project / "letter.py").write_text(OTHER)
    (project / "test_letter.py").write_text(OTHER_TEST)
    done = trace(project, "prove", "--jobs=1")
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"warning: {words_of(project)}" in done.stdout
    assert "src/parcel/guard.py:5: the mark of parcel/1/1 is claimed, and no" in done.stdout
    assert "letter.py:5" not in done.stdout
    assert "add one" not in done.stdout


def test_the_advice_is_right(project: Path) -> None:
    settings = SETTINGS.replace('path = ["installed"]', 'path = ["src"]')
    (project / "trace.toml").write_text(settings)
    done = trace(project, "prove", "--jobs=1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the tests import" not in done.stdout
