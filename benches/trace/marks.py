"""What a mark of Python costs outside a traced run: `python -m benches.trace.marks`.

Three functions do the same: one without a mark, one with a mark, and one whose marks `unmarked` has
taken out. Each number is the least of several rounds; the time of an import is that of a new
process, without what it has in common with one that imports nothing.
"""

import subprocess
import sys
import timeit
from collections.abc import Callable
from pathlib import Path

import vespiary_trace
from vespiary_trace import requires, unmarked

CALLS = 200_000
ROUNDS = 15
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


def main() -> None:
    """Print a line for each."""
    for function in (bare, marked, without_its_mark):
        print(f"{function.__name__:18} {nanoseconds(function):7.1f} ns")
    print(f"{'import':18} {import_milliseconds():7.2f} ms")


if __name__ == "__main__":
    main()
