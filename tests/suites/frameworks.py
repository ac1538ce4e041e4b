"""Run Starlette's and FastAPI's own tests, in which their client sends to a live server of ours.

The tests are in the sources at PyPI, of the versions that are installed. They run twice, each time
in a process of pytest: with the framework's own client, which calls the application, and with ours
(live_client.py). What passes the first time must pass the second time, or is listed in
framework_differences.toml with its reason.
"""

from __future__ import annotations

import fnmatch
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from .runs import CHECKOUT
from .sources import sources

__all__ = ["FRAMEWORKS", "Outcome", "Reasons", "compare", "run"]

FRAMEWORKS = {"starlette": ("tests",), "fastapi": ("tests", "docs_src")}
"""The folders of their sources that the tests need."""

_LEFT_OUT = {"starlette": ("test_testclient.py",), "fastapi": ("test_prepare_release.py",)}
"""Tests of the client that ours takes the place of, and of a script for releases."""

_REQUIREMENTS = Path(__file__).with_name("framework_requirements.txt")
_DIFFERENCES = Path(__file__).with_name("framework_differences.toml")
_RUN_SECONDS_MAX = 3600
_CONFIGURATION = """\
[pytest]
timeout = 60
xfail_strict = true
addopts = --import-mode=importlib
"""


@dataclass(frozen=True)
class Outcome:
    """What happened to a test.

    Attributes:
        outcome: `passed`, `failed` or `skipped`.
        text: Of the failure.
        has_asked: Whether it has started a server of ours.
    """

    outcome: str
    text: str
    has_asked: bool


class Reasons:
    """The listed differences of a framework: patterns of tests' names, and why they differ."""

    def __init__(self, framework: str) -> None:
        with _DIFFERENCES.open("rb") as file:
            groups = tomllib.load(file).get(framework, [])
        self.patterns = {test: group["reason"] for group in groups for test in group["tests"]}

    def of(self, test: str) -> str | None:
        """Why a test differs."""
        # Names of parametrized tests have brackets, which fnmatch would take for a set.
        found = (
            reason
            for pattern, reason in self.patterns.items()
            if pattern == test or fnmatch.fnmatchcase(test, pattern.replace("[", "[[]"))
        )
        return next(found, None)

    def stale(self, stock: dict[str, Outcome], different: list[str]) -> list[str]:
        """The patterns of tests that pass with the framework's client, of which none differs."""
        passed = [test for test, outcome in stock.items() if outcome.outcome == "passed"]
        unused = []
        for pattern in self.patterns:
            brackets = pattern.replace("[", "[[]")
            names = [test for test in passed if fnmatch.fnmatchcase(test, brackets)]
            if names and not set(names) & set(different):
                unused.append(pattern)
        return unused


def compare(stock: dict[str, Outcome], live: dict[str, Outcome]) -> list[str]:
    """Tests that pass with the framework's client, and not with ours."""
    return [
        test
        for test, outcome in stock.items()
        if outcome.outcome == "passed" and (test not in live or live[test].outcome != "passed")
    ]


def run(
    framework: str, mode: str, driver: str | None = None, chosen: tuple[str, ...] = ()
) -> dict[str, Outcome]:
    """Run a framework's tests.

    Args:
        framework: `starlette` or `fastapi`.
        mode: `stock` or `live`.
        driver: Of our server.
        chosen: Files of tests, such as `test_routing.py`; all if it is empty.

    Returns:
        The outcomes by the names of the tests.

    Raises:
        RuntimeError: the tests did not run to their end.
    """
    cache = CHECKOUT / ".cache" / "suites"
    version = importlib.metadata.version(framework)
    folders = [sources(framework, version, name, cache) for name in FRAMEWORKS[framework]]
    root = folders[0].parent
    with tempfile.TemporaryDirectory() as directory:
        report, settings = Path(directory) / "report", Path(directory) / "pytest.ini"
        settings.write_text(_CONFIGURATION)
        command = [sys.executable, "-m", "pytest", "-q", "-c", str(settings)]
        command += ["--rootdir", str(root), "-p", "tests_live_client", "-p", "no:randomly"]
        command += ["--continue-on-collection-errors", "-p", "no:cacheprovider", "-p", "no:asyncio"]
        command += ["-p", "no:warnings"]
        command += [str(folders[0] / one) for one in chosen] or [str(folders[0])]
        command += [f"--ignore={folders[0] / one}" for one in _LEFT_OUT[framework]]
        plugin = Path(directory) / "tests_live_client.py"
        plugin.symlink_to(Path(__file__).with_name("live_client.py"))
        environment = {
            **os.environ,
            "LIVE_CLIENT": mode,
            "LIVE_CLIENT_REPORT": str(report),
            "LIVE_CLIENT_PACKAGES": str(packages(cache)),
            "PYTHONPATH": os.pathsep.join([str(root), directory, str(CHECKOUT / "src")]),
        }
        if driver is not None:
            environment["LIVE_CLIENT_DRIVER"] = driver
        done = subprocess.run(
            command,
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_RUN_SECONDS_MAX,
            check=False,
        )
        if not report.exists():
            raise RuntimeError(f"pytest ran no test:\n{done.stdout[-3000:]}")
        outcomes: dict[str, Outcome] = {}
        for line in report.read_text(encoding="utf-8").splitlines():
            name, outcome, text, has_asked = json.loads(line)
            if name not in outcomes or outcome == "failed":
                outcomes[name] = Outcome(outcome, text, has_asked)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"pytest ended with {done.returncode}:\n{done.stdout[-3000:]}")
        return outcomes


def packages(cache: Path) -> Path:
    """A folder with the packages that only these tests need; installed when it is not there."""
    folder = cache / "framework-packages"
    stamp = folder / "requirements.txt"
    wanted = _REQUIREMENTS.read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade"]
        command += ["--target", str(folder), "--requirement", str(_REQUIREMENTS)]
        command += ["--constraint", str(CHECKOUT / "tools" / "constraints.txt")]
        subprocess.run(command, check=True)
        stamp.write_text(wanted)
    return folder
