"""`python -m benches`: measure our echo servers and the peers side by side."""

import argparse
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benches.catalogue import BASELINES, Server, other, servers
from benches.outcome import Outcome
from benches.provision import provide, say
from benches.scenarios import BY_NAME, SCENARIOS, Scenario
from benches.session import Plan, enough_cores, enough_descriptors, perform


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benches", description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="how often (default 5)")
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="of each steady exchange (default 1)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="one repeat of short exchanges: does all of it work?"
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="TEXT",
        help="servers whose transport/name holds this text; may be repeated",
    )
    parser.add_argument(
        "--scenario",
        action="append",
        default=[],
        choices=list(BY_NAME),
        help="only this scenario; may be repeated",
    )
    parser.add_argument(
        "--other",
        action="append",
        default=[],
        metavar="TRANSPORT:NAME=COMMAND",
        help="measure this server too; {port} in the command is replaced",
    )
    parser.add_argument("--load-client", type=Path, help="use this program, do not build it")
    parser.add_argument("--name", default="", help="of the result files (default: date and time)")
    parser.add_argument("--seed", type=int, default=None, help="of the random orders")
    parser.add_argument("--list", action="store_true", help="name the servers and end")
    return parser.parse_args(words)


def _chosen(options: argparse.Namespace) -> list[Server]:
    everything = servers()
    if options.only:
        everything = tuple(
            server for server in everything if any(text in server.key for text in options.only)
        )
    return [*everything, *(other(text) for text in options.other)]


def _scenarios(names: Sequence[str]) -> list[Scenario]:
    return [scenario for scenario in SCENARIOS if not names or scenario.name in names]


def main(words: Sequence[str] | None = None) -> int:
    """Measure; the exit status is 1 if something could not be measured, missing peers aside."""
    options = _arguments(words)
    try:
        everything = _chosen(options)
    except ValueError as error:
        say(f"benches: {error}")
        return 2
    if options.list:
        print("\n".join(server.key for server in everything))
        return 0
    if not enough_cores():
        say("benches: server and load client need a core each, and only one is allowed")
        return 2
    scenarios = _scenarios(options.scenario)
    if not enough_descriptors(scenarios):
        say("benches: too few open files allowed for 10,000 connections; raise `ulimit -Hn`")
        return 2
    toolbox = provide(everything, options.load_client)
    for key, reason in toolbox.missing.items():
        say(f"    missing: {key}: {reason}")
    plan = Plan(
        servers=[server for server in everything if server.key not in toolbox.missing],
        scenarios=scenarios,
        repeats=1 if options.quick else options.repeats,
        seconds=0.3 if options.quick else options.seconds,
        seed=random.randrange(1 << 30) if options.seed is None else options.seed,
    )
    results = perform(plan, toolbox)
    outcome = Outcome("Echo servers side by side", plan, everything, toolbox, results, BASELINES)
    path = outcome.write(options.name or time.strftime("%Y-%m-%d-%H%M"))
    print(path.read_text())
    say(f"==> {path} and the .json and .svg beside it")
    return 1 if any(result.error for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
