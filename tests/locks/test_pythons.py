"""The detector in one CPython, and a program in another.

Those that Vespiary supports and that are found on this machine get some programs each;
`VESPIARY_LOCKS_PYTHONS` may name more, parted by colons, which get all of them: CPython 3.14 and
free-threaded ones. Where it names none, `make test` says so.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.locks.conftest import PROGRAMS, Result
from tests.locks.test_mixed import OWN_GIL

CODES = {"nothing": 0, "information": 0, "inversion": 120, "deadlock": 121, "misuse": 122}
FIND = Path(__file__).parents[2] / "tools" / "find_python.sh"
SOME = [
    "mixed_gil_deadlock.py",
    "mixed_gil_gate.py",
    "mixed_interpreters.py",
    "mixed_inversion.py",
    "python_deadlock.py",
    "python_everyday.py",
]
ALL = sorted(
    path.name for pattern in ("python_", "mixed_") for path in PROGRAMS.glob(f"{pattern}*")
)


def find(what: str) -> str:
    """What tools/find_python.sh answers; empty if it finds nothing."""
    done = subprocess.run([FIND, what], stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.strip()


WANTS_REUSE = {"python_code_reborn.py"}
"""Programs that make objects take each other's place at once, as a free-threaded one does not."""

own = "{}.{}".format(*sys.version_info[:2])
others = {version: find(version) for version in find("versions").split() if version != own}
named = list(filter(None, os.environ.get("VESPIARY_LOCKS_PYTHONS", "").split(":")))
cases = [
    (python, name)
    for version, python in others.items()
    for name in SOME
    if python and not (version == "3.11" and name in OWN_GIL)
]


@cache
def is_free_threaded(python: str) -> bool:
    """Whether an interpreter has no GIL."""
    code = "import sys; print(getattr(sys, '_is_gil_enabled', lambda: True)())"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip() == "False"


cases += [
    (python, name)
    for python in named
    for name in ALL
    if not (is_free_threaded(python) and name in WANTS_REUSE)
]


@pytest.mark.parametrize(
    ("python", "name"), cases, ids=[f"{Path(python).name}-{name}" for python, name in cases]
)
def test_another_python_gets_the_same_verdicts(
    python: str,
    name: str,
    compiled: Callable[..., Path],
    watched: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NATIVE", str(compiled("native", "-shared", "-fPIC")))
    line = (PROGRAMS / name).read_text().partition("\n")[0]
    expected = re.match(r"# expect: (\w+)", line)
    assert expected is not None
    result = watched(python, PROGRAMS / name)
    if is_free_threaded(python) and name.startswith(("mixed_gil_", "mixed_three")):
        # What the GIL orders or closes is not there, and what it kept apart is not kept apart.
        kinds = {lock["kind"] for found in result.report["findings"] for lock in found["locks"]}
        assert "GIL" not in kinds
        assert (result.status == CODES["inversion"]) == (name in NATIVE_INVERSIONS), result.output
        return
    assert result.status == CODES[expected[1]], result.output
    if name in SOME and expected[1] == "deadlock":
        (found,) = result.findings("deadlock")
        for step in found["stacks"]:
            assert step["wanted_at"][-1]["function"] == "Thread._bootstrap"
            assert step["thread"].startswith("thread Thread-")


NATIVE_INVERSIONS = {"mixed_gil_gate.py", "mixed_gil_no_gate.py"}
"""Programs whose orders of mutexes alone are an inversion where there is no GIL."""
