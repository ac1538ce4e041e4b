"""`python -m benches.locks.verdicts`: Vespiary's verdicts on small programs beside its peers'.

Each program of tests/locks/programs tells in its first line what is to be found. Vespiary runs each
ten times, in the default mode, and has to be right each time; a wrong verdict is an exit code of 1.
The peers run the C programs a few times, to see what they say and how steadily. The table becomes
docs/explanation/lock-verdicts.md, the single counts go into the results.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benches import machine
from benches.catalogue import HERE
from benches.locks import versions
from benches.locks.detectors import BARE, PEERS, VESPIARY, Detector, missing, run
from benches.outcome import RESULTS

PROGRAMS = HERE.parent / "tests" / "locks" / "programs"
PAGE = HERE.parent / "docs" / "explanation" / "lock-verdicts.md"
CODES = {120: "inversion", 121: "deadlock", 122: "misuse", 123: "stall", 124: "uncovered"}
UNCOVERED = 124
HANGS_MAX = 2
"""A program that has hung so often under a peer is not tried again: each costs seconds."""

INTRODUCTION = """\
# Verdicts on locks: comparison with Helgrind, DRD and ThreadSanitizer

Each line is a small program of `tests/locks/programs`. There is a program for each rule of the
detector. `python -m benches.locks.verdicts` runs all of them again and writes this page.
"""

READING = """\
The column "expected" has the correct result. An **inversion**, a **deadlock** and
**misuse** must be reported, and make the run fail. **Information** is reported only on request. A
**warning** is reported, but does not make the run fail. **Nothing** means that nothing may be
reported. **Uncovered** means that no lock operation is seen, and that the tool says so.

The other columns have the reports of each tool. A **false alarm** is a report about a program
without a mistake. **Hang** means that the program did not end, or computed for a minute, and had to
be stopped. Numbers say in how many runs, if the runs differed. Reports of data races by Valgrind
and ThreadSanitizer are not included. Wrong results are bold. If another tool reported anything
about the lock before a deadlock, this counts as right. Only programs that a tool can judge are
counted for it.
"""


@dataclass
class Program:
    """A program, what is to be found in it, and what was.

    Attributes:
        path: Its source.
        expected: The verdict in its first line.
        options: Those of `vespiary locks` that it is for.
        about: What it shows.
        arguments: What it is run with.
        said: For each detector, how often it said what.
    """

    path: Path
    expected: str
    options: tuple[str, ...]
    about: str
    arguments: tuple[str, ...] = ()
    said: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def quiet(self) -> bool:
        """Whether nothing may be reported that makes a run fail."""
        return self.expected in ("nothing", "information", "warning", "uncovered")

    def is_right(self, said: str) -> bool:
        """Whether a peer's verdict is right."""
        if self.quiet:
            return said == "nothing"
        if self.expected == "deadlock":
            return said not in ("nothing", "hang")
        return self.expected in said.split(", ")

    @property
    def counts(self) -> bool:
        """Whether it is one that a peer could be right about."""
        return not self.options and self.expected != "uncovered"


def programs() -> list[Program]:
    """All that tell in their first line what is to be found."""
    found = []
    for path in sorted([*PROGRAMS.glob("*.c"), *PROGRAMS.glob("*.py")]):
        text = path.read_text()
        told = re.match(r"(?:/\*|#) expect: (\w+)(?: with (--.*))?", text)
        if told is not None:
            options = (told[2] or "").rstrip("*/ ").split()
            found.append(Program(path, told[1], tuple(options), about(text)))
    return found


def about(text: str) -> str:
    """What the comment at the head of a program says beside."""
    head = re.match(r'.*?\n(?:""")?(.*?)(?:\*/|""")', text, re.DOTALL)
    lines = head[1].splitlines() if head is not None else []
    return " ".join(filter(None, (line.strip(" *") for line in lines)))


