"""The report that a person reads in a terminal: drawings, names, colours, widths."""

import io
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.locks.conftest import PROGRAMS, Result
from vespiary.prove.locks import drawing
from vespiary.prove.locks.findings import Step
from vespiary.prove.locks.paint import PLAIN, Paint
from vespiary.prove.locks.places import Frame
from vespiary.prove.locks.sources import around, line, own

STEPS = [
    Step("thread one (1)", "mutex L0 a", [], "mutex L1 b", []),
    Step("thread two (2)", "mutex L1 b", [], "mutex L0 a", [], shared=True),
]


def test_a_circle_is_drawn_with_an_arrow_back_to_its_first_lock() -> None:
    assert list(drawing.text(STEPS, PLAIN)) == [
        "  ╭─▶ mutex L0 a",
        "  │     │ held by thread one (1), which wants",
        "  │     ▼",
        "  │   mutex L1 b",
        "  │     │ held by thread two (2), which wants to share",
        "  ╰─────╯",
    ]


def test_a_terminal_of_ascii_gets_a_drawing_of_ascii() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    drawn = "\n".join(drawing.text(STEPS, Paint.of(stream)))
    assert drawn.isascii()
    assert drawn.startswith("  +-> mutex L0 a")


def test_a_circle_of_any_size_is_drawn_as_svg_within_its_frame() -> None:
    for count in (2, 3, 7, 25):
        steps = [
            Step(f"thread {n}", f"mutex L{n} <m>", [], f"mutex L{(n + 1) % count} <m>", [])
            for n in range(count)
        ]
        drawn = drawing.svg(steps, "head")
        assert drawn.count('class="node"') == drawn.count('class="arrow"') == count
        assert "<m>" not in drawn


def report_on_a_terminal(program: Path, variables: dict[str, str]) -> str:
    """What the command writes when its error output is a terminal."""
    outer, inner = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    command = [sys.executable, "-m", "vespiary", "locks", "--", str(program)]
    with subprocess.Popen(
        command, stderr=inner, env={**environment, "TERM": "xterm", **variables}
    ) as process:
        os.close(inner)
        parts = []
        while True:
            try:
                part = os.read(outer, 65536)
            except OSError:
                break
            parts.append(part)
            if not part:
                break
        process.wait(timeout=40)
    os.close(outer)
    return b"".join(parts).decode()


def test_colours_are_for_a_terminal_and_not_where_no_color_is_set(
    compiled: Callable[..., Path], watched: Callable[..., Result]
) -> None:
    program = compiled("two_orders")
    assert "\x1b[1;31mINVERSION\x1b[0m" in report_on_a_terminal(program, {})
    assert "\x1b" not in report_on_a_terminal(program, {"NO_COLOR": "1"})
    assert "\x1b" not in watched(program).output


def test_native_locks_have_the_names_of_their_variables(
    compiled: Callable[..., Path], watched: Callable[..., Result]
) -> None:
    result = watched(compiled("two_orders"))
    (found,) = result.findings("inversion")
    assert {lock["name"] for lock in found["locks"]} == {"mutex L0 a", "mutex L1 b"}
    assert "╭─▶ mutex L0 a" in result.output
    # They are not made by a call: where they were first taken is all that is known.
    assert "mutex L0 a, first taken at" in result.output


def test_an_element_of_an_array_is_named_by_its_place_in_it_and_told_once(
    compiled: Callable[..., Path], watched: Callable[..., Result]
) -> None:
    result = watched(compiled("deadlock"), "2")
    # That its orders could deadlock is not a finding of its own.
    (found,) = result.report["findings"]
    assert {lock["name"] for lock in found["locks"]} == {"mutex L0 ring", "mutex L1 ring+40"}
    assert "mutex L0 ring, made at" in result.output
    assert result.output.count("2 threads wait for each other") == 2
    assert result.output.count("2 threads wait for each other (reported above)") == 1
    assert "__libc_start_main" not in result.output


def test_python_locks_have_the_names_that_they_were_assigned_to_and_where_they_were_made(
    watched: Callable[..., Result],
) -> None:
    result = watched(sys.executable, PROGRAMS / "python_two_orders.py", options=["--full"])
    (found,) = result.findings("inversion")
    names = {lock["name"].partition(" L")[2].partition(" ")[2] for lock in found["locks"]}
    assert names == {"a", "b"}
    makers = {frame["line"] for lock in found["locks"] for frame in lock["made"][-1:]}
    assert makers == {8, 9}
    # In the full mode both stacks of each order are kept.
    for stack in found["stacks"]:
        assert stack["held_since"][0]["function"] == stack["wanted_at"][0]["function"]
        assert stack["held_since"][0]["line"] <= stack["wanted_at"][0]["line"]
    assert "Thread._bootstrap" not in result.output


def test_signatures_are_the_same_in_both_modes(
    compiled: Callable[..., Path], watched: Callable[..., Result]
) -> None:
    for words in ([compiled("two_orders")], [sys.executable, PROGRAMS / "python_two_orders.py"]):
        signatures = {
            watched(*words, options=options).findings("inversion")[0]["signature"]
            for options in ([], ["--full"])
        }
        assert len(signatures) == 1


def test_source_that_is_not_there_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "it.c"
    path.write_text("one\n  two\nthree\n")
    assert line(Frame("f", "m", str(path), 2)) == "two"
    assert around(Frame("f", "m", str(path), 2), 1) == [(1, "one"), (2, "  two"), (3, "three")]
    assert line(Frame("f", "m", str(path), 9)) == ""
    assert around(Frame("f", "m", str(tmp_path), 1), 1) == []
    assert around(Frame("f", "m", "/no/such/file", 1), 1) == []


def test_what_lies_beneath_a_programs_functions_is_not_a_part_of_the_story() -> None:
    stack = [Frame("work", "m"), Frame("start_thread", "libc.so.6"), Frame("+0x9", "libc.so.6")]
    assert own(stack) == stack[:1]
    assert own(stack[1:2]) == stack[1:2]


@pytest.mark.parametrize("columns", ["60", "400"])
def test_a_width_beyond_reading_is_not_used(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    outer, inner = pty.openpty()
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((int(columns), 25)))
    with os.fdopen(inner, "w") as stream:
        assert 60 <= Paint.of(stream).columns <= 120
    os.close(outer)
