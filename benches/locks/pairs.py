"""What one lock costs which nobody else wants: taken and released, bare and under each detector.

The programs measure themselves, in CPU time of the thread that takes the locks, so that neither
starting nor a busy machine counts. A round runs all ways once, in a random order; what is added is
taken within a round.
"""

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benches.locks import versions
from benches.locks.detectors import BARE, PEERS, VESPIARY, Detector, DetectorError, missing, run

PROGRAMS = Path(__file__).parent / "programs"
NATIVE = {
    "single": ("pthread mutex", 1),
    "nested": ("three pthread mutexes, nested", 3),
    "reading": ("read-write lock, shared", 1),
    "writing": ("read-write lock, exclusive", 1),
    "spin": ("spin lock", 1),
}
"""The cases of programs/pairs.c: what each is, and how many locks a turn takes."""
PYTHON = {
    "lock": ("`with` a `Lock`", 1),
    "rlock": ("`with` an `RLock`", 1),
    "calls": ("`Lock.acquire`, `release`", 1),
    "condition": ("`with` a `Condition`", 1),
    "queue": ("`Queue.put`, `get`", 2),
}
"""The same for programs/pairs.py."""
NATIVE_TURNS = 300_000
PYTHON_TURNS = 40_000
PEER_ROUNDS_MAX = 3
"""More rounds do not change what is a hundred times slower."""
RUN_SECONDS_MAX = 120.0


@dataclass(frozen=True)
class Cost:
    """What a case cost in one round.

    Attributes:
        subject: `native`, or the interpreter.
        case: Its name.
        detector: Under which it ran.
        round: In which round.
        nanoseconds: CPU time of one lock taken and released.
    """

    subject: str
    case: str
    detector: str
    round: int
    nanoseconds: float


@dataclass(frozen=True)
class Way:
    """One program under one detector."""

    subject: str
    detector: Detector
    command: tuple[str, ...]
    locks: dict[str, int]

    def measure(self, number: int) -> list[Cost]:
        """Run it once.

        Raises:
            DetectorError: it failed or took too long.
        """
        status, output = run([*self.detector.prefix, *self.command], RUN_SECONDS_MAX)
        if status != 0:
            raise DetectorError(f"{self.command[0]} under {self.detector.name}: {output[-300:]}")
        costs = []
        for line in output.splitlines():
            case, _, value = line.partition(" ")
            if case in self.locks:
                nanoseconds = float(value) / self.locks[case]
                costs.append(Cost(self.subject, case, self.detector.name, number, nanoseconds))
        return costs


def _ways(peers: bool) -> list[Way]:
    source = PROGRAMS / "pairs.c"
    counts = {case: locks for case, (_, locks) in NATIVE.items()}
    ways = []
    for detector in (BARE, VESPIARY, *(PEERS if peers else ())):
        if missing(detector):
            continue
        turns = str(int(NATIVE_TURNS * detector.turns))
        ways.append(
            Way("native", detector, (str(detector.build(source, "-O2")), turns, *NATIVE), counts)
        )
    counts = {case: locks for case, (_, locks) in PYTHON.items()}
    for python in versions.pythons():
        command = (python, str(PROGRAMS / "pairs.py"), str(PYTHON_TURNS), *PYTHON)
        name = versions.python(python)
        ways += [Way(name, detector, command, counts) for detector in (BARE, VESPIARY)]
    return ways


def measure(rounds: int, seed: int, peers: bool, say: Callable[[str], None]) -> list[Cost]:
    """Measure all ways, so many rounds; the peers in the first few."""
    chance = random.Random(seed)
    ways = _ways(peers)
    costs: list[Cost] = []
    for number in range(rounds):
        say(f"==> Locks that nobody else wants, round {number + 1} of {rounds}")
        chance.shuffle(ways)
        for way in ways:
            if way.detector in (BARE, VESPIARY) or number < PEER_ROUNDS_MAX:
                costs += way.measure(number)
    return costs


def added(costs: Sequence[Cost], subject: str, case: str, detector: str) -> list[float]:
    """Nanoseconds that a detector adds to one lock, in each round."""
    of = {
        (cost.detector, cost.round): cost.nanoseconds
        for cost in costs
        if (cost.subject, cost.case) == (subject, case)
    }
    return [
        value - of[BARE.name, number] for (name, number), value in of.items() if name == detector
    ]


def median(costs: Sequence[Cost], subject: str, case: str, detector: str) -> float | None:
    """The median over the rounds, in nanoseconds; None where nothing was measured."""
    values = [
        cost.nanoseconds
        for cost in costs
        if (cost.subject, cost.case, cost.detector) == (subject, case, detector)
    ]
    return statistics.median(values) if values else None
