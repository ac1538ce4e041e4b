"""`python -m benches.locks.bursts`: what watching costs memcached, measured on a busy machine.

A bare and a watched memcached run at the same time, and short loads go to the one and to the other
in turn. The ratio of the CPU time of a request is taken within each pair of neighbouring loads, so
that what else the machine does falls out of it; printed are the ratios' median and quartiles.
"""

import argparse
import os
import statistics
import sys
from pathlib import Path

from benches import clocks
from benches.load_client import LoadError
from benches.locks import load
from benches.locks.detectors import BARE, VESPIARY
from benches.measurement import ServerError

WARM_UP_SECONDS = 1.0


def _cpu_us(client: Path, server: int, port: int, seconds: float) -> float:
    """CPU microseconds of the server for each request of a load."""
    with clocks.Sampler([server]) as sampler:
        burst = load.memcached_load(client, port, seconds)
    return sampler.between(burst.began, burst.ended) / 1000 / burst.requests


def measure(pairs: int, seconds: float) -> tuple[list[float], list[float]]:
    """The CPU time of a request in each load, bare and watched.

    Raises:
        ServerError: memcached did not start.
        LoadError: An answer was wrong or did not come.
    """
    client = BARE.build(load.PROGRAMS / "memcached_load.c", "-O2")
    memcached = load.SUBJECTS[0]
    bare: list[float] = []
    watched: list[float] = []
    os.sched_setaffinity(0, {load.LOAD_CORE})
    with (
        load.running(memcached, ()) as first,
        load.running(memcached, VESPIARY.prefix) as second,
    ):
        ways = [(bare, first), (watched, second)]
        for _, (_, port) in ways:
            load.memcached_load(client, port, WARM_UP_SECONDS)
        for number in range(pairs):
            # Alternately, which of the two comes first.
            for figures, (server, port) in ways if number % 2 == 0 else reversed(ways):
                figures.append(_cpu_us(client, server, port, seconds))
    return bare, watched


def main() -> int:
    """Measure, and print the result."""
    parser = argparse.ArgumentParser(prog="python -m benches.locks.bursts", description=__doc__)
    parser.add_argument("--pairs", type=int, default=31, help="of loads (31)")
    parser.add_argument("--seconds", type=float, default=0.3, help="of each load (0.3)")
    given = parser.parse_args()
    if why := load.missing(load.SUBJECTS[0]):
        sys.stderr.write(f"benches.locks.bursts: {why}\n")
        return 1
    try:
        bare, watched = measure(given.pairs, given.seconds)
    except (ServerError, LoadError) as error:
        sys.stderr.write(f"benches.locks.bursts: {error}\n")
        return 1
    ratios = [after / before - 1 for before, after in zip(bare, watched, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    print("| CPU of a request, us | bare | watched |\n|---|---:|---:|")
    for name, summary in (("median", statistics.median), ("least", min)):
        print(f"| {name} | {summary(bare):.2f} | {summary(watched):.2f} |")
    print(f"\nmore in a pair: {middle:+.1%} (quartiles {low:+.1%} and {high:+.1%})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
