"""Instructions for one lock taken and released, by callgrind: the same on every machine and run.

A program runs with few turns and with many; the difference, divided by the further locks, is free
of the costs of starting. The library is preloaded as `vespiary locks` does it, without the process
that watches.
"""

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benches.locks import pairs, versions
from benches.locks.detectors import BARE, VESPIARY, DetectorError, missing, run
from benches.locks.detectors import HELGRIND as VALGRIND
from vespiary.prove.locks.preload import environment

FEW = 100
MANY = 2_100
TURNS_OF_BLOCKS = 7
"""A block of programs/pairs.* has as many turns as its argument says; a case has seven blocks."""
PYTHON_CASES = ("lock", "rlock")
SECONDS_MAX = 180.0


@dataclass(frozen=True)
class Count:
    """Instructions of one lock taken and released."""

    subject: str
    case: str
    detector: str
    instructions: float


def collected(command: list[str], watched: bool) -> int:
    """Instructions of a program in all, bare or with the library."""
    with tempfile.TemporaryDirectory() as folder:
        variables = environment(Path(folder), None) if watched else {}
        words = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command]
        status, output = run(words, SECONDS_MAX, variables)
    told = re.search(r"Collected : (\d+)", output)
    if status != 0 or told is None:
        raise DetectorError(f"callgrind: {' '.join(command)}: {output[-300:]}")
    return int(told[1])


def _count(subject: str, command: list[str], case: str, locks: int, watched: bool) -> Count:
    few, many = (collected([*command, str(turns), case], watched) for turns in (FEW, MANY))
    turns = (MANY - FEW) * TURNS_OF_BLOCKS + (MANY - FEW) // 10
    detector = VESPIARY if watched else BARE
    return Count(subject, case, detector.name, (many - few) / turns / locks)


def count(say: Callable[[str], None]) -> list[Count]:
    """Count all cases, bare and watched; none without Valgrind."""
    if missing(VALGRIND):
        return []
    counts = []
    program = str(BARE.build(pairs.PROGRAMS / "pairs.c", "-O2"))
    say("==> Counting instructions")
    for watched in (False, True):
        for case, (_, locks) in pairs.NATIVE.items():
            counts.append(_count("native", [program], case, locks, watched))
        for python in versions.pythons():
            script = [python, str(pairs.PROGRAMS / "pairs.py")]
            name = versions.python(python)
            counts += [_count(name, script, case, 1, watched) for case in PYTHON_CASES]
    return counts
