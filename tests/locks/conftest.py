"""Small programs, run under the detector, and what it reported of them."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))  # For `lock_layout`.

PROGRAMS = Path(__file__).parent / "programs"
COMPILER = shutil.which("cc") or "cc"


@dataclass(frozen=True)
class Result:
    """The outcome of a run: its exit code, what was printed, and the report."""

    status: int
    output: str
    report: dict[str, Any]

    @property
    def kinds(self) -> set[str]:
        """The kinds of what was found."""
        return {finding["kind"] for finding in self.report["findings"]}

    def findings(self, kind: str) -> list[dict[str, Any]]:
        """Those of a kind."""
        return [finding for finding in self.report["findings"] if finding["kind"] == kind]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Compiles a C program of the folder, once."""
    folder = tmp_path_factory.mktemp("programs")

    def build(name: str, *options: str) -> Path:
        target = folder / "-".join([name, *options])
        if not target.exists():
            source = PROGRAMS / f"{name}.c"
            words = ["-O1", "-g", "-pthread", *options, str(source), "-o", str(target)]
            subprocess.run([COMPILER, *words], check=True)
        return target

    return build


def compile_cpp(source: Path, folder: Path, *options: str) -> Path:
    """Compile a program of C++ into a folder."""
    compiler = shutil.which("c++")
    assert compiler, "c++ is missing, which comes with the C compiler that builds this project"
    program = folder / source.stem
    words = [compiler, *options, "-g", "-pthread", str(source), "-o", str(program)]
    subprocess.run(words, check=True)
    return program


@pytest.fixture
def watched(tmp_path: Path) -> Callable[..., Result]:
    """Runs a command under `vespiary locks`."""

    def run(
        *command: str | Path, seconds: float = 100, options: Sequence[str | Path] = ()
    ) -> Result:
        report = tmp_path / "report.json"
        verb = [sys.executable, "-m", "vespiary", "locks", "--json", str(report)]
        words = [*verb, *map(str, options), "--", *map(str, command)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=seconds, check=False)
        assert report.exists(), done.stderr
        return Result(done.returncode, done.stderr, json.loads(report.read_text()))

    return run
