"""Run the tests of one of the commands `make test`, `test-all`, `test-everything` and `nightly`.

    run_tests.py test             the Rust crates, and the quick part of Python's tests (suite.py)
    run_tests.py test-all         the rest: servers, tools, other CPythons, the trace, the wheel
    run_tests.py test-everything  what takes hours: many seeds, all cases, all of every CPython
    run_tests.py nightly [CASE...]  the examples, or these, on every CPython, under valgrind, and
                                  on three hosts; without CASE also the planted defects ten times

Each names at its end what it left out, and what was skipped and why. With VESPIARY_FORBID_SKIPS=1 a
skipped or ignored test fails the run.
"""

import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from xml.etree import ElementTree

from run_trace import run_trace
from steps import CHECKOUT, Steps
from suite import (
    NEED_CHECK,
    OTHER_PYTHONS,
    QUICK,
    REST,
    commit,
    has_serial,
    part_of_api,
    processes,
    pytest_command,
    version,
)

REPORTS = CHECKOUT / ".cache" / "test"
CARGO = ["cargo", "test", "--locked"]
# The Python crate is a binding: Python's tests are its tests.
RUST = [*CARGO, "--workspace", "--exclude", "vespiary-python"]
NOTHING_COLLECTED = 5
SEEDS = "0..20000"
NOT_UNDER_VALGRIND = {
    "test_dice": "whose hundred clients need more descriptors and time than there are under it",
    "workers_chat": "whose supervisor calls pidfd_open(2), which valgrind 3.19 does not know",
    "wasp": "which has a plug-in in a process of its own, and calls pidfd_open(2) for it",
}
"""Examples, and why."""

DEFECT_RUNS = "10"
MESSAGES = "1000"
EXAMPLES = "5000"
LEFT_TO_ALL = f"""\
Left to `make test-all`: the tests marked slow, tests/{", tests/".join(one.name for one in REST)};
the other CPythons; the trace of the requirements; the wheel."""
LEFT_TO_EVERYTHING = """\
Left to `make test-everything`: most seeds of the simulations, the whole of tests/api on the other
CPythons and in other loops, all messages of Autobahn's compression cases, CPython's and uvloop's
own tests, fuzzing."""


def main() -> int:
    """Run what was asked for; the exit status is 1 if anything failed."""
    name, *cases = sys.argv[1:] or [""]
    commands: dict[str, Callable[[Steps], None]] = {
        "test": run_quick,
        "test-all": run_rest,
        "test-everything": run_everything,
        "nightly": lambda steps: run_nightly(steps, cases),
    }
    if name not in commands or (cases and name != "nightly"):
        print(f"usage: run_tests.py {'|'.join(commands)} [CASE...]", file=sys.stderr)
        return 2
    REPORTS.mkdir(parents=True, exist_ok=True)
    steps = Steps(name)
    commands[name](steps)
    return steps.finish()


def run_quick(steps: Steps) -> None:
    """What a person who changes something wants to know.

    The crates' tests run beside Python's, which wait for most of their time.
    """
    built = steps.run("The Rust tests are built", [*RUST, "--no-run"])
    with ThreadPoolExecutor(1) as beside:
        rust = beside.submit(run_rust) if built else None
        run_folders(steps, QUICK, "not slow")
    if rust:
        rust.result().report(steps)
    steps.left = LEFT_TO_ALL


def run_rest(steps: Steps) -> None:
    """Everything else, except for what takes hours."""
    probes = [*CARGO, "--quiet", "--package", "vespiary-trace", "--features", "probes"]
    steps.run("Rust tests of the probes, which a normal build has not", probes)
    run_folders(steps, QUICK, "slow")
    for folder in REST:
        run_folders(steps, (folder.name,), "", at_once=folder.at_once)
    prove(steps, "The examples under every tool, on both drivers", "tools")
    run_trace(steps)
    run_other_pythons(steps, whole=False)
    steps.run("The wheel installs into an empty environment and serves", ["make", "wheel"])
    steps.left = LEFT_TO_EVERYTHING


def run_everything(steps: Steps) -> None:
    """What takes hours."""
    simulation = [*CARGO, "--package", "vespiary-engine", "--test", "simulation"]
    steps.run(f"Simulation, seeds {SEEDS}", simulation, {"VESPIARY_SEEDS": SEEDS})
    for loop in ("asyncio", "uvloop"):
        run_folders(steps, ("api",), "", environment={"VESPIARY_TEST_LOOP": loop})
    run_other_pythons(steps, whole=True)
    hostile = pytest_command(
        Path(sys.executable),
        REPORTS / "streams.xml",
        ["tests/acceptance/hostile/test_streams.py"],
        1,
    )
    steps.run("Streams of frames", hostile, {"VESPIARY_FUZZ_EXAMPLES": EXAMPLES})
    for command in ("conformance", "suites", "fuzz"):
        steps.run(f"make {command}", ["make", f"MESSAGES={MESSAGES}", command])


