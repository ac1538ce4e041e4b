"""Rust's side: the binaries of the tracing build, the tests in them that claim, and their runs.

Each test runs in a process of its own, so that what the shared file counts is that test's. Which
tests claim something is found without running them all: the sources of a test binary tell the
functions that hold a `claims!`, and the binary lists its tests; a test belongs to such a function
if its name is a part of the test's path (`deadlines::opens_in_time::on_epoll`, made by a macro
from `opens_in_time`). The run itself then says what the test claims.
"""

import json
import os
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vespiary.errors import ConfigurationError
from vespiary.prove.trace.scan_rust import scan_rust

__all__ = ["Binary", "RustTest", "binaries", "claiming_tests", "workspace"]


@dataclass(frozen=True, slots=True)
class Binary:
    """A built test binary."""

    name: str
    path: Path
    package: Path
    source: Path


@dataclass(frozen=True, slots=True)
class RustTest:
    """A test that may claim; `claimant` is the path of the function that holds the claim."""

    binary: Binary
    path: str
    claimant: str

    @property
    def id(self) -> str:
        """What the test is called in the evidence."""
        return f"{self.binary.name}::{self.path}"

    def command(self) -> list[str]:
        """How the test is run alone."""
        return [str(self.binary.path), self.path, "--exact"]

    def environment(self) -> dict[str, str]:
        """What cargo would add to the environment."""
        return {"CARGO_MANIFEST_DIR": str(self.binary.package), "RUST_BACKTRACE": "0"}


def workspace(root: Path) -> Path:
    """The directory that the compiler's `file!()` is relative to."""
    command = ["cargo", "locate-project", "--workspace", "--message-format", "plain"]
    told = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if told.returncode:
        raise ConfigurationError(f"cargo finds no project in {root}: {told.stderr.strip()}")
    return Path(told.stdout.strip()).parent


def binaries(root: Path, arguments: tuple[str, ...]) -> list[Binary]:
    """Build the tests, and say which binaries came of it."""
    command = ["cargo", "test", "--no-run", "--message-format=json-render-diagnostics", *arguments]
    environment = {**os.environ, "CARGO_TERM_PROGRESS_WHEN": "never"}
    built = subprocess.run(
        command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    if built.returncode:
        raise ConfigurationError(f"the tracing build failed: {' '.join(command)}")
    return list(_artifacts(built.stdout))


def _artifacts(told: str) -> Iterator[Binary]:
    for line in told.splitlines():
        message = json.loads(line)
        if message["reason"] != "compiler-artifact" or not message["profile"]["test"]:
            continue
        if not message["executable"]:
            continue
        manifest = Path(message["manifest_path"])
        package = tomllib.loads(manifest.read_text())["package"]["name"]
        target = message["target"]
        yield Binary(
            name=f"{package}::{target['name']}",
            path=Path(message["executable"]),
            package=manifest.parent,
            source=Path(target["src_path"]),
        )


def claiming_tests(binary: Binary, only: str = "") -> list[RustTest]:
    """The tests of a binary that may claim something, or that may claim `only`.

    Raises:
        ConfigurationError: a function holds a claim, and no test has its name.
    """
    functions = _claiming_functions(binary.source, only)
    if not functions:
        return []
    listed = subprocess.run(
        [str(binary.path), "--list", "--format", "terse"],
        cwd=binary.package,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    paths = [line.removesuffix(": test") for line in listed if line.endswith(": test")]
    tests = []
    for path in paths:
        parts = path.split("::")
        depth = next((at for at, part in enumerate(parts) if part in functions), None)
        if depth is not None:
            claimant = "::".join([binary.name, *parts[: depth + 1]])
            tests.append(RustTest(binary, path, claimant))
    missing = functions - {part for path in paths for part in path.split("::")}
    if missing:
        raise ConfigurationError(
            f"{binary.source}: claims! stands in {', '.join(sorted(missing))},"
            " and no test has that name"
        )
    return tests


def _claiming_functions(source: Path, only: str) -> set[str]:
    files = [source]
    if source.name in {"main.rs", "lib.rs"}:
        files = sorted(source.parent.rglob("*.rs"))
    return {
        mark.function
        for file in files
        for mark in scan_rust(file.read_text(), str(file)).marks
        if mark.kind == "claim" and (not only or only in mark.ids)
    }
