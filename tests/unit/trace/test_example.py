"""The example of docs/how-to/trace.md: two requirements, two passing tests, one of them empty."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.inner_pytest import environment, pytest_words

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "traced_project"
SECONDS = 200


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns(".cache", "__pycache__")
    return shutil.copytree(EXAMPLE, tmp_path / "project", ignore=ignored)


def trace(folder: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "vespiary", "trace", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_catalogue_is_that_of_the_specification(folder: Path) -> None:
    status, said = trace(folder, "extract", "parcel", "--text", "parcel-protocol.txt", "--check")
    assert (status, "2 requirements: 2 kept" in said) == (0, True), said
    assert trace(folder, "scan", "--strict")[0] == 0
    assert trace(folder, "why", "--missing")[1].startswith("parcel/2/2")


def test_both_tests_pass_without_a_trace(folder: Path) -> None:
    command = pytest_words("vespiary.prove.trace.marker")
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert "2 passed" in done.stdout


@pytest.mark.timeout(3 * SECONDS)
def test_the_test_that_shows_nothing_is_caught_until_it_is_repaired(folder: Path) -> None:
    status, said = trace(folder, "prove")
    assert status == 1
    assert "test_a_heavy_parcel_is_refused claims parcel/2/2, but passes while" in said
    status, said = trace(folder, "gate")
    assert status == 1
    assert "parcel/2/2 MUST (A parcel of more than 31 kg is refused.) is executed" in said
    assert "parcel/2/1" not in said
    test = folder / "test_parcel.py"
    empty = '[refusal(Parcel("", 1)), refusal(Parcel("The hive", 40))]'
    assert empty in test.read_text()
    test.write_text(test.read_text().replace(empty, '[refusal(Parcel("The hive", 40))]'))
    status, said = trace(folder, "prove")
    assert status == 0, said
    assert trace(folder, "gate") == (0, "every requirement passes its gate\n")
