"""`python -m benches.locks.start`: how long commands take to start, in turn, again and again.

What a start takes is mostly the import of modules. Printed are the medians and the least of the
elapsed time and of the CPU time with all children, in milliseconds. On a busy machine the least
elapsed time is what the command takes when nothing else is in its way.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

PYTHON = sys.executable
VESPIARY = str(Path(PYTHON).parent / "vespiary")
COMMANDS = {
    "true": ("true",),
    "vespiary locks -- true": (VESPIARY, "locks", "--", "true"),
    "vespiary --version": (VESPIARY, "--version"),
    "vespiary load --help": (VESPIARY, "load", "--help"),
    "python -c 'import click'": (PYTHON, "-c", "import click"),
    "python -c 'import vespiary'": (PYTHON, "-c", "import vespiary"),
    "python -c pass": (PYTHON, "-c", "pass"),
}


def _used() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benches.locks.start", description=__doc__)
    parser.add_argument("--rounds", type=int, default=21, help="how often (21)")
    parser.add_argument("--only", default="", help="commands whose name holds this text")
    given = parser.parse_args()
    commands = {name: words for name, words in COMMANDS.items() if given.only in name}
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(given.rounds):
        for name, command in commands.items():
            began, used = time.perf_counter(), _used()
            subprocess.run(command, check=False, capture_output=True)
            figures[name].append((time.perf_counter() - began, _used() - used))
    print("| command | elapsed, ms | least | CPU, ms | least |\n|---|---:|---:|---:|---:|")
    for name, found in figures.items():
        cells = [
            f"{summary(column) * 1000:.0f}"
            for column in zip(*found, strict=True)
            for summary in (statistics.median, min)
        ]
        print(f"| `{name}` | {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
