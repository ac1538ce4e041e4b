"""CPython's own tests of threads under the detector: they pass as usual, and raise no alarm.

`python -m tests.locks.real.interpreter` runs all of them under every supported CPython of the
machine that has its tests, each module bare and then watched; it takes about half an hour.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tests.locks.real.catalogue import KNOWN

MODULES = (
    "test_sched",
    "test_thread",
    "test_threading",
    "test_threading_local",
    "test_threadedtempfile",
    "test_threadsignals",
    "test_queue",
    "test_logging",
    "test_concurrent_futures",
    "test_multiprocessing_fork",
    "test_multiprocessing_spawn",
    "test_multiprocessing_forkserver",
    "test_asyncio",
)
QUICK = ("test_sched", "test_thread", "test_threading_local")
SECONDS = 900.0
TIMED_OUT = -1
FIND_PYTHON = Path(__file__).parents[3] / "tools" / "find_python.sh"
HAS = "import importlib.util, sys; print(*(n for n in sys.argv[1:] if importlib.util.find_spec(n)))"


def pythons() -> dict[str, str]:
    """The supported interpreters of this machine, by version."""
    versions = _ask(FIND_PYTHON, "versions").split()
    return {version: path for version in versions if (path := _ask(FIND_PYTHON, version))}


def modules(python: str) -> list[str]:
    """Those of the test modules that an installation has; distributions leave some out."""
    names = _ask(python, "-c", HAS, *(f"test.{module}" for module in MODULES)).split()
    return [name.removeprefix("test.") for name in names]


def _ask(*command: str | Path) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.strip()


@dataclass(frozen=True)
class Verdict:
    """The outcome of some test modules.

    Attributes:
        status: The exit code.
        tests: How many ran.
        failed: Those that failed.
        report: The detector's report; empty for a bare run.
        said: What was printed.
    """

    status: int
    tests: int
    failed: frozenset[str]
    report: dict[str, Any]
    said: str

    @property
    def told(self) -> list[dict[str, Any]]:
        """The findings that count."""
        return [each for each in self.report.get("findings", []) if each["kind"] != "information"]


def run_tests(python: str, *names: str, watched: bool) -> Verdict:
    """Run test modules of an interpreter, bare or under the detector."""
    with tempfile.TemporaryDirectory(prefix="vespiary-tests-") as name:
        folder = Path(name)
        results, report = folder / "results.xml", folder / "report.json"
        command = [python, "-m", "test", "--junit-xml", str(results), "--tempdir", name, *names]
        if watched:
            locks = [sys.executable, "-m", "vespiary", "locks", "--json", str(report)]
            command = [*locks, "--suppress", str(KNOWN / "cpython.toml"), "--", *command]
        status = TIMED_OUT
        with (folder / "said").open("w") as said, contextlib.suppress(subprocess.TimeoutExpired):
            status = subprocess.run(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                timeout=SECONDS,
                check=False,
            ).returncode
        cases = list(ElementTree.parse(results).iter("testcase")) if results.exists() else []
        failed = {
            str(case.get("name"))
            for case in cases
            if case.find("failure") is not None or case.find("error") is not None
        }
        told = json.loads(report.read_text()) if report.exists() else {}
        text = (folder / "said").read_text(errors="replace")
        return Verdict(status, len(cases), frozenset(failed), told, text)


def main() -> int:
    """Run all, or what was named; the exit status is 1 if a test failed that passes bare."""
    parser = argparse.ArgumentParser(prog="python -m tests.locks.real.interpreter")
    parser.add_argument("only", nargs="*", metavar="MODULE", help="test modules (all)")
    parser.add_argument(
        "--python",
        action="append",
        metavar="PATH",
        help="this interpreter instead of those found; may be repeated",
    )
    options = parser.parse_args()
    rows, wrong = [], False
    chosen = {path: path for path in options.python or ()} or pythons()
    for version, python in chosen.items():
        for module in modules(python):
            if options.only and module not in options.only:
                continue
            print(f"==> CPython {version}: {module}", flush=True)
            bare = run_tests(python, module, watched=False)
            seen = run_tests(python, module, watched=True)
            is_right = seen.tests > 0 and seen.failed <= bare.failed and not seen.told
            wrong = wrong or not is_right
            rows.append(_row(version, module, bare, seen))
            print(rows[-1] if is_right else seen.said, flush=True)
    print("\n| CPython | module | tests | fail bare | fail watched | processes | taken | told |")
    print("|---|---|---|---|---|---|---|---|", *rows, sep="\n")
    return int(wrong)


def _row(version: str, module: str, bare: Verdict, seen: Verdict) -> str:
    if TIMED_OUT in (bare.status, seen.status):
        return f"| {version} | {module} | timed out | | | | | |"
    coverage = seen.report["coverage"]
    counts = [seen.tests, len(bare.failed), len(seen.failed), coverage["processes"]]
    cells = [version, module, *map(str, counts), f"{coverage['operations']:,}", str(len(seen.told))]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
