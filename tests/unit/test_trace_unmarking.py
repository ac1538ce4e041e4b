"""`unmarked` takes the marks out of a function, and nothing else."""

import asyncio
import dis
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

import vespiary_trace
from vespiary_trace import requires, unmarked

SOURCES = Path(vespiary_trace.__file__).parents[1]


@unmarked
def refused(masked: bool, *, limit: int = 5) -> bool:
    """Say whether."""
    requires("a/1/1")
    if requires("a/1/2", "a/1/3", limit > 3) and vespiary_trace.requires("a/1/4", not masked):
        return True
    return limit == 0


def closure(limit: int) -> Callable[[int], bool]:
    @unmarked
    def beyond(number: int) -> bool:
        return requires("a/1/1", number > limit)

    return beyond


class Nest:
    __cells = 3

    @staticmethod
    @unmarked
    def empty(cells: int) -> bool:
        return requires("a/1/1", cells == 0)

    @unmarked
    def full(self, cells: int) -> bool:
        return requires("a/1/1", cells == self.__cells)

    @staticmethod
    @unmarked
    def parameters(__cells: int) -> None:
        requires("a/1/1")

    @unmarked
    def described(self) -> str:
        requires("a/1/1")
        return super().__repr__()


@unmarked
async def later(wanted: bool) -> bool:
    await asyncio.sleep(0)
    return requires("a/1/1", wanted)


@unmarked
def failing() -> None:
    requires("a/1/1")
    raise ValueError


@unmarked
def outer(limit: int) -> bool:
    return requires("a/1/1", limit > 3)


@unmarked
def within(limit: int) -> list[object]:
    def within(requires: Callable[..., object]) -> object:
        return requires("a/1/1", limit)

    return [within(lambda *marked: marked)]


@unmarked
def unpacked(limit: int) -> list[bool]:
    marked = ["a/1/1", limit]
    return [requires(*marked), requires("a/1/1", *[limit])]


@unmarked
def counting(limit: int) -> int:
    return 1 + counting(limit - 1) if requires("a/1/1", limit > 0) else 0


def outside(limit: int) -> Callable[[], object]:
    def requires(*marked: object) -> object:
        return marked

    @unmarked
    def inner() -> object:
        return requires("a/1/1", limit)

    return inner


def calls(function: Callable[..., object]) -> list[str]:
    names = [str(one.argval) for one in dis.get_instructions(function)]
    return [name for name in names if "requires" in name]


def test_a_function_without_its_marks_does_the_same() -> None:
    assert refused(False) is True
    assert refused(True) is False
    assert refused(False, limit=2) is False
    assert closure(3)(4) is True
    assert closure(3)(3) is False
    assert Nest.empty(0)
    assert asyncio.run(later(True))
    assert "Nest object" in Nest().described()


def test_no_name_of_the_function_or_within_it_is_taken_for_another() -> None:
    assert [outer(4), outer(3)] == [True, False]
    assert within(4) == [("a/1/1", 4)]
    assert outside(4)() == ("a/1/1", 4)
    assert unpacked(4) == [True, True]
    assert counting(3) == 3
    assert calls(counting) == calls(outer) == []


def test_a_parameter_that_a_class_mangles_stays_one() -> None:
    assert list(Nest.parameters.__code__.co_varnames) == ["_Nest__cells"]


def test_no_call_of_a_mark_is_left() -> None:
    assert [calls(function) for function in (refused, closure(1), later, Nest.described)] == [
        []
    ] * 4


def test_what_is_known_of_the_function_stays() -> None:
    assert (refused.__name__, refused.__doc__) == ("refused", "Say whether.")
    assert refused.__annotations__["masked"] is bool
    assert refused.__kwdefaults__ == {"limit": 5}
    assert Nest.described.__qualname__ == "Nest.described"


def test_a_function_with_mangled_names_is_given_back_as_it_is() -> None:
    assert Nest().full(3)
    assert calls(Nest.full)


def test_a_traceback_has_the_lines_of_the_source() -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the line matters, not the words
        failing()
    assert traceback.extract_tb(caught.value.__traceback__)[-1].line == "raise ValueError"


def test_in_a_traced_run_the_marks_stay(tmp_path: Path) -> None:
    program = (
        "from vespiary_trace import requires, unmarked\n"
        "@unmarked\ndef f(x):\n    return requires('a/1/1', x)\n"
        "f(1)\nfrom vespiary_trace.probes import Table\nimport os\n"
        "print([slot.reached for slot in Table(os.environ['VESPIARY_TRACE']).slots()])\n"
    )
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, tmp_path / "program.py"],
        env={**os.environ, "VESPIARY_TRACE": str(tmp_path / "table")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[1]\n"


def test_the_marks_need_nothing_but_python_and_import_nothing_else() -> None:
    program = (
        "import sys; before = set(sys.modules); import vespiary_trace; "
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-c",
            f"import sys; sys.path.insert(0, {str(SOURCES)!r}); {program}",
        ],
        env={"VESPIARY_TRACE": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "['vespiary_trace']\n"
