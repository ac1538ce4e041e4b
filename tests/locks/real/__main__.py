"""`python -m tests.locks.real`: real programs under the detector, and a table of the outcome of it.

That a program is ended by SIGTERM, and says so by its status, is as well as that it ends with 0.
"""

import argparse
import signal
import sys

from tests.locks.real.catalogue import PROGRAMS, Program
from tests.locks.real.long_catalogue import MORE
from tests.locks.real.session import Session, perform

EVERYTHING = [*PROGRAMS, *MORE]


def main() -> int:
    """Run them; the exit status is 1 if one raised an alarm, or did not work."""
    options = _options()
    chosen = [each for each in EVERYTHING if not options.only or each.name in options.only]
    rows, wrong = [], False
    for program in chosen:
        if program.path is None:
            print(f"==> {program.name}: not installed (Debian: {program.package})", flush=True)
            continue
        print(f"==> {program.name}: {program.what}", flush=True)
        session = perform(program, options.seconds)
        is_right = session.status in (0, 128 + signal.SIGTERM) and session.done > 0
        wrong = wrong or not is_right
        rows.append(_row(program, session))
        print(session.said if not is_right or options.verbose else rows[-1], flush=True)
    print("\n| program | seconds | work | processes | locks | taken | orders | told | explained |")
    print("|---|---|---|---|---|---|---|---|---|", *rows, sep="\n")
    return int(wrong)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.locks.real", description=__doc__)
    parser.add_argument(
        "only", nargs="*", metavar="NAME", help=f"of {', '.join(each.name for each in EVERYTHING)}"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="of each load (default 20)")
    parser.add_argument("--verbose", action="store_true", help="show all that was printed")
    return parser.parse_args()


def _row(program: Program, session: Session) -> str:
    coverage = session.report["coverage"]
    counts = [coverage[name] for name in ("processes", "locks", "operations", "orders")]
    cells = [program.name, f"{session.seconds:.0f}", f"{session.done:,}"]
    cells += [f"{count:,}" for count in counts]
    cells += [str(len(session.told)), str(session.said.count("  suppressed: "))]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
