"""`python -m benches.locks`: what `vespiary locks` costs, beside the bare program and the peers."""

import argparse
import json
import os
import random
import sys
import time
from dataclasses import asdict
from pathlib import Path

from benches import machine
from benches.load_client import LoadError
from benches.locks import instructions, load, pairs, versions
from benches.locks.detectors import PEERS, DetectorError, missing
from benches.locks.report import markdown
from benches.measurement import ServerError
from benches.outcome import RESULTS
from benches.provision import provide, say

PARTS = ("pairs", "load", "instructions")
CORES_MIN = 2


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benches.locks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often (5)")
    parser.add_argument("--seconds", type=float, default=1.5, help="of each load (1.5)")
    parser.add_argument("--only", action="append", choices=PARTS, help="may be repeated")
    parser.add_argument("--quick", action="store_true", help="one short round: does it work?")
    parser.add_argument("--without-peers", action="store_true", help="ours and bare only")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--name", default=f"{time.strftime('%Y-%m-%d')}-locks", help="of the files")
    return parser.parse_args()


def _heading(rounds: int, seconds: float) -> list[str]:
    told = machine.describe()
    with_versions = ", ".join(f"{name} {number}" for name, number in versions.found().items())
    return [
        "# What watching locks costs",
        "",
        f"{time.strftime('%Y-%m-%d')}; {machine.in_words(told)}, "
        f"{told['distribution']}; {rounds} interleaved rounds (the peers "
        f"at most {pairs.PEER_ROUNDS_MAX}), loads of {seconds:g} s with the server and what "
        "watches it on core 0 and the client on core 1. Medians; what is added and lost is taken "
        "within a round, with the least and the most. Locks that nobody else wants are measured in "
        "CPU time of their thread. The loss by CPU is what a server would lose whose core does "
        "nothing else; other programs on the machine disturb it less than the throughput.",
        "",
        f"Versions: {with_versions}.",
    ]


def main() -> int:
    """Measure, and write the results."""
    given = _arguments()
    rounds, seconds = (1, 0.3) if given.quick else (given.rounds, given.seconds)
    parts = given.only or PARTS
    absent = {peer.name: why for peer in PEERS if (why := missing(peer))}
    absent |= {it.name: why for it in load.SUBJECTS if (why := load.missing(it))}
    if "load" in parts and len(os.sched_getaffinity(0)) < CORES_MIN:
        parts = [part for part in parts if part != "load"]
        absent["servers under load"] = "one core for the server and one for the client are wanted"
    costs: list[pairs.Cost] = []
    paces: list[load.Pace] = []
    counts: list[instructions.Count] = []
    try:
        if "load" in parts:
            paces = load.measure(rounds, seconds, given.seed, provide([], None).load, say)
        if "pairs" in parts:
            costs = pairs.measure(rounds, given.seed, not given.without_peers, say)
        if "instructions" in parts:
            counts = instructions.count(say)
    except (DetectorError, ServerError, LoadError) as error:
        sys.stderr.write(f"benches.locks: {error}\n")
        return 1
    text = markdown(_heading(rounds, seconds), costs, paces, counts, absent)
    if given.quick or given.only:
        print(text)
        return 0
    document = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": machine.describe(),
        "versions": versions.found(),
        "rounds": rounds,
        "seconds": seconds,
        "seed": given.seed,
        "missing": absent,
        "pairs": [asdict(it) for it in costs],
        "load": [asdict(it) for it in paces],
        "instructions": [asdict(it) for it in counts],
    }
    (RESULTS / f"{given.name}.json").write_text(json.dumps(document, indent=1) + "\n")
    path: Path = RESULTS / f"{given.name}.md"
    path.write_text(text)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
