"""The whole test suite: the Rust crates, Python's under every supported CPython, the trace.

The interpreter that runs this file runs everything; the others build the core for themselves and
run the tests of Python's modules and of the interface. The summary names what was skipped and why.
With VESPIARY_FORBID_SKIPS=1 a skipped or ignored test fails the run.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

from run_trace import run_trace
from steps import CHECKOUT, Steps

REPORTS = CHECKOUT / ".cache" / "test"
PROBES = [
    "cargo",
    "test",
    "--quiet",
    "--locked",
    "--package",
    "vespiary-trace",
    "--features",
    "probes",
]


def main() -> int:
    """Run everything; the exit status is 1 if anything failed."""
    shutil.rmtree(REPORTS, ignore_errors=True)
    REPORTS.mkdir(parents=True)
    forbid_skips = os.environ.get("VESPIARY_FORBID_SKIPS") == "1"
    steps = Steps("test")
    run_rust(steps, forbid_skips)
    steps.run("Rust tests of the probes, which a normal build has not", PROBES)
    run_pytest(steps, Path(sys.executable), version(), ["tests", "--ignore=tests/style"])
    run_trace(steps)
    run_other_pythons(steps)
    tell_unsupported_pythons(steps)
    steps.run("The wheel installs into an empty environment and serves", ["make", "wheel"])
    return steps.finish()


def version() -> str:
    """The version of the interpreter that runs this file, as `3.11`."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def run_rust(steps: Steps, forbid_skips: bool) -> None:
    """Run the crates' tests, passing their output on and counting those that were ignored."""
    name = "Rust tests (cargo test)"
    print(f"\n==> {name}", flush=True)
    began = time.monotonic()
    # The Python crate is a binding: Python's tests are its tests.
    command = ["cargo", "test", "--workspace", "--exclude", "vespiary-python", "--locked"]
    ignored = []
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if re.match(r"test .* \.\.\. ok$", line):
                continue
            print(line, end="", flush=True)
            if re.match(r"test .* \.\.\. ignored", line):
                ignored.append(line.strip())
    passed = process.returncode == 0 and not (forbid_skips and ignored)
    steps.record(name, passed, time.monotonic() - began, ignored)


def run_pytest(steps: Steps, python: Path, label: str, arguments: list[str]) -> None:
    """Run pytest, and note each skipped test with its reason."""
    report = REPORTS / f"cpython-{label}.xml"
    steps.run(
        f"Python tests, CPython {label} ({' '.join(arguments)})",
        [python, "-m", "pytest", "-q", f"--junitxml={report}", *arguments],
        notes=lambda: skips(report),
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


def run_other_pythons(steps: Steps) -> None:
    """Build and test under each other supported CPython that is present; name the missing."""
    for other in find_python("versions").split():
        if other == version():
            continue
        python = find_python(other)
        if not python:
            steps.record(f"CPython {other}: not found on this machine, not tested", True, 0.0)
            continue
        venv = CHECKOUT / f".venv-{other}"
        # In the profile of the crates' tests most is built by then, and nothing is linked twice.
        built = steps.run(
            f"Build for CPython {other}",
            ["make", f"VENV={venv.name}", f"PYTHON={python}", "PROFILE=dev", "build-for-tests"],
        )
        if built:
            run_pytest(steps, venv / "bin" / "python", other, ["tests/unit", "tests/api"])


def tell_unsupported_pythons(steps: Steps) -> None:
    """Name the CPythons whose programs are watched, on which Vespiary itself does not run."""
    if not os.environ.get("VESPIARY_LOCKS_PYTHONS"):
        name = "Locks of CPython 3.14 and of a free-threaded one: VESPIARY_LOCKS_PYTHONS names none"
        steps.record(f"{name}, not tested", True, 0.0)


def find_python(what: str) -> str:
    """What tools/find_python.sh answers; empty if it finds nothing."""
    command = [str(CHECKOUT / "tools" / "find_python.sh"), what]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
