"""Python's locks, native ones and the GIL in one graph: the programs `mixed_*.py`.

Their first lines say what is to be found, and of which kinds of locks.
"""

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.locks.conftest import PROGRAMS, Result

CODES = {"nothing": 0, "inversion": 120, "deadlock": 121}


@pytest.fixture(autouse=True)
def native(compiled: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The library of mutexes that the programs load."""
    monkeypatch.setenv("NATIVE", str(compiled("native", "-shared", "-fPIC")))


OWN_GIL = {"mixed_interpreters.py"}
"""For Python 3.12 and later (tests/locks/test_pythons.py): in 3.11 interpreters made by threads may
wait for each other, watched or not."""

programs = [
    path
    for path in sorted(PROGRAMS.glob("mixed_*.py"))
    if sys.version_info >= (3, 12) or path.name not in OWN_GIL
]


@pytest.mark.parametrize("program", programs, ids=lambda path: path.name)
def test_a_mixed_program_gets_its_verdict(program: Path, watched: Callable[..., Result]) -> None:
    line = program.read_text().partition("\n")[0]
    expected = re.fullmatch(r"# expect: (\w+)(?: of (.+))?", line)
    assert expected is not None
    verdict, kinds = expected[1], expected[2]
    result = watched(sys.executable, program)
    assert result.status == CODES[verdict], result.output
    if verdict == "nothing":
        assert not result.kinds - {"information"}, result.output
        return
    (found,) = result.findings(verdict)
    assert sorted(lock["kind"] for lock in found["locks"]) == sorted(kinds.split(", "))
    assert len(found["threads"]) == len(found["stacks"]) == len(found["locks"])


def test_stacks_hold_python_and_native_frames_in_their_order(
    watched: Callable[..., Result],
) -> None:
    result = watched(sys.executable, PROGRAMS / "mixed_deadlock.py")
    (found,) = result.findings("deadlock")
    stacks = {step["thread"].split(" (")[0]: step for step in found["stacks"]}
    wanted = {
        name: [frame["function"] for frame in step["wanted_at"]] for name, step in stacks.items()
    }
    # The one holds a Python lock and wants a mutex; the other, called back, the reverse.
    assert wanted["thread Thread-1"][:3] == ["take", "take_next", "waits"]
    assert wanted["thread Thread-2"][:4] == [
        "take_next",
        "waits.<locals>.with_it",
        "call_holding",
        "waits",
    ]
    assert wanted["thread Thread-1"][-1] == wanted["thread Thread-2"][-1] == "Thread._bootstrap"
    (held,) = stacks["thread Thread-1"]["held_since"]
    assert held["function"] == "waits"
    source = Path(held["file"]).read_text().splitlines()
    assert source[held["line"] - 1].strip() == "with ring[position]:"


def test_a_lock_taken_by_way_of_threading_is_reported_where_that_was_called(
    watched: Callable[..., Result], tmp_path: Path
) -> None:
    program = tmp_path / "conditions.py"
    program.write_text(
        "import threading\n"
        "a, b = threading.Condition(), threading.Condition()\n"
        "def name\u00e9(first, second):\n"
        "    with first:\n"
        "        with second: pass\n"
        "one = threading.Thread(target=name\u00e9, args=(a, b), name='the \u00e9rst')\n"
        "hold = threading.Event()\n"
        "other = threading.Thread(target=lambda: (hold.wait(), name\u00e9(b, a)))\n"
        "one.start(); other.start(); hold.set(); one.join(); other.join()\n"
    )
    result = watched(sys.executable, program)
    (found,) = result.findings("inversion")
    places = {
        (frame["function"], Path(frame["file"]).name, frame["line"])
        for step in found["stacks"]
        for frame in step["held_since"]
    }
    assert places == {("name\u00e9", "conditions.py", 4)}
    assert any(name.startswith("thread the \u00e9rst (") for name in found["threads"])


def test_lines_are_reported_however_far_apart_they_are(
    watched: Callable[..., Result], tmp_path: Path
) -> None:
    far = [
        "def far():",
        "    with a:",
        *["        #"] * 5_000,
        "        with b:",
        "            pass",
    ]
    back = [
        "def back():",
        "    b.acquire()",
        "    for number in range(3): number",
        "    (",
        "        a",
        "        .acquire(",
        "            *[",
        "            ],",
        "        )",
        "    )",
    ]
    lines = [
        "import sys, threading",
        f"sys.path.insert(0, {str(PROGRAMS)!r})",
        "from turns import run",
        "a, b = threading.Lock(), threading.Lock()",
        *far,
        *back,
        "    a.release(); b.release()",
        "run(far, back)",
    ]
    program = tmp_path / "lines.py"
    program.write_text("\n".join(lines) + "\n")
    result = watched(sys.executable, program)
    (found,) = result.findings("inversion")
    told = {
        (step["held_since"][0]["line"], step["wanted_at"][0]["line"]) for step in found["stacks"]
    }
    first = lines.index("    with a:") + 1
    second = lines.index("    b.acquire()") + 1
    assert told == {
        (first, lines.index("        with b:") + 1),
        (second, lines.index("        a") + 1),
    }


@pytest.mark.parametrize("count", [4, 10])
def test_a_ring_of_python_locks_and_mutexes_is_named_wholly(
    count: int, watched: Callable[..., Result]
) -> None:
    result = watched(sys.executable, PROGRAMS / "mixed_deadlock.py", str(count))
    (found,) = result.findings("deadlock")
    assert len(found["threads"]) == count


def test_a_deadlock_with_the_gil_is_reported_within_a_second(
    watched: Callable[..., Result],
) -> None:
    # The whole run is an upper bound: both interpreters' starts and the reports are in it.
    began = time.monotonic()
    result = watched(sys.executable, PROGRAMS / "mixed_gil_deadlock.py")
    assert time.monotonic() - began < 2.5
    (found,) = result.findings("deadlock")
    (with_gil,) = (step for step in found["stacks"] if step["holds"] == "the GIL")
    (wants_gil,) = (step for step in found["stacks"] if step["wants"] == "the GIL")
    assert [frame["function"] for frame in with_gil["wanted_at"]][:2] == ["take", "gil_then_mutex"]
    functions = [frame["function"] for frame in wants_gil["wanted_at"]]
    assert functions[:2] == ["call_slowly", "mutex_then_gil"]


def test_turns_at_the_interpreter_are_not_operations(
    watched: Callable[..., Result], tmp_path: Path
) -> None:
    program = tmp_path / "yields.py"
    program.write_text("import time\nfor number in range(2_000): time.sleep(0)\n")
    result = watched(sys.executable, program)
    assert result.report["coverage"]["operations"] < 2_000
