"""`python -m benches.memory`: limits beside other tools, and verdicts on programs that leak or not.

The tables go into docs/explanation/memory-figures.md with --write.
"""

import argparse
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benches import machine
from benches.memory import endings, leaks, limits
from benches.memory.limits import LIMIT
from benches.memory.tools import available

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "memory-figures.md"
PARTS = ("limits", "endings", "leaks")
HEAD = """\
# Memory limits and leaks: figures

Written by `python -m benches.memory --write`{options}; {date}, {machine}.
"""
LIMITS = """
## Limits

Each program ran {runs} times with a limit of 200 MiB, in random order. The columns show:

* *right*: in how many runs the tool killed a program that exceeds the limit, with all its
  processes, or left a program within the limit alone.
* *beyond*: how far the memory of the processes exceeded the limit, by their own measurement: the
  median, and the maximum in brackets.
* *dead*: the time from the last allocation until the last process had ended. On a busy machine it
  is longer for every tool, so compare it only within this table.

{table}

Not possible on this machine: {missing}.

`python -m benches.memory.version_2` tests control groups of version 2 and scopes of systemd on any
machine, with User Mode Linux. On 30 November 2026 all tests passed, and no limit was exceeded. It
prints a table with `systemd-run` next to the method `systemd`.
"""
ENDINGS = """
## How soon all processes are gone

A program of {processes} processes, of which one allocates as fast as it can. The time is from the
last page that the program touched until its last process had ended, measured from outside. It
contains the time in which the program itself got no processor before it exceeded the limit.
*Runnable* is how many processes wanted the two processors: other work on this machine, and in every
second line {spinning} processes that spin, each in a session of its own. *Late* counts the kills
that took more than 100 ms.

{table}

Most of the time goes into freeing the memory, so it grows with the limit.
"""
LEAKS = """
## Leaks

Each program ran {runs} times for {seconds:g} s, at the same time as the others. The leaking
programs handled {rate:,} messages per second. *From* is the time after which the verdict stayed
right, in the slowest run.

{table}
"""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benches.memory", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="of each case (5)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each leak (60)")
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--kills", type=int, default=50, help="of each tool that ends a tree (50)")
    parser.add_argument("--write", action="store_true", help="write the page of the documents")
    return parser.parse_args()


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _limits(runs: int) -> tuple[str, bool]:
    tools, missing = available()
    pairs = [(case, tool) for case in limits.CASES for tool in tools]
    results: dict[tuple[str, str], list[limits.Result]] = {}
    for number in range(runs):
        for case, tool in random.sample(pairs, len(pairs)):
            result = limits.measure(tool, case)
            results.setdefault((case.name, tool.name), []).append(result)
            print(f"{number + 1}: {case.name}, {tool.name}: {result}", file=sys.stderr, flush=True)
    rows = [limits.row(tool, case, results[case.name, tool.name]) for case, tool in pairs]
    ours = [key for key in results if key[1].startswith("vespiary")]
    is_right = all(result.is_right for key in ours for result in results[key])
    head = ("program", "held by", "right", "beyond", "dead", "left")
    text = "; ".join(f"{name} ({why})" for name, why in missing.items()) or "nothing"
    return LIMITS.format(runs=runs, table=_table(head, rows), missing=text), is_right


def _endings(kills: int) -> tuple[str, bool]:
    ours = [tool for tool in available()[0] if tool.name.startswith("vespiary")]
    found = []
    for tool in ours:
        for limit, count in ((LIMIT, kills), (10 * LIMIT, max(1, kills // 10))):
            for is_busy in (False, True):
                found.append(endings.measure(tool, limit, count, is_busy=is_busy))
                print(endings.row(found[-1]), file=sys.stderr, flush=True)
    head = ("held by", "limit", "runnable", "kills", "median", "nine of ten", "longest", "late")
    table = _table(head, [endings.row(each) for each in found])
    is_right = all(each.late == 0 for each in found if each.limit == LIMIT)
    text = ENDINGS.format(processes=endings.PROCESSES, spinning=endings.SPINNING, table=table)
    return text, is_right


def _leaks(runs: int, seconds: float) -> tuple[str, bool]:
    results = leaks.measure(seconds, runs)
    head = ("program", "right is", "said", "from", "slope of the last run")
    table = _table(head, [leaks.row(each) for each in results])
    is_right = all(result.seconds is not None for each in results for result in each)
    return LEAKS.format(seconds=seconds, rate=leaks.RATE, runs=runs, table=table), is_right


def main() -> int:
    """Measure; the exit status is 1 if ours was wrong anywhere."""
    given = _arguments()
    where = machine.in_words(machine.describe())
    options = f" --runs {given.runs}" if given.runs != 5 else ""
    text = HEAD.format(options=options, date=time.strftime("%Y-%m-%d"), machine=where)
    parts = {
        "limits": lambda: _limits(given.runs),
        "endings": lambda: _endings(given.kills),
        "leaks": lambda: _leaks(given.runs, given.seconds),
    }
    verdicts = []
    for name in PARTS if given.only is None else [given.only]:
        part, is_right = parts[name]()
        text += part
        verdicts.append(is_right)
    print(text)
    if given.write:
        PAGE.write_text(text)
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