def run_nightly(steps: Steps, cases: list[str]) -> None:
    """The examples where `make test-all` does not run them; every run is kept in a history.

    Args:
        steps: Where it is noted.
        cases: Names of cases, with * for any characters; all without any.
    """
    history = ["--history", str(REPORTS / "nightly.sqlite")]
    for other, python in build_other_pythons(steps):
        options = [*cases, "--tool", "plain", "--python", str(python), *history]
        prove(steps, f"The examples on CPython {other}", "python-" + other, *options)
    if not cases:
        run_folders(
            steps,
            ("prove/test_defects.py",),
            "",
            at_once=False,
            environment={"VESPIARY_DEFECT_RUNS": DEFECT_RUNS},
        )
    names = [name for name in example_cases() if any(fnmatch(name, each) for each in cases or "*")]
    cells = [f"{name}/valgrind/epoll" for name in names if name not in NOT_UNDER_VALGRIND]
    if cells:
        valgrind = [*cells, "--tool", "valgrind", *history]
        prove(steps, "The examples under valgrind", "valgrind", *valgrind)
    hosts = [sys.executable, "tools/run_hosts.py", *cases, "--tool", "plain", *history]
    run_cells(steps, "The examples on three hosts, over SSH", "hosts", hosts)
    steps.left = "".join(
        f"Not under valgrind: {name}, {why}.\n" for name, why in NOT_UNDER_VALGRIND.items()
    )


def example_cases() -> list[str]:
    """The names of the cases of examples/suite.toml."""
    suite = tomllib.loads((CHECKOUT / "examples" / "suite.toml").read_text())
    return list(suite["cases"])


def prove(steps: Steps, name: str, label: str, *options: str) -> None:
    """Run the cases of examples/suite.toml, which wait for most of their time."""
    command = [sys.executable, "-m", "vespiary", "prove", "examples/suite.toml"]
    run_cells(steps, name, label, [*command, "--jobs", str(processes()), *options])


def run_cells(steps: Steps, name: str, label: str, command: list[str]) -> None:
    """Run a command with the options of `vespiary prove`, and write its reports."""
    report = REPORTS / f"examples-{label}.xml"
    report.unlink(missing_ok=True)
    page = ["--html", str(report.with_suffix(".html")), "--junit", str(report)]
    steps.run(name, [*command, *page], reasons=lambda: failures(report))


@dataclass(frozen=True, slots=True)
class RustRun:
    """What the crates' tests have written, and with which exit status they ended."""

    lines: list[str]
    status: int
    seconds: float

    def report(self, steps: Steps) -> None:
        """Print all but what passed, and add the outcome; tests that were ignored are counted."""
        name = "Rust tests (cargo test), beside those of Python"
        shown = [line for line in self.lines if not re.match(r"test .* \.\.\. ok$", line)]
        print(f"\n==> {name}", *shown, sep="\n", flush=True)
        ignored = [line for line in shown if re.match(r"test .* \.\.\. ignored", line)]
        failed = [line for line in shown if re.match(r"test .* \.\.\. FAILED|error", line)]
        forbid_skips = os.environ.get("VESPIARY_FORBID_SKIPS") == "1"
        passed = self.status == 0 and not (forbid_skips and ignored)
        reasons = [*failed, *(ignored if forbid_skips else [])]
        steps.record(name, passed, self.seconds, ignored, reasons)


