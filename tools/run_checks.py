"""Every check that is not a test: formats, lints, types, imports, stubs, documents, style.

All of them run, so that one pass tells everything there is to repair.
"""

import sys
from pathlib import Path

from steps import Steps


def main() -> int:
    """Run the checks; the exit status is 1 if any of them failed."""
    python = Path(sys.executable)
    tools = python.parent
    cargo = {"PYO3_PYTHON": str(python)}
    steps = Steps("check")
    steps.run("Rust: format (cargo fmt)", ["cargo", "fmt", "--all", "--check"])
    steps.run(
        "Rust: lints (cargo clippy)",
        ["cargo", "clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
        cargo,
    )
    traced = ["--package=vespiary-trace", "--package=vespiary-wire", "--package=vespiary-engine"]
    steps.run(
        "Rust: lints of the tracing build (cargo clippy)",
        [
            "cargo",
            "clippy",
            *traced,
            "--features=vespiary-trace/probes",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ],
        cargo,
    )
    # These are not members of the workspace, so that the steps above say nothing of them.
    for what, folder in (
        ("native echo server of the benchmarks", "benches/choices/engine_echo"),
        ("fuzz targets", "fuzz"),
    ):
        manifest = f"--manifest-path={folder}/Cargo.toml"
        steps.run(
            f"Rust: lints of the {what} (cargo clippy)",
            [
                "cargo",
                "clippy",
                manifest,
                "--target-dir=target",
                "--locked",
                "--",
                "-D",
                "warnings",
            ],
        )
    steps.run("Python: format (ruff format)", [tools / "ruff", "format", "--check", "."])
    steps.run("Python: lints (ruff check)", [tools / "ruff", "check", "."])
    steps.run("Python: types (mypy --strict)", [tools / "mypy"])
    steps.run(
        "Python: types of the examples (basedpyright, strict)",
        [tools / "basedpyright", "--pythonpath", python],
    )
    steps.run("Python: import contract (lint-imports)", [tools / "lint-imports", "--no-cache"])
    steps.run(
        "Python: stubs of vespiary._core (stubtest)",
        [python, "-m", "mypy.stubtest", "vespiary._core", "--mypy-config-file", "pyproject.toml"],
    )
    steps.run("Documents: build without a warning (sphinx)", ["make", "docs"])
    steps.run("Style (tests/style)", [python, "-m", "pytest", "-q", "tests/style"])
    return steps.finish()


if __name__ == "__main__":
    sys.exit(main())
