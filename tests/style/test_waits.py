"""Tests of the interface wait for conditions or in virtual time, and look at their own log records.

A fixed pause is too short on a slow machine, and too long on every other one. `tests/waiting.py`
has what to write instead; `tests/logs.py` has what looks at log records.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.style.test_size import CHECKOUT, relative

FOLDERS = ("api", "unit", "sync", "testing")

ANY = "*"

PAUSES: dict[str, dict[str, str]] = {
    "api/test_async_filters.py": {
        "Slow": "A filter that takes its time, mostly virtual, is the subject."
    },
    "api/test_debug_mode.py": {ANY: "Slow callbacks are the subject."},
    "api/test_forks.py": {
        "LOOP": "A child's first turns must take nothing of its parent's.",
        "CHILDREN": "A timer of the child's own loop is part of the program.",
    },
    "api/test_guests.py": {
        "test_an_idle_guest_takes_no_turns": "Idle time is the subject.",
        "test_the_loops_own_callbacks_run_beside_a_connection_that_never_rests": (
            "Timers of the loop are the subject."
        ),
    },
    "api/test_interrupted_guests.py": {
        "test_a_signal_in_the_guests_callback_stops_nothing": (
            "Timers of the guest are the subject; the loop around it waits for the signal."
        ),
        "test_every_operation_can_run_within_every_other": (
            "The loop must be idle first; nothing reports that it is."
        ),
    },
    "api/test_lifetime.py": {
        "BUSY_AT_EXIT": "The interpreter's exit has to take a while.",
        "CALLS_AT_EXIT": "The interpreter's exit has to take a while.",
        "FINALIZERS_AT_EXIT": "The interpreter's exit has to take a while.",
    },
    "api/test_loop.py": {
        "test_an_idle_server_uses_no_time": "Idle time is the subject.",
        "test_timers_fire_beside_a_connection_that_never_rests": (
            "Timers of the loop are the subject."
        ),
        "test_call_soon_threadsafe_wakes_a_sleeping_loop": (
            "The loop must sleep first; nothing reports that it does."
        ),
    },
    "api/test_loop_owners.py": {
        "test_a_forked_child_may_touch_its_parents_loop_and_make_its_own": (
            "A timer in the child's copy of the loop is the subject."
        ),
    },
    "api/test_signals_to_blocked_programs.py": {ANY: "Programs that block are the subject."},
    "api/test_timers.py": {
        "test_a_timer_is_not_late_because_the_process_was_held_up_before": (
            "A process that is held up is the subject."
        ),
    },
    "api/test_threads.py": {"block": "A blocked loop is the subject."},
    "sync/test_ends.py": {
        "test_an_interrupt_leaves_the_connection_sound": (
            "The main thread must wait first; nothing reports that it does."
        ),
    },
    "sync/test_sync.py": {
        "test_closing_ends_a_receive_of_another_thread": (
            "The other thread must wait first; nothing reports that it does."
        ),
    },
    "testing/test_client.py": {
        "test_handlers_on_threads_are_waited_for": "A thread that takes real time is the subject.",
    },
    "testing/test_handler_kit.py": {ANY: "Virtual time: `check_handler` runs simulations."},
    "testing/test_simulation.py": {ANY: "Virtual time is the subject."},
}
"""File: name of a function, class or program that pauses for a fixed time, and why."""

RECORDS: dict[str, str] = {
    "tests/api/test_debug_mode.py": "asyncio's own records of slow callbacks are the subject.",
}
"""Path: why it looks at the records of all loggers without `whole_log`."""

_PAUSE_IN_TEXT = re.compile(r"\bsleep\((?!0[,)]|\))")


def pauses(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The fixed pauses of a module: the name of what has it, and the line."""
    for top in tree.body:
        for name, node in _named(top):
            for inner in ast.walk(node):
                if _is_pause(inner):
                    yield name, getattr(inner, "lineno", 0)


def _named(top: ast.stmt) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(top, ast.FunctionDef | ast.AsyncFunctionDef):
        if not any(ast.unparse(one) == "virtual_time" for one in top.decorator_list):
            yield top.name, top
    elif isinstance(top, ast.ClassDef):
        yield top.name, top
    elif isinstance(top, ast.Assign | ast.AnnAssign):
        target = top.targets[0] if isinstance(top, ast.Assign) else top.target
        yield ast.unparse(target), top
    else:
        yield "", top


def _is_pause(node: ast.AST) -> bool:
    """`sleep(seconds)`, also in a program that is a string, and `Event().wait(seconds)`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return bool(_PAUSE_IN_TEXT.search(node.value))
    if not isinstance(node, ast.Call) or not node.args:
        return False
    called = ast.unparse(node.func)
    if called.endswith("Event().wait"):
        return True
    return called in ("time.sleep", "asyncio.sleep", "sleep") and ast.unparse(node.args[0]) != "0"


def files() -> list[Path]:
    return [path for name in FOLDERS for path in sorted((CHECKOUT / "tests" / name).rglob("*.py"))]


def test_no_test_of_the_interface_pauses_for_a_fixed_time() -> None:
    found: set[tuple[str, str]] = set()
    new: list[str] = []
    for path in files():
        where = relative(path).removeprefix("tests/")
        for name, line in pauses(ast.parse(path.read_text())):
            allowed = PAUSES.get(where, {})
            if ANY not in allowed and name not in allowed:
                new.append(f"tests/{where}:{line}: {name or 'the module'}")
            found.add((where, ANY if ANY in allowed else name))
    assert not new, (
        "wait for a condition (tests/waiting.py), or use virtual_time of tests/api/kit.py"
    )
    listed = {(where, name) for where, names in PAUSES.items() for name in names}
    assert found == listed, "exceptions that are not needed any more"


@pytest.mark.parametrize(
    "code",
    [
        "def f():\n    time.sleep(0.1)",
        "async def f():\n    await asyncio.sleep(pause)",
        "def f():\n    threading.Event().wait(0.1)",
        "f = '''\nimport time\ntime.sleep(1)\n'''",
    ],
)
def test_a_pause_is_found(code: str) -> None:
    assert [name for name, _ in pauses(ast.parse(code))] == ["f"]


@pytest.mark.parametrize(
    "code",
    [
        "async def f():\n    await asyncio.sleep(0)",
        "@virtual_time\nasync def f():\n    await asyncio.sleep(60)",
        "def f():\n    event.wait(30)",
        "def f():\n    client.sleep(1)",
    ],
)
def test_what_is_not_a_pause_is_not_found(code: str) -> None:
    assert list(pauses(ast.parse(code))) == []


_ALL_LOGGERS = re.compile(r"\bcaplog\.(?:records|messages|record_tuples)\b|not in caplog\.text\b")


def test_no_test_looks_at_the_records_of_all_loggers() -> None:
    """What an earlier test left is logged at any time: see `tests/logs.py`."""
    skipped = {"tests/logs.py", relative(Path(__file__))}
    found = {
        relative(path)
        for path in (CHECKOUT / "tests").rglob("*.py")
        if relative(path) not in skipped and _ALL_LOGGERS.search(path.read_text())
    }
    assert found == set(RECORDS), "write records(caplog) of tests/logs.py"
