"""The parts of the suite: which command runs which folder of tests, and how many tests at once.

`make test` runs the folders of `QUICK` without their tests marked `slow`, `make test-all` these and
the folders of `REST`, so that neither repeats the other. A test marked `serial` measures what tests
beside it would change (memory, threads, the kernel's counters) and runs by itself. The map for
people is tests/README.md; tests/style/test_folders.py compares them.
"""

import os
import subprocess
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from steps import CHECKOUT

QUICK = ("unit", "api", "asgi", "testing", "sync", "load", "wasp", "style")
"""The folders of `make test`."""

NEED_CHECK = ("tests/style/test_built_documents.py", "tests/style/test_mistakes_in_programs.py")
"""These need the tools of `make check`, which runs them with the rest of tests/style."""

OTHER_PYTHONS = ("unit", "testing", "sync")
"""What runs whole on every other CPython, beside a part of tests/api."""

PARTS = 3
"""Into so many parts tests/api is divided for the other CPythons; each runs one of them."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of `make test-all`; `at_once` says whether its tests may run beside each other."""

    name: str
    at_once: bool


REST = (
    Folder("acceptance", at_once=True),
    Folder("browser", at_once=False),
    Folder("conformance", at_once=False),
    Folder("locks", at_once=True),
    Folder("memory", at_once=False),
    Folder("prove", at_once=False),
    Folder("suites", at_once=False),
    Folder("timewait", at_once=False),
    Folder("trace", at_once=False),
)
"""The folders of `make test-all`; tracing comes after all that it takes results from."""


def processes() -> int:
    """How many tests run at once: most of them wait for sockets, so more than processors."""
    return 3 * (os.cpu_count() or 1)


def pytest_command(python: Path, report: Path, selection: Sequence[str], count: int) -> list[str]:
    """The command that runs a selection of tests, so many at once."""
    command = [str(python), "-m", "pytest", "-q", f"--junitxml={report}", *selection]
    if count > 1:
        # What a file compiles or starts for its tests is compiled and started once. The order is
        # that of tests/conftest.py: the longest files first.
        command += [f"--numprocesses={count}", "--dist=loadfile", "--no-loadscope-reorder"]
    return command


def has_serial(paths: Sequence[str]) -> bool:
    """Whether a test below these paths is marked `serial`, or at least may be."""
    files = (file for path in paths for file in sorted((CHECKOUT / path).rglob("test_*.py")))
    return any("mark.serial" in file.read_text() for file in files)


def part_of_api(number: int) -> list[str]:
    """The files of tests/api that a CPython runs; `number` counts the other CPythons from 0.

    The commit decides: the same one has the same parts everywhere, and the next one others.
    """
    turn = commit() + number
    files = sorted((CHECKOUT / "tests" / "api").glob("test_*.py"))
    return [
        str(path.relative_to(CHECKOUT))
        for path in files
        if (zlib.crc32(path.name.encode()) + turn) % PARTS == 0
    ]


def commit() -> int:
    """The checkout's commit as a number; 0 outside a repository."""
    command = ["git", "rev-parse", "HEAD"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    return int(done.stdout.strip() or "0", 16)


def version() -> str:
    """The version of the interpreter that runs this file, as `3.11`."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"
