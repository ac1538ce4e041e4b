"""Runs of `vespiary prove` as a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

PROVE = [sys.executable, "-m", "vespiary", "prove"]
SECONDS = 240.0


class Run(NamedTuple):
    """How a run ended, and what it wrote."""

    code: int
    output: str
    report: dict[str, Any]

    def cell(self, name: str) -> dict[str, Any]:
        """A cell by name."""
        cells: dict[str, dict[str, Any]] = {cell["id"]: cell for cell in self.report["cells"]}
        return cells[name]

    def kinds(self, name: str) -> set[str]:
        """What was found in a cell."""
        return {finding["kind"] for finding in self.cell(name)["findings"]}


def prove(suite: Path, *arguments: str, **variables: str) -> Run:
    """Run a suite; the report is the JSON that it writes, or nothing."""
    report = suite.parent / "report.json"
    if not os.access(suite.parent, os.W_OK) or suite.parent.name == "prove":
        raise AssertionError("copy the suite to a folder of the test's own")
    report.unlink(missing_ok=True)
    done = subprocess.run(
        [*PROVE, str(suite), "--json", str(report), *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={**os.environ, **variables},
        check=False,
    )
    data = json.loads(report.read_text()) if report.exists() else {}
    return Run(done.returncode, done.stdout + done.stderr, data)


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Where a test writes its suite; `server.py` is beside it."""
    source = Path(__file__).parent / "programs" / "server.py"
    (tmp_path / "server.py").write_text(source.read_text())
    return tmp_path / "suite.toml"
