"""A lock taken again by what ran in between: a handler, a finalizer or a callback."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.locks.conftest import COMPILER, Result
from vespiary.prove.locks.interruptions import interruption
from vespiary.prove.locks.places import Frame

PROGRAMS = Path(__file__).parent / "interrupted"


@pytest.mark.parametrize(
    ("program", "kind", "function"),
    [
        ("by_signal", "signal handler", "on_signal"),
        ("by_lambda", "signal handler", "<lambda>"),
        ("by_finalizer", "finalizer", "Resource.__del__"),
        ("by_weak_reference", "finalizer", "gone"),
        ("by_callback", "callback", "on_done"),
    ],
)
def test_what_ran_in_between_is_named_with_what_to_do(
    program: str, kind: str, function: str, watched: Callable[..., Result]
) -> None:
    result = watched(sys.executable, PROGRAMS / f"{program}.py")
    assert result.status == 121, result.output
    # That the lock is taken again is not a finding of its own.
    (found,) = (each for each in result.report["findings"] if each["kind"] != "information")
    assert f"a {kind} ({function}) ran in between" in found["advice"]


def test_a_native_handler_of_a_signal_is_named(
    watched: Callable[..., Result], tmp_path: Path
) -> None:
    program = tmp_path / "by_signal"
    words = ["-g", "-O1", "-pthread", str(PROGRAMS / "by_signal.c"), "-o", str(program)]
    subprocess.run([COMPILER, *words], check=True)
    (found,) = watched(program).findings("deadlock")
    assert "a signal handler (on_signal) ran in between" in found["advice"]
    functions = [frame["function"] for frame in found["stacks"][0]["wanted_at"]]
    assert "<signal handler called>" in functions


def test_where_nothing_ran_in_between_none_is_named(watched: Callable[..., Result]) -> None:
    (found,) = watched(sys.executable, PROGRAMS / "plainly.py").findings("deadlock")
    assert "in between" not in found["advice"]


def test_a_lambda_is_a_handler_only_where_it_is_registered(tmp_path: Path) -> None:
    module = tmp_path / "lambdas.py"
    module.write_text("signal.signal(\n    2, lambda *_: act()\n)\nother = lambda: act()\nx = 1\n")

    def found(line: int) -> str | None:
        stack = [Frame("<lambda>", "", str(module), line), Frame("outer", "", str(module), 5)]
        between = interruption(stack)
        return None if between is None else between.kind

    assert [found(line) for line in (2, 4)] == ["signal handler", None]


def test_a_long_module_is_looked_through_in_a_moment(tmp_path: Path) -> None:
    module = tmp_path / "long.py"
    calls = "signal.signal(a, (b, (c, ".ljust(40) * 2_000
    module.write_text(f"def outer():\n    pass\n{calls}\nsignal.signal(2, handler)\n")
    stack = [Frame("handler", "", str(module), 1), Frame("outer", "", str(module), 2)]
    began = time.process_time()
    found = [interruption([*stack, *stack]) for _ in range(100)]
    assert time.process_time() - began < 10
    assert {each.kind for each in found if each is not None} == {"signal handler"}
