"""`python -m benches.locks.steady`: what watching costs programs in steady state.

Django, gRPC and a threaded HTTP server in one process with their clients, and one thread that
holds ten thousand mutexes. Each program warms up, and then measures its own CPU time of a request,
so that neither the start nor a busy machine counts. A round runs each bare and watched, in turn;
the ratio is taken within a round. The table becomes benches/results/DATE-locks-steady.md. With
`--instructions` the instructions of a request are counted instead, under callgrind: of the program
alone, without the kernel's part, and the same on a busy machine.
"""

import argparse
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from benches import machine
from benches.locks import versions
from benches.locks.detectors import BARE, FOLDER, VESPIARY, DetectorError, run
from benches.locks.instructions import collected
from benches.outcome import RESULTS

PROGRAMS = Path(__file__).parent / "programs"
PACKAGES = ("Django==5.2", "grpcio==1.71.0")
BOUND = 0.15
RUN_SECONDS_MAX = 300.0
THREADS = 4
_FEW, _MANY = 10, 60


@dataclass
class Subject:
    """A program, and what a request of it has cost in each round, in nanoseconds of CPU time.

    Attributes:
        name: What it prints before the figure.
        title: What it is.
        command: How it is run.
        bare: Its figures by itself.
        watched: And under the detector.
    """

    name: str
    title: str
    command: tuple[str, ...]
    bare: list[float] = field(default_factory=list)
    watched: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """How much more time a request took, in each round."""
        return [after / before - 1 for before, after in zip(self.bare, self.watched, strict=True)]


def _python() -> str:
    """An interpreter with the packages, in the benchmarks' cache."""
    python = FOLDER / "steady" / "bin" / "python"
    if not python.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", FOLDER / "steady"], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", *PACKAGES]
    subprocess.run(pip, check=True)
    return str(python)


def _subjects(python: str, requests: int) -> list[Subject]:
    def program(name: str) -> tuple[str, ...]:
        return (python, str(PROGRAMS / f"{name}.py"), str(requests))

    held = str(BARE.build(PROGRAMS / "many_held.c", "-O2"))
    return [
        Subject("django", "Django: a request, with SQLite and a log", program("django_requests")),
        Subject("grpc", "gRPC: a unary call", program("grpc_calls")),
        Subject("http", "http.server: a request, with a queue", program("http_requests")),
        Subject("held", "10,000 mutexes held by a thread: one of them", (held, "10000")),
    ]


def _measure(subject: Subject, prefix: tuple[str, ...]) -> float:
    status, output = run([*prefix, *subject.command], RUN_SECONDS_MAX)
    for line in output.splitlines():
        name, _, figure = line.partition(" ")
        if name == subject.name and status == 0:
            return float(figure)
    raise DetectorError(f"{subject.name}: code {status}: {output[-500:]}")


def _table(subjects: list[Subject]) -> list[str]:
    lines = [
        "| program | bare, ns | watched, ns | more | lower quartile | upper quartile |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for each in subjects:
        figures = [statistics.median(each.bare), statistics.median(each.watched)]
        # The least and the most are what the machine's other work has made of them.
        low, middle, high = statistics.quantiles(each.ratios, n=4)
        cells = [f"{figure:,.0f}" for figure in figures]
        cells += [f"{ratio:+.1%}" for ratio in (middle, low, high)]
        lines.append(f"| {each.title} | {' | '.join(cells)} |")
    return lines


def _instructions(subject: Subject, watched: bool) -> float:
    """The further ones of further requests, for each; a request comes before as often as after."""
    *words, _ = subject.command
    few, many = (collected([*words, str(each)], watched) for each in (_FEW, _MANY))
    return (many - few) / ((_MANY - _FEW) * 2 * THREADS)


def _count(subjects: list[Subject]) -> None:
    """Print the instructions of a request, bare and watched."""
    print("| program | bare, instructions | watched | more |\n|---|---:|---:|---:|")
    for each in subjects:
        bare, watched = (_instructions(each, way) for way in (False, True))
        print(f"| {each.title} | {bare:,.0f} | {watched:,.0f} | {watched / bare - 1:+.1%} |")


def main() -> int:
    """Measure, and write the result; 1 if a server takes more time than the bound allows."""
    parser = argparse.ArgumentParser(prog="python -m benches.locks.steady", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="how often (7)")
    parser.add_argument("--requests", type=int, default=1500, help="per thread (1500)")
    parser.add_argument("--only", default="", help="the program of this name")
    parser.add_argument("--instructions", action="store_true", help="count those of a request")
    given = parser.parse_args()
    if given.rounds < 2:
        parser.error("--rounds is 2 at least: the spread is taken of them")
    subjects = [it for it in _subjects(_python(), given.requests) if given.only in it.name]
    try:
        if given.instructions:
            _count([it for it in subjects if it.name != "held"])
            return 0
        for number in range(given.rounds):
            for each in subjects:
                # Alternately, which of the two comes first.
                ways = [(each.bare, ()), (each.watched, VESPIARY.prefix)]
                for figures, prefix in ways if number % 2 == 0 else reversed(ways):
                    figures.append(_measure(each, prefix))
            if number > 0:
                sys.stderr.write("\n".join(_table(subjects)) + "\n")
    except DetectorError as error:
        sys.stderr.write(f"benches.locks.steady: {error}\n")
        return 1
    told = ", ".join(f"{name} {version}" for name, version in versions.found().items())
    text = "\n".join(
        [
            "# What watching locks costs in steady state",
            "",
            f"{time.strftime('%Y-%m-%d')}; {machine.in_words(machine.describe())}; {told};"
            f" {', '.join(PACKAGES)}. {given.rounds} rounds of {given.requests} requests per"
            " thread, 4 threads, after as many to warm up. CPU time of the whole process.",
            "",
            *_table(subjects),
            "",
        ]
    )
    if not given.only:
        (RESULTS / f"{time.strftime('%Y-%m-%d')}-locks-steady.md").write_text(text)
    print(text)
    servers = [each for each in subjects if each.name != "held"]
    return int(any(statistics.median(each.ratios) > BOUND for each in servers))


if __name__ == "__main__":
    sys.exit(main())
