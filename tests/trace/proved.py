"""Runs of the prover over a project, for the tests of its verdicts."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parent / "project"
CHECKOUT = PROJECT.parents[2]


def command(*arguments: str, config: Path = PROJECT / "trace.toml") -> list[str]:
    verb, *options = arguments
    return [sys.executable, "-m", "vespiary", "trace", verb, f"--config={config}", *options]


def environment(temporary: Path) -> dict[str, str]:
    target = os.environ.get("CARGO_TARGET_DIR", str(CHECKOUT / "target"))
    cargo = {"CARGO_TARGET_DIR": f"{target}/toy"}
    # A new process of pytest should not take the time that other plugins need.
    pytest_alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return {**os.environ, **cargo, **pytest_alone, "TMPDIR": str(temporary), "VESPIARY_TRACE": ""}


class Proved:
    """One run of the prover over the project."""

    def __init__(self, folder: Path, *arguments: str, config: Path = PROJECT / "trace.toml"):
        temporary = folder / "tmp"
        temporary.mkdir()
        self.evidence = folder / "evidence.json"
        options = [*arguments, f"--evidence={self.evidence}", "--json"]
        run = subprocess.run(
            command(*options, config=config),
            env=environment(temporary),
            capture_output=True,
            text=True,
            check=False,
        )
        self.status = run.returncode
        self.told: dict[str, Any] = json.loads(run.stdout) if run.stdout else {}
        self.errors = run.stderr
        self.left = list(temporary.iterdir())

    def one(self, table: str, **values: str) -> dict[str, Any]:
        """The only row of a table with these values."""
        rows: list[dict[str, Any]] = [
            row for row in self.told[table] if values.items() <= row.items()
        ]
        assert len(rows) == 1, self.told or self.errors
        return rows[0]
