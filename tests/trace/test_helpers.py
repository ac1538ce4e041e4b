"""Evidence is out of date when what a claiming test uses of other files has changed."""

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

TEST = """
from checks import check

def test_it(kilograms):
    check(kilograms)
"""

CHECKS = """
from test_code import refused

def check(kilograms):
    assert refused(kilograms)
"""

CONFTEST = """
import pytest

@pytest.fixture
def kilograms():
    return 40

def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.requirement("fool/1/1"))
"""
"""The claim is of those that only a run sees, unless the test has it itself."""

HEAD = '\nimport pytest\npytestmark = pytest.mark.requirement("fool/1/1")\n'


@pytest.mark.parametrize("is_read", [True, False])
def test_a_helper_or_fixture_in_another_file_is_a_part_of_the_evidence(
    tmp_path: Path, *, is_read: bool
) -> None:
    write_project(tmp_path, {"code": CODE, "it": (HEAD if is_read else "") + TEST})
    tests = tmp_path / "tests"
    tests.mkdir()
    (tmp_path / "test_it.py").rename(tests / "test_it.py")
    (tests / "checks.py").write_text(CHECKS)
    conftest = CONFTEST.partition("def pytest_coll")[0] if is_read else CONFTEST
    (tests / "conftest.py").write_text(conftest)
    settings = tmp_path / "trace.toml"
    settings.write_text(settings.read_text().replace('"*.py"', '"*.py", "tests/*.py"'))
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = . tests\n")
    done = trace(tmp_path, "prove", "--jobs=1")
    assert done.stdout.startswith("1 of 1 mark proven; 1 of 1 claim confirmed"), done.stdout
    assert trace(tmp_path, "gate").returncode == 0
    for name, text, before, after in (
        ("checks.py", CHECKS, "    assert refused", "    refused"),
        ("conftest.py", conftest, "return 40", "return 4"),
    ):
        (tests / name).write_text(text.replace(before, after))
        told = trace(tmp_path, "gate")
        assert told.returncode == 1
        assert "its evidence is out of date" in told.stdout
        (tests / name).write_text(f"# A comment.\n{text}")
        assert trace(tmp_path, "gate").returncode == 0
