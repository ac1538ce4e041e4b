"""What a mark of Python costs outside a traced run: `python -m benches.trace.marks`.

Three functions do the same: one without a mark, one with a mark, and one whose marks `unmarked` has
taken out. Each number is the least of several rounds; the time of an import is that of a new
process, without what it has in common with one that imports nothing.

On a busy machine, `--instructions` counts the processor's instructions instead, under callgrind:
those of many calls without those of few.
"""

import argparse
import re
import subprocess
import sys
import timeit
from collections.abc import Callable
from pathlib import Path

import vespiary_trace
from vespiary_trace import requires, unmarked

CALLS = 200_000
ROUNDS = 15
FEW, MANY = 1_000, 101_000
SOURCES = Path(vespiary_trace.__file__).parents[1]


def bare(number: int) -> int:
    """A condition without a mark."""
    if number > 3:
        return 1
    return 0


def marked(number: int) -> int:
    """The same with a mark, which is a call."""
    if requires("a/1/1", number > 3):
        return 1
    return 0


@unmarked
def without_its_mark(number: int) -> int:
    """The same, compiled without its mark."""
    if requires("a/1/1", number > 3):
        return 1
    return 0


def nanoseconds(function: Callable[[int], int]) -> float:
    """One call of a function, with the loop around it."""
    rounds = timeit.repeat("f(5)", globals={"f": function}, number=CALLS, repeat=ROUNDS)
    return min(rounds) / CALLS * 1e9


def import_milliseconds() -> float:
    """An import of the marks, as the interpreter itself measures it."""
    program = f"import sys; sys.path.insert(0, {str(SOURCES)!r}); import vespiary_trace"
    found = []
    for _ in range(ROUNDS):
        done = subprocess.run(
            [sys.executable, "-I", "-X", "importtime", "-c", program],
            capture_output=True,
            text=True,
            check=True,
        )
        line = next(one for one in done.stderr.splitlines() if one.endswith(" vespiary_trace"))
        found.append(int(line.split("|")[1]) / 1000)
    return min(found)


def repeated(function: Callable[[int], int], calls: int) -> None:
    """Call a function many times."""
    for _ in range(calls):
        function(5)


def counted(program: str) -> int:
    """The instructions of a program of Python, its start included."""
    done = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, "-S",
         "-c", f"import sys; sys.path[:0] = [{str(SOURCES)!r}, '.']; {program}"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found, done.stderr
    return int(found[1])


def instructions(function: Callable[[int], int]) -> float:
    """One call of a function, with the loop around it."""
    module = f"from benches.trace.marks import {function.__name__}, repeated"
    few, many = (
        counted(f"{module}; repeated({function.__name__}, {calls})") for calls in (FEW, MANY)
    )
    return (many - few) / (MANY - FEW)


def main() -> None:
    """Print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--instructions", action="store_true", help="Count under callgrind.")
    functions = (bare, marked, without_its_mark)
    if parser.parse_args().instructions:
        counted("import benches.trace.marks")  # Compiles it, for the runs that are compared.
        for function in functions:
            print(f"{function.__name__:18} {instructions(function):9.0f} instructions")
        imports = counted("import vespiary_trace") - counted("import os")
        print(f"{'import':18} {imports:9,} instructions")
        return
    for function in functions:
        print(f"{function.__name__:18} {nanoseconds(function):7.1f} ns")
    print(f"{'import':18} {import_milliseconds():7.2f} ms")


if __name__ == "__main__":
    main()
