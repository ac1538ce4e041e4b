"""The marks of Python: nothing in a normal run, probes in a shared file in a traced one."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vespiary.trace import CLAIM, FORCED, MARK, Slot, Table, TableError, implements, requires

PROGRAM = """
import asyncio, sys
from vespiary.trace import implements, requires

@implements("a/2/1", disabled="nothing")
def answer() -> str:
    return "something"

@implements("a/2/2")
async def later() -> str:
    return "later"

def accept(masked: bool) -> bool:
    return requires(
        "a/1/1", "a/1/2", not masked
    )

requires("a/3/1")
print(accept(False), accept(True), answer(), asyncio.run(later()))
"""


def run(path: Path, table: Path | None) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "VESPIARY_TRACE"}
    if table:
        environment["VESPIARY_TRACE"] = str(table)
    program = path / "program.py"
    program.write_text(PROGRAM)
    result = subprocess.run(
        [sys.executable, program], env=environment, capture_output=True, text=True, check=False
    )
    return result.stdout.strip() or result.stderr


def slots(table: Path) -> dict[str, Slot]:
    return {" ".join(slot.ids): slot for slot in Table(table).slots()}


def test_a_mark_is_its_condition_when_nothing_is_traced(tmp_path: Path) -> None:
    assert run(tmp_path, None) == "True False something later"
    assert requires("a/1/1", True) is True
    assert requires("a/1/1", "a/1/2", False) is False


STRINGS = """
import sys
from vespiary_trace import requires

def has_rest(rest):
    return requires("a/1/1", rest and rest[0])

print(has_rest(""), has_rest("x"), requires("a/1/2", "a/1/3"))
"""


@pytest.mark.parametrize("is_traced", [False, True])
def test_a_condition_may_be_a_string(tmp_path: Path, *, is_traced: bool) -> None:
    (tmp_path / "program.py").write_text(STRINGS)
    table = tmp_path / "table"
    Table(table)
    environment = {**os.environ, "VESPIARY_TRACE": str(table) if is_traced else ""}

    def told() -> str:
        command = [sys.executable, "program.py"]
        return subprocess.check_output(command, cwd=tmp_path, env=environment, text=True).strip()

    assert told() == "False True True"
    if is_traced:
        slots(table)["a/1/1"].disable()
        assert told() == "False False True"


CONDITIONS = """
import sys
from vespiary_trace import requires

def has(kind):
    if requires("a/1/1", kind):
        return kind

def state():
    requires("a/1/2", "a/1/3")

print(has("text/html"), has(None), state())
print(has("ABC-1") or requires("a/1/4", 0), [requires("a/1/5", "a/b") for _ in "x"])
"""


def test_a_condition_may_look_like_an_identifier(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(CONDITIONS)
    table = tmp_path / "table"
    environment = {**os.environ, "VESPIARY_TRACE": str(table)}

    def told() -> list[str]:
        command = [sys.executable, "program.py"]
        out = subprocess.check_output(command, cwd=tmp_path, env=environment, text=True)
        return out.splitlines()

    assert told() == ["text/html None None", "ABC-1 [True]"]
    assert set(slots(table)) == {"a/1/1", "a/1/2 a/1/3", "a/1/5"}
    assert (slots(table)["a/1/1"].reached, slots(table)["a/1/1"].acted) == (3, 2)
    slots(table)["a/1/1"].disable()
    slots(table)["a/1/5"].disable()
    assert told() == ["None None None", "False [False]"]


def test_marks_of_one_requirement_in_one_line_are_several(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "from vespiary_trace import requires\n"
        'def light(kg): return requires("a/1/1", kg < 1) or requires("a/1/1", kg > 31)\n'
        "light(0)\nlight(2)\n"
    )
    environment = {**os.environ, "VESPIARY_TRACE": str(tmp_path / "table")}
    subprocess.run([sys.executable, "program.py"], cwd=tmp_path, env=environment, check=True)
    found = Table(tmp_path / "table").slots()
    assert [(slot.site.split(":", 1)[1], slot.reached, slot.acted) for slot in found] == [
        ("2:23", 2, 1),
        ("2:52", 1, 0),
    ]


def test_a_marked_function_is_the_function_itself_when_nothing_is_traced() -> None:
    def function() -> None: ...

    assert implements("a/1/1")(function) is function


DECORATED = """
import functools
from vespiary_trace import implements

class Hive:
    @DECORATOR
    @implements("a/1/1", disabled=False)
    def is_heavy(self):
        return True

print(callable(Hive().is_heavy) and Hive().is_heavy() or Hive().is_heavy)

class Hive:
    @implements("a/1/1", disabled=False)
    @DECORATOR
    def is_heavy(self):
        return True
