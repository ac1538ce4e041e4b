"""Every folder of tests is on the map (tests/README.md), and one command runs it."""

import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import LONGEST

TESTS = Path(__file__).resolve().parents[1]
ROW = re.compile(r"^\| `([a-z]+)` \| \S.{9,} \| `make (test|test-all)`", re.M)


def folders() -> set[str]:
    """The folders that have tests."""
    return {path.relative_to(TESTS).parts[0] for path in TESTS.glob("*/**/test_*.py")}


def commands() -> dict[str, str]:
    """The command that runs each folder, as the tools have it."""
    code = "import suite; print(*suite.QUICK); print(*(folder.name for folder in suite.REST))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=TESTS.parent / "tools",
        capture_output=True,
        text=True,
        check=True,
    )
    quick, rest = (line.split() for line in done.stdout.splitlines())
    assert not set(quick) & set(rest)
    return {**dict.fromkeys(quick, "test"), **dict.fromkeys(rest, "test-all")}


def test_every_folder_is_on_the_map_with_the_command_that_runs_it() -> None:
    rows = ROW.findall((TESTS / "README.md").read_text())
    assert len(rows) == len(dict(rows)), "a folder is on the map twice"
    assert dict(rows) == commands()
    assert set(commands()) == folders()


def test_the_longest_files_are_there() -> None:
    assert [name for name in LONGEST if not (TESTS / name).is_file()] == []


def test_the_parts_of_the_api_tests_are_fair_and_whole() -> None:
    code = "import suite\nfor number in range(suite.PARTS): print(*suite.part_of_api(number))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=TESTS.parent / "tools",
        capture_output=True,
        text=True,
        check=True,
    )
    parts = [line.split() for line in done.stdout.splitlines()]
    files = sorted(f"tests/api/{path.name}" for path in (TESTS / "api").glob("test_*.py"))
    assert sorted(name for part in parts for name in part) == files
    assert all(len(part) > len(files) / len(parts) / 2 for part in parts)
