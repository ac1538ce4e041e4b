"""`python -m tests.locks.real.indexed`: programs of Python's package index, bare and watched.

Each is run as it is and under `vespiary locks`: the output and the exit status must be the same,
and nothing may be reported. The packages are those of an interpreter that is named, or are
installed into an environment in a temporary folder. PyTorch is too large for that: its script runs
where an interpreter with it is named (Debian's python3 with python3-torch).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCRIPTS = Path(__file__).parent / "packages"
PACKAGES = (
    "celery CherryPy confluent-kafka Django eventlet gevent grpcio gunicorn numpy paho-mqtt pandas"
    " psycopg2-binary SQLAlchemy tornado uvicorn waitress"
)
SECONDS_MAX = 300


def _run(command: list[str]) -> tuple[int | None, str, float]:
    began = time.monotonic()
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None, "", time.monotonic() - began
    return done.returncode, done.stdout, time.monotonic() - began


def _can_run(python: str, script: Path) -> bool:
    """Whether the module is there that a script says it needs in its first line."""
    needs = script.read_text().partition("\n")[0].removeprefix("# needs: ")
    if not needs.isidentifier():
        return True
    return _run([python, "-c", f"import {needs}"])[0] == 0


def _row(python: str, script: Path) -> tuple[str, bool]:
    """A line of the table, and whether all was right."""
    status, said, seconds = _run([python, str(script)])
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        verb = [sys.executable, "-m", "vespiary", "locks", "--json", str(report), "--"]
        seen, said_watched, seconds_watched = _run([*verb, python, str(script)])
        told = json.loads(report.read_text()) if report.exists() else None
    is_same = (status, said) == (seen, said_watched)
    cells = [script.stem, "same" if is_same else f"{status} {said!r}, {seen} {said_watched!r}"]
    cells += [f"{seconds:.1f}", f"{seconds_watched:.1f}"]
    findings: list[str] = []
    if told is not None:
        coverage = told["coverage"]
        cells += [f"{coverage[name]:,}" for name in ("processes", "locks", "operations", "orders")]
        findings = [
            f"{each['kind']} {each['signature']}: {each['title']}"
            for each in told["findings"]
            if each["kind"] != "information"
        ]
    cells.append("; ".join(findings) or "0")
    return f"| {' | '.join(cells)} |", is_same and status == 0 and not findings


def main() -> int:
    """Run them; the exit status is 1 if one differed, failed, or raised an alarm."""
    parser = argparse.ArgumentParser(prog="python -m tests.locks.real.indexed")
    parser.add_argument("only", nargs="*", metavar="NAME", help="of the scripts (all)")
    parser.add_argument("--python", help="an interpreter that has the packages")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        python = given.python
        if python is None:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            python = str(Path(folder, "bin", "python"))
            install = [python, "-m", "pip", "install", "--quiet", *PACKAGES.split()]
            subprocess.run(install, check=True)
        is_right = True
        head = "program result bare,_s watched,_s processes locks taken orders told"
        print(f"| {head.replace(' ', ' | ').replace('_', ' ')} |")
        print("|---|---|---|---|---|---|---|---|---|", flush=True)
        for script in sorted(SCRIPTS.glob("[a-z]*.py")):
            if not given.only or script.stem in given.only:
                if not _can_run(python, script):
                    print(f"{script.stem}: not installed", file=sys.stderr)
                    continue
                row, was_right = _row(python, script)
                is_right = is_right and was_right
                print(row, flush=True)
    return int(not is_right)


if __name__ == "__main__":
    sys.exit(main())
