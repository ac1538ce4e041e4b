"""Running the suites' modules in processes of their own, and the outcome of each test."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
WORKER = Path(__file__).with_name("worker.py")
MODULE_SECONDS = 400
DRIVERS = ("uring", "epoll")

Outcomes = dict[str, str]
"""The outcome of each test, by its name: passed, failed or skipped, and `hung or crashed`."""


def run_modules(
    python: Path, driver: str, modules: Iterable[str], folder: Path | None = None
) -> tuple[Outcomes, dict[str, str]]:
    """Run modules, a process for each; the outcomes, and the texts of failures."""
    outcomes: Outcomes = {}
    texts: dict[str, str] = {}
    for module in modules:
        with tempfile.TemporaryDirectory() as directory:
            report = Path(directory) / "report"
            command = [str(python), "-X", "faulthandler", str(WORKER), driver, str(report), module]
            path = [str(CHECKOUT / "src"), *([str(folder)] if folder else [])]
            output = _run(command, directory, os.pathsep.join(path))
            lines = report.read_text().splitlines() if report.exists() else []
            if not lines:
                outcomes[module] = "hung or crashed"
                texts[module] = output
            for line in lines:
                name, outcome, text = json.loads(line)
                if outcome == "running":
                    outcome = "hung or crashed"
                elif outcomes.get(name) == "failed":
                    continue
                outcomes[name] = outcome
                if outcome == "failed":
                    texts[name] = text
            for name, outcome in outcomes.items():
                if outcome == "hung or crashed":
                    texts.setdefault(name, output)
    return outcomes, texts


def _run(command: list[str], directory: str, path: str) -> str:
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("VESPIARY_DRIVER", None)
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=MODULE_SECONDS,
            text=True,
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return f"no end after {error.timeout} s"
    return done.stdout[-4000:]


def asyncio_modules(python: Path) -> list[str]:
    """The modules of CPython's test_asyncio; none where the interpreter came without its tests."""
    code = "import test.test_asyncio; print(test.test_asyncio.__path__[0])"
    done = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, check=False, cwd="/"
    )
    if done.returncode:
        return []
    names = sorted(path.stem for path in Path(done.stdout.strip()).glob("test_*.py"))
    return [f"test.test_asyncio.{name}" for name in names if "windows" not in name]


def has_core(python: Path) -> bool:
    """Whether Vespiary was built for the interpreter in this checkout."""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "src")}
    done = subprocess.run(
        [python, "-c", "import vespiary.loop"], env=environment, capture_output=True, check=False
    )
    return done.returncode == 0


def version_of(python: Path) -> str:
    """The interpreter's version, as `3.12`."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run(
        [python, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def interpreters() -> list[Path]:
    """One CPython of each supported version that has its tests and for which the core was built."""
    candidates = [Path(sys.executable)]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates += sorted(pyenv.glob("3.*/bin/python"))
    candidates += [Path(f"/usr/bin/python3.{minor}") for minor in range(11, 15)]
    found: dict[str, Path] = {}
    for python in candidates:
        if python.exists() and has_core(python) and asyncio_modules(python):
            found.setdefault(version_of(python), python)
    return [found[version] for version in sorted(found)]