def run_rust() -> RustRun:
    """Run the crates' tests."""
    began = time.monotonic()
    done = subprocess.run(
        [*RUST, "--no-fail-fast"],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return RustRun(done.stdout.splitlines(), done.returncode, time.monotonic() - began)


def run_folders(
    steps: Steps,
    folders: tuple[str, ...],
    marked: str,
    *,
    at_once: bool = True,
    environment: dict[str, str] | None = None,
) -> None:
    """Run folders of tests, restricted by a mark's expression, first those that may run at once."""
    paths = [f"tests/{folder}" for folder in folders]
    kinds = [(processes(), "not serial"), *([(1, "serial")] if has_serial(paths) else [])]
    if "style" in folders:
        paths += [f"--ignore={path}" for path in NEED_CHECK]
    label = "-".join(filter(None, [version(), *folders, marked.replace(" ", "-")]))
    python = Path(sys.executable)
    if not at_once:
        selection = [*paths, *(["-m", marked] if marked else [])]
        run_pytest(steps, python, label.replace("/", "-"), selection, 1, environment)
        return
    for count, kind in kinds:
        expression = f"{marked} and {kind}" if marked else kind
        selection = [*paths, "-m", expression]
        run_pytest(steps, python, f"{label}-{count}", selection, count, environment)


def run_pytest(
    steps: Steps,
    python: Path,
    label: str,
    selection: list[str],
    count: int,
    environment: dict[str, str] | None = None,
) -> None:
    """Run pytest, and note each skipped test with its reason."""
    report = REPORTS / f"cpython-{label}.xml"
    report.unlink(missing_ok=True)
    manner = f"{count} at once" if count > 1 else "one by one"
    steps.run(
        f"Python tests, CPython {label.split('-')[0]}, {manner}: {' '.join(selection)}",
        pytest_command(python, report, selection, count),
        environment,
        notes=lambda: skips(report),
        # No test of the folder has this mark.
        accepted=(0, NOTHING_COLLECTED) if "-m" in selection else (0,),
        reasons=lambda: failures(report),
    )


def skips(report: Path) -> list[str]:
    """Each skipped test of a JUnit report, with its reason."""
    if not report.exists():
        return ["wrote no report"]
    return [
        f"skipped: {case.get('classname')}.{case.get('name')}: {skipped.get('message')}"
        for case in ElementTree.parse(report).iter("testcase")
        for skipped in case.iter("skipped")
    ]


def failures(report: Path) -> list[str]:
    """Each failed test or cell of a JUnit report, with the first line of its reason."""
    if not report.exists():
        return ["wrote no report"]
    return [
        f"{name_of(case)}: {first_line(found)}"
        for case in ElementTree.parse(report).iter("testcase")
        for found in (*case.iter("failure"), *case.iter("error"))
    ]


def name_of(case: ElementTree.Element) -> str:
    """A test with its file, or a cell."""
    name = case.get("name") or ""
    return name if "/" in name.partition("[")[0] else f"{case.get('classname')}.{name}"


def first_line(found: ElementTree.Element) -> str:
    """The first line of what a JUnit report says about a failure, and its kind if it has one."""
    lines = (found.get("message") or found.text or "").strip().splitlines()
    kind = found.get("type")
    return (f"{kind}: " if kind else "") + (lines[0] if lines else "no reason given")


def build_other_pythons(steps: Steps, *, only_one: bool = False) -> Iterator[tuple[str, Path]]:
    """Build for each other supported CPython that is present; name the missing.

    Args:
        steps: Where it is noted.
        only_one: Of several, the commit decides which one is tested; the others are named.

    Returns:
        Its version, and the interpreter of its environment.
    """
    others = [other for other in find_python("versions").split() if other != version()]
    found = {other: python for other in others if (python := find_python(other))}
    chosen = list(found)[commit() % len(found)] if found else ""
    for other in others:
        if other not in found:
            steps.record(f"CPython {other}: not found on this machine, not tested", True, 0.0)
            continue
        if only_one and other != chosen:
            name = f"CPython {other}: not the turn of this commit (make test-everything tests it)"
            steps.record(name, True, 0.0)
            continue
        python = found[other]
        venv = CHECKOUT / f".venv-{other}"
        # In the profile of the crates' tests most is built by then, and nothing is linked twice.
        built = steps.run(
            f"Build for CPython {other}",
            ["make", f"VENV={venv.name}", f"PYTHON={python}", "PROFILE=dev", "build-for-tests"],
        )
        if built:
            yield other, venv / "bin" / "python"


def run_other_pythons(steps: Steps, *, whole: bool) -> None:
    """Test under other supported CPythons: all of them whole, or a part of tests/api under one."""
    for number, (other, python) in enumerate(build_other_pythons(steps, only_one=not whole)):
        api = ["tests/api"] if whole else part_of_api(number)
        selection = [
            *(f"tests/{folder}" for folder in OTHER_PYTHONS),
            *api,
            "-m",
            "not slow and not serial",
        ]
        run_pytest(steps, python, other, selection, processes())
    if not os.environ.get("VESPIARY_LOCKS_PYTHONS"):
        name = "Locks of CPython 3.14 and of a free-threaded one: VESPIARY_LOCKS_PYTHONS names none"
        steps.record(f"{name}, not tested", True, 0.0)


def find_python(what: str) -> str:
    """What tools/find_python.sh answers; empty if it finds nothing."""
    command = [str(CHECKOUT / "tools" / "find_python.sh"), what]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