def _ours(program: Program, command: Sequence[str]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        *verb, end = VESPIARY.prefix
        words = [*verb, *program.options, "--json", str(report), end, *command]
        status, output = run(words, VESPIARY.seconds_max)
        if status is None or not report.exists():
            return "hang" if status is None else f"failed: {output.strip()[-200:]}"
        return verdict(status, json.loads(report.read_text())["findings"])


def verdict(status: int, findings: Sequence[Mapping[str, Any]]) -> str:
    """What a run said, by its exit code and the findings of its report.

    A warning is a finding that is printed and does not make the run fail.
    """
    failing = {finding["kind"] for finding in findings if finding["fails"]}
    warnings = {finding["kind"] for finding in findings} - failing - {"information"}
    if status in CODES and (CODES[status] in failing or status == UNCOVERED):
        return CODES[status]
    if status == 0 and not failing:
        return "warning" if warnings else "information" if findings else "nothing"
    return f"{', '.join(sorted(failing | warnings)) or 'nothing'}, code {status}"


def is_ours_right(program: Program, said: str) -> bool:
    # What is only for information may be reported about a program in which nothing is wrong, too.
    return said == program.expected or (program.expected, said) == ("nothing", "information")


def _theirs(program: Program, detector: Detector, command: Sequence[str]) -> str:
    status, output = run([*detector.prefix, *command], detector.seconds_max)
    kinds = sorted(detector.kinds(output))
    return ", ".join([*kinds, *(["hang"] if status is None else [])]) or "nothing"


def judge(program: Program, pythons: Sequence[str], times: int, peer_times: int) -> None:
    """Run a program under all detectors; what was said before stays."""
    if program.path.suffix == ".py":
        for python in pythons:
            name = f"{VESPIARY.name}, {versions.python(python)}"
            command = [python, str(program.path), *program.arguments]
            said = program.said.setdefault(name, Counter())
            said.update(_ours(program, command) for _ in range(times))
        return
    command = [str(VESPIARY.build(program.path, "-O1")), *program.arguments]
    said = program.said.setdefault(VESPIARY.name, Counter())
    said.update(_ours(program, command) for _ in range(times))
    for detector in PEERS if peer_times else ():
        if missing(detector):
            continue
        command = [str(detector.build(program.path, "-O1")), *program.arguments]
        said = program.said[detector.name] = Counter[str]()
        while said.total() < peer_times:
            said[_theirs(program, detector, command)] += 1
            if sum(count for what, count in said.items() if "hang" in what) == HANGS_MAX:
                break
    sys.stderr.write(f"{program.path.name}: {dict(program.said)}\n")


def cell(program: Program, name: str) -> str:
    said = program.said.get(name)
    if said is None:
        return ""
    cells = []
    for what, count in said.most_common():
        if name.startswith(VESPIARY.name):
            right = is_ours_right(program, what)
            text = what
        else:
            right = program.is_right(what) or not program.counts
            text = f"false alarm: {what}" if program.quiet and what != "nothing" else what
        text = text if right else f"**{text}**"
        cells.append(text if len(said) == 1 else f"{text} ({count} of {said.total()})")
    return "; ".join(cells)


def score(found: Sequence[Program], name: str) -> str:
    counted = [program for program in found if program.counts and name in program.said]
    right = sum(all(map(program.is_right, program.said[name])) for program in counted)
    return f"{right} of {len(counted)}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def _page(found: Sequence[Program], times: int, peer_times: int) -> str:
    native = [program for program in found if program.path.suffix == ".c"]
    python = [program for program in found if program.path.suffix == ".py"]
    peers = [detector.name for detector in PEERS]
    lines = [INTRODUCTION, READING]
    told = ", ".join(f"{name} {version}" for name, version in versions.found().items())
    lines += [
        f"{time.strftime('%Y-%m-%d')}; {told}. Vespiary ran each program {times} times, the peers "
        f"{peer_times} times ({HANGS_MAX} times where it hung).",
        "",
        "## C",
        "",
    ]
    names = [VESPIARY.name, *peers]
    rows = [
        [program.path.stem, program.about, program.expected]
        + [cell(program, name) for name in names]
        for program in native
    ]
    ours = sum(all(is_ours_right(it, what) for what in it.said[VESPIARY.name]) for it in native)
    scores = [f"{ours} of {len(native)}", *(score(native, name) for name in peers)]
    rows.append(["right", "", "", *scores])
    lines += table(["program", "what it does", "expected", *names], rows)
    lines += ["## Python", "", "The peers do not see Python's locks.", ""]
    names = list(dict.fromkeys(name for program in python for name in program.said))
    rows = [
        [program.path.stem, program.about, program.expected]
        + [cell(program, name) for name in names]
        for program in python
    ]
    lines += table(["program", "what it does", "expected", *names], rows)
    return "\n".join(lines).rstrip() + "\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benches.locks.verdicts", description=__doc__)
    parser.add_argument("--times", type=int, default=10, help="runs of Vespiary (10)")
    parser.add_argument("--peer-times", type=int, default=5, help="runs of each peer (5)")
    parser.add_argument(
        "--all-pythons", action="store_true", help="Python's programs on each CPython found"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="at the same time")
    parser.add_argument("--only", default="", help="programs whose name holds this text")
    return parser.parse_args()


def main() -> int:
    """Run all programs; 1 when Vespiary was wrong about one."""
    given = _arguments()
    found = [program for program in programs() if given.only in program.path.name]
    pythons = versions.pythons() if given.all_pythons else [sys.executable]
    # What the programs of Python's and native locks load.
    os.environ["NATIVE"] = str(BARE.build(PROGRAMS / "native.c", "-shared", "-fPIC"))

    def judge_one(program: Program) -> None:
        judge(program, pythons, given.times, given.peer_times)

    with ThreadPoolExecutor(given.jobs) as pool:
        list(pool.map(judge_one, found))
    if not given.only:
        PAGE.write_text(_page(found, given.times, given.peer_times))
        document = {
            "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "machine": machine.describe(),
            "versions": versions.found(),
            "programs": {it.path.name: {"expected": it.expected, "said": it.said} for it in found},
        }
        path = RESULTS / f"{time.strftime('%Y-%m-%d')}-locks-verdicts.json"
        path.write_text(json.dumps(document, indent=1) + "\n")
    wrong = 0
    for program in found:
        for name, said in program.said.items():
            if name.startswith(VESPIARY.name):
                for what, count in said.items():
                    if not is_ours_right(program, what):
                        wrong += count
                        text = f"{program.path.name}: {name}: {what}, not {program.expected}"
                        sys.stderr.write(f"{text} ({count} of {said.total()} times)\n")
    runs = sum(
        said.total()
        for program in found
        for name, said in program.said.items()
        if name.startswith(VESPIARY.name)
    )
    print(f"{len(found)} programs, {runs} runs of Vespiary, {wrong} of them wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