"""


@pytest.mark.parametrize("is_traced", [False, True])
@pytest.mark.parametrize(
    ("decorator", "kind"),
    [
        ("classmethod", "an object of classmethod"),
        ("property", "an object of property"),
        ("functools.cached_property", "an object of cached_property"),
        ("functools.cache", "an object of _lru_cache_wrapper"),
        ("(lambda f: type('Class', (), {'__init__': lambda *_: None}))", "a class"),
    ],
)
def test_a_marked_function_has_no_decorator_below_the_mark(
    tmp_path: Path, decorator: str, kind: str, *, is_traced: bool
) -> None:
    (tmp_path / "program.py").write_text(DECORATED.replace("DECORATOR", decorator))
    environment = {**os.environ, "VESPIARY_TRACE": str(tmp_path / "table") if is_traced else ""}
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if kind != "a class":
        assert done.stdout == "True\n"
    assert done.stderr.splitlines()[-1] == (
        f"TypeError: @implements stands above {kind}, not a function: write it directly above def,"
        " below other decorators"
    )


GENERATORS = """
import asyncio
from vespiary_trace import implements

@implements("a/1/1")
def squares(n):
    got = yield 0
    try:
        yield got
    except ValueError:
        yield "caught"
    return n

@implements("a/1/2")
async def later(n):
    got = yield 0
    try:
        yield got
    except ValueError:
        yield "caught"

@implements("a/1/3", disabled=(7, 8))
def others():
    yield 1

def told():
    made, result = squares(3), []
    try:
        result += [next(made), made.send("sent"), made.throw(ValueError)]
        next(made)
    except StopIteration as stop:
        result.append(stop.value)
    return result

async def told_later():
    made, result = later(3), []
    try:
        result += [await anext(made), await made.asend("sent"), await made.athrow(ValueError)]
        await anext(made)
    except StopAsyncIteration:
        result.append("end")
    await made.aclose()
    half = later(3)
    await anext(half, None)
    await half.aclose()
    return result

