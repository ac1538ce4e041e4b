"""`python -m benches.robustness`: what a server does in trouble, in figures, on both drivers.

    python -m benches.robustness
    python -m benches.robustness --before /path/to/another/version/.venv/bin/python
    python -m benches.robustness --case pause --driver epoll

It starts each server itself, stops only what it has started, and speaks to the loopback only; each
case is bounded in connections, bytes and time. Peers are plain sockets. Some 3,500 descriptors are
needed here and in the server.
"""

import argparse
import resource
import subprocess
import sys
import time

from benches import machine
from benches.outcome import RESULTS
from benches.robustness.cases import CASES
from benches.robustness.peers import PeerError
from benches.robustness.process import ServerError, Version

DRIVERS = ("uring", "epoll")
DESCRIPTORS = 8000
CASE_SECONDS_MAX = 300


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benches.robustness", description=__doc__)
    parser.add_argument("--before", metavar="PYTHON", help="of a version to compare with")
    parser.add_argument("--case", action="append", choices=list(CASES), help="may be repeated")
    parser.add_argument("--driver", action="append", choices=DRIVERS, help="may be repeated")
    parser.add_argument("--name", help="write the table into benches/results under this name")
    return parser.parse_args()


def _measure(
    versions: list[Version], drivers: list[str], cases: list[str]
) -> dict[str, dict[str, dict[tuple[str, str], str]]]:
    """The figures by case, by what they are of, and by version and driver."""
    found: dict[str, dict[str, dict[tuple[str, str], str]]] = {}
    for case in cases:
        rows = found.setdefault(case, {})
        for version in versions:
            for driver in drivers:
                sys.stderr.write(f"{case}, {version.name}, {driver}\n")
                try:
                    for what, value in CASES[case](version, driver):
                        rows.setdefault(what, {})[version.name, driver] = value
                        sys.stderr.write(f"    {what}: {value}\n")
                except (ServerError, PeerError, OSError) as error:
                    sys.stderr.write(f"    failed: {error}\n")
                    rows.setdefault("failed", {})[version.name, driver] = str(error)
    return found


def _table(
    found: dict[str, dict[str, dict[tuple[str, str], str]]],
    versions: list[Version],
    drivers: list[str],
) -> str:
    columns = [(version.name, driver) for version in versions for driver in drivers]
    described = machine.describe()
    lines = [
        "# A server in trouble",
        "",
        f"{time.strftime('%Y-%m-%d')}; {described['processor']}, {described['cores']} cores, Linux"
        f" {described['kernel']}. Repeat it with `python -m benches.robustness`;"
        " `--before` takes the interpreter of another version.",
    ]
    for case, rows in found.items():
        heading = " | ".join(f"{name}, {driver}" for name, driver in columns)
        lines += ["", CASES[case].__doc__ or case, "", f"| | {heading} |"]
        lines.append("|---|" + "---|" * len(columns))
        for what, values in rows.items():
            lines.append(f"| {what} | " + " | ".join(values.get(it, "") for it in columns) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, and print the table."""
    given = _arguments()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, most), most))
    versions = [Version("now", sys.executable)]
    if given.before:
        versions.insert(0, Version("before", given.before))
    drivers, cases = given.driver or list(DRIVERS), given.case or list(CASES)
    found = _measure(versions, drivers, cases)
    text = _table(found, versions, drivers)
    sys.stdout.write(text)
    if given.name:
        (RESULTS / f"{given.name}.md").write_text(text)
    return int(any("failed" in rows for rows in found.values()))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.SubprocessError as error:
        sys.exit(f"benches.robustness: {error}")
