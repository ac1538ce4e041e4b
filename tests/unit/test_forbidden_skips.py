import shutil
import subprocess
from pathlib import Path

import pytest

from tests.inner_pytest import environment, pytest_words

SUITE = """\
import pytest

def test_passes():
    pass

@pytest.mark.skip(reason="no such thing here")
def test_skips():
    pass

@pytest.mark.xfail(reason="known", strict=True)
def test_fails_as_expected():
    assert False
"""
MODULE = "import pytest\npytest.skip('not on this machine', allow_module_level=True)\n"


def run(
    folder: Path, suite: str, forbid: str, path: str = "test_it.py"
) -> subprocess.CompletedProcess[str]:
    """Run a suite of its own under the conftest of this one."""
    conftest = Path(__file__).resolve().parents[1] / "conftest.py"
    shutil.copy(conftest, folder / "conftest.py")
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(suite)
    return subprocess.run(
        [*pytest_words("pytest_timeout"), str(folder)],
        cwd=folder,
        env=environment(VESPIARY_FORBID_SKIPS=forbid),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_skip_passes_where_skipping_is_allowed(tmp_path: Path) -> None:
    done = run(tmp_path, SUITE, "0")
    assert "1 passed, 1 skipped, 1 xfailed" in done.stdout
    assert done.returncode == 0


def test_a_skip_fails_with_its_reason_where_skipping_is_forbidden(tmp_path: Path) -> None:
    done = run(tmp_path, SUITE, "1")
    assert "test_skips did not run, and skipping is forbidden here" in done.stdout
    assert "no such thing here" in done.stdout
    assert "1 passed, 1 xfailed, 1 error" in done.stdout
    assert done.returncode == 1


@pytest.mark.parametrize(("forbid", "status"), [("0", 5), ("1", 2)])
def test_a_module_that_skips_itself_fails_where_skipping_is_forbidden(
    tmp_path: Path, forbid: str, status: int
) -> None:
    done = run(tmp_path, MODULE, forbid)
    assert done.returncode == status
    assert ("test_it.py did not run" in done.stdout) == (forbid == "1")
    assert "not on this machine" in done.stdout or forbid == "0"


@pytest.mark.parametrize(
    ("reason", "status"), [("no CPython 2.7 with pip on this machine", 0), ("no time today", 1)]
)
def test_an_allowed_skip_passes_for_its_own_reason_only(
    tmp_path: Path, reason: str, status: int
) -> None:
    suite = f"import pytest\n\ndef test_our_cases():\n    pytest.skip({reason!r})\n"
    done = run(tmp_path, suite, "1", "tests/conformance/test_autobahn.py")
    assert done.returncode == status, done.stdout