squares(3), later(3), others()
print(told(), asyncio.run(told_later()), list(others()), [bool(x) for x in squares(3)])
"""


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (0, "[0, 'sent', 'caught', 3] [0, 'sent', 'caught', 'end'] [1] [False, False]"),
        (1, "[None] ['end'] [7, 8] []"),
    ],
)
def test_a_marked_generator_stays_one_and_gives_nothing_while_it_is_disabled(
    tmp_path: Path, how: int, told: str
) -> None:
    (tmp_path / "program.py").write_text(GENERATORS)
    table = tmp_path / "table"
    environment = {**os.environ, "VESPIARY_TRACE": str(table)}

    def run_program() -> str:
        command = [sys.executable, "program.py"]
        return subprocess.check_output(command, cwd=tmp_path, env=environment, text=True).strip()

    run_program()
    counts = {name: slot.reached for name, slot in slots(table).items()}
    assert counts == {"a/1/1": 2, "a/1/2": 2, "a/1/3": 1}, "those that never began do not count"
    for slot in slots(table).values():
        slot.disable(how)
    assert run_program() == told


@pytest.mark.parametrize("is_traced", [False, True])
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_marked_generator_has_no_single_value(
    tmp_path: Path, kind: str, *, is_traced: bool
) -> None:
    (tmp_path / "program.py").write_text(
        "from vespiary_trace import implements\n"
        f'@implements("a/1/1", disabled=False)\n{kind} squares(): yield 1\n'
    )
    environment = {**os.environ, "VESPIARY_TRACE": str(tmp_path / "table") if is_traced else ""}
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.splitlines()[-1] == (
        "TypeError: @implements stands above squares, a generator function: disabled= must be what"
        " it gives instead, as in disabled=(); got False"
    )


def test_a_mark_counts_how_often_it_is_reached_and_how_often_it_acts(tmp_path: Path) -> None:
    assert run(tmp_path, tmp_path / "table") == "True False something later"
    found = slots(tmp_path / "table")
    assert (found["a/1/1 a/1/2"].reached, found["a/1/1 a/1/2"].acted) == (2, 1)
    assert found["a/1/1 a/1/2"].site == f"{tmp_path / 'program.py'}:14:12"
    assert found["a/2/1"].site == f"{tmp_path / 'program.py'}:5:2"
    assert {name: slot.acted for name, slot in found.items()} == {
        "a/1/1 a/1/2": 1, "a/2/1": 1, "a/2/2": 1, "a/3/1": 1
    }  # fmt: skip


@pytest.mark.parametrize(
    ("disabled", "told"),
    [
        ("a/1/1 a/1/2", "False False something later"),
        ("a/2/1", "True False nothing later"),
        ("a/2/2", "True False something None"),
    ],
)
def test_a_disabled_mark_does_not_act(tmp_path: Path, disabled: str, told: str) -> None:
    run(tmp_path, tmp_path / "table")
    mark = slots(tmp_path / "table")[disabled]
    mark.disable()
    assert run(tmp_path, tmp_path / "table") == told
    mark.disable(False)
    assert run(tmp_path, tmp_path / "table") == "True False something later"
    assert mark.reached == 3 * (2 if "1/1" in disabled else 1)
    mark.clear()
    assert (mark.reached, mark.acted) == (0, 0)


def test_a_forced_mark_is_true_and_its_condition_is_still_counted(tmp_path: Path) -> None:
    run(tmp_path, tmp_path / "table")
    mark = slots(tmp_path / "table")["a/1/1 a/1/2"]
    mark.clear()
    mark.disable(FORCED)
    assert run(tmp_path, tmp_path / "table") == "True True something later"
    assert (mark.reached, mark.acted, mark.disabled) == (2, 1, False)


def test_a_disabled_statement_raises_and_names_its_requirement(tmp_path: Path) -> None:
    run(tmp_path, tmp_path / "table")
    mark = slots(tmp_path / "table")["a/3/1"]
    mark.disable()
    words = run(tmp_path, tmp_path / "table").splitlines()[-1]
    assert words == (
        f"vespiary_trace.Disabled: vespiary trace: the code that implements a/3/1 at {mark.site} is"
        " disabled in this run"
    )
    assert mark.reached == 2


def test_slots_that_are_claimed_at_once_are_each_claimed_once(tmp_path: Path) -> None:
    def claim() -> None:
        table = Table(tmp_path / "table")
        for number in range(50):
            table.claim(MARK, ("a",), f"x.py:{number}")

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    table = Table(tmp_path / "table")
    assert sorted(slot.site for slot in table.slots()) == sorted(f"x.py:{n}" for n in range(50))
    assert table.claim(CLAIM, ("a",), "x.py:1").offset != table.claim(MARK, ("a",), "x.py:1").offset


def test_processes_that_run_at_once_share_the_slots(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    environment = {**os.environ, "VESPIARY_TRACE": str(tmp_path / "table")}
    children = [subprocess.Popen([sys.executable, program], env=environment) for _ in range(4)]
    assert [child.wait() for child in children] == [0] * 4
    assert len(Table(tmp_path / "table").slots()) == 4


def test_a_full_table_is_an_error_that_tells_its_capacity(tmp_path: Path) -> None:
    table = Table(tmp_path / "table", capacity=1)
    table.claim(MARK, ("a",), "x.py:1")
    with pytest.raises(TableError, match=r"is full: it has 1 slots"):
        table.claim(MARK, ("a",), "x.py:2")


@pytest.mark.parametrize("content", [b"notes", b"x" * 5000, b"VSPTRACE" + b"\xff" * 5000])
def test_a_foreign_file_is_refused_and_left_as_it_was(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table"
    path.write_bytes(content)
    with pytest.raises(TableError, match="is not a table of traced marks"):
        Table(path)
    assert path.read_bytes() == content
    assert "TableError" in run(tmp_path, path)


def test_a_path_that_cannot_be_opened_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=f"^{tmp_path / 'none' / 'table'}: "):
        Table(tmp_path / "none" / "table")


SMALL = """
import resource, sys
from vespiary.trace import Table
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
Table(sys.argv[1])
"""


def test_a_file_for_which_there_is_no_room_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = str(tmp_path / "table")
    done = subprocess.run(
        [sys.executable, "-c", SMALL, path], capture_output=True, text=True, check=False
    )
    assert done.stderr.splitlines()[-1].endswith(f"TableError: {path}: File too large")


def test_a_name_that_is_too_long_for_a_slot_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="more than 480 bytes"):
        Table(tmp_path / "table").claim(MARK, ("a",), "x" * 480)


@pytest.mark.parametrize(
    "source",
    [
        'def refused(masked):\n    return requires("a/1/1", not masked)\n',
        'refused = lambda masked: requires("a/1/1", not masked)\n',
        'class Frame:\n    def check(self):\n        requires("a/1/1")\n'
        "refused = lambda masked: Frame().check()\n",
    ],
)
def test_the_same_code_in_two_files_is_two_marks(tmp_path: Path, source: str) -> None:
    for package in ("a", "b"):
        (tmp_path / package).mkdir()
        text = "from vespiary_trace import requires\n" + source
        (tmp_path / package / "module.py").write_text(text)
    program = "import a.module, b.module; a.module.refused(True); b.module.refused(True)"
    table = tmp_path / "table"
    environment = {**os.environ, "VESPIARY_TRACE": str(table)}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True)
    counts = {Path(slot.site).parent.name: slot.reached for slot in Table(table).slots()}
    assert counts == {"a": 1, "b": 1}
