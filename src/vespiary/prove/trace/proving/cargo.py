"""Rust's side: the binaries of the tracing builds, the tests in them that claim, and their runs.

Each test runs in a process of its own, as nextest does it, so that what the shared file counts is
that test's. Which tests claim something is found without running them all: the sources of a test
binary tell the functions that hold a `claims!`, and the binary lists its tests; a test belongs to
such a function if its name is a part of the test's path (`deadlines::opens_in_time::on_epoll`, made
by a macro from `opens_in_time`). Where a macro makes the function itself, its name is one of the
words in a call of the macro. The run then says what the test claims.

A claim that is in none of the tests built (its feature is not on, its target is another) is a
warning: what is built can be proven nevertheless.
"""

import json
import os
import re
import subprocess
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vespiary import _toml as toml
from vespiary.errors import ConfigurationError
from vespiary.prove.trace.files import read, source
from vespiary.prove.trace.marks import Mark
from vespiary.prove.trace.proving.session import end
from vespiary.prove.trace.scan_rust import macro_arguments, scan_rust
from vespiary.prove.trace.settings import Settings

__all__ = ["Binary", "Claiming", "RustTest", "claiming_tests", "refuse_arguments", "workspace"]

_LIST_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Binary:
    """A built test binary; `build` has the arguments of its build if there are several builds."""

    name: str
    path: Path
    package: Path
    source: Path
    build: str = ""


@dataclass(frozen=True, slots=True)
class RustTest:
    """A test that may claim.

    Attributes:
        claimant: The path of the function that holds the claim.
        certain: Whether the function is known by its name, and not by the words of a macro's call.
    """

    binary: Binary
    path: str
    claimant: str
    certain: bool = True

    @property
    def id(self) -> str:
        """What the test is called in the evidence."""
        return f"{self.binary.name}::{self.path}{self.binary.build}"

    def command(self) -> list[str]:
        """How the test is run alone."""
        return [str(self.binary.path), self.path, "--exact"]

    def environment(self) -> dict[str, str]:
        """What cargo would add to the environment."""
        return {"CARGO_MANIFEST_DIR": str(self.binary.package), "RUST_BACKTRACE": "0"}


@dataclass(slots=True)
class Claiming:
    """The tests of all builds that may claim something, and what could not be tried."""

    tests: list[RustTest] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def workspace(root: Path) -> Path:
    """The directory that the compiler's `file!()` is relative to."""
    command = ["cargo", "locate-project", "--workspace", "--message-format", "plain"]
    told = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if told.returncode:
        raise ConfigurationError(f"cargo finds no project in {root}: {told.stderr.strip()}")
    return Path(told.stdout.strip()).parent


def refuse_arguments(arguments: Collection[str]) -> None:
    """Refuse what cannot be traced, by its name.

    Raises:
        ConfigurationError: The arguments of a build ask for nextest, doc tests, or another machine.
    """
    for place, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name == "nextest":
            raise ConfigurationError(
                "trace.toml: run.cargo: nextest is not needed: write the arguments of cargo "
                "test; each test runs in its own process, as with nextest"
            )
        if name == "--doc":
            raise ConfigurationError(
                "trace.toml: run.cargo: --doc: doc tests cannot be traced: move the claims into"
                " tests"
            )
        if name == "--target" and (value or [*arguments, ""][place + 1]) != _host():
            raise ConfigurationError(
                f"trace.toml: run.cargo: {argument}: tests of another target cannot run here: trace"
                f" a build for {_host()}, where no_std crates have a test harness"
            )


def _host() -> str:
    told = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"^host: (\S+)", told, re.MULTILINE)
    return found[1] if found else ""


def _binaries(root: Path, arguments: tuple[str, ...], build: str) -> list[Binary]:
    """Build the tests, and say which binaries came of it."""
    refuse_arguments(arguments)
    command = ["cargo", "test", "--no-run", "--message-format=json-render-diagnostics", *arguments]
    environment = {**os.environ, "CARGO_TERM_PROGRESS_WHEN": "never"}
    with subprocess.Popen(
        command,
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            told, _ = process.communicate()
        except BaseException:
            end(process)  # Or its compilers would continue.
            raise
    if process.returncode:
        raise ConfigurationError(f"the tracing build failed: {' '.join(command)}")
    return list(_artifacts(told, build))


def _artifacts(told: str, build: str) -> Iterator[Binary]:
    for line in told.splitlines():
        message = json.loads(line)
        if message["reason"] != "compiler-artifact" or not message["profile"]["test"]:
            continue
        if not message["executable"]:
            continue
        manifest = Path(message["manifest_path"])
        package = toml.loads(read(manifest))["package"]["name"]
        target = message["target"]
        yield Binary(
            name=f"{package}::{target['name']}",
            path=Path(message["executable"]),
            package=manifest.parent,
            source=Path(target["src_path"]),
            build=build,
        )


def claiming_tests(settings: Settings, only: Collection[str] = ()) -> Claiming:
    """Build the tests, and find those that may claim something, or one of `only`.

    Raises:
        ConfigurationError: a build fails.
    """
    found = Claiming()
    base = workspace(settings.root)
    claims = _Claims(only)
    for arguments in settings.cargo:
        build = f" ({' '.join(arguments)})" if len(settings.cargo) > 1 else ""
        for binary in _binaries(settings.root, arguments, build):
            files = _sources(binary, base)
            functions = {mark.function for file in files for mark in claims.of(file)}
            functions |= {mark.macro for file in files for mark in claims.of(file) if mark.macro}
            if functions:
                _add_tests(found, binary, files, claims)
    every = [file.resolve() for file in settings.files(settings.rust)]
    for file in every:
        for mark in claims.of(file):
            if not claims.is_tried(file, mark):
                where = file.relative_to(settings.root.resolve()).as_posix()
                found.warnings.append(
                    f"{where}:{mark.line}: the claim in {mark.function or mark.macro} is in none of"
                    " the tests that were built: enable its feature in run.cargo, or remove the"
                    " claim"
                )
    return found


class _Claims:
    """The claims of each source, read once, and which of them a test was found for."""

    def __init__(self, only: Collection[str]) -> None:
        self._only = only
        self._of: dict[Path, list[Mark]] = {}
        self._tried: set[tuple[Path, int]] = set()

    def of(self, file: Path) -> list[Mark]:
        """The claims of a file, or those of `only`."""
        if file not in self._of:
            marks = scan_rust(source(file), str(file)).marks
            self._of[file] = [
                mark
                for mark in marks
                if mark.kind == "claim"
                and (not self._only or not set(self._only).isdisjoint(mark.ids))
            ]
        return self._of[file]

    def tried(self, file: Path, mark: Mark) -> None:
        """A test was found for a claim."""
        self._tried.add((file, mark.line))

    def is_tried(self, file: Path, mark: Mark) -> bool:
        """Whether a test was found for a claim."""
        return (file, mark.line) in self._tried


def _add_tests(found: Claiming, binary: Binary, files: list[Path], claims: _Claims) -> None:
    """The tests of a binary that may hold one of its sources' claims."""
    paths = _listed(binary)
    if paths is None:
        found.warnings.append(
            f"{binary.source}: {binary.name} does not list its tests (harness = false?): its claims"
            " cannot be tried"
        )
        for file in files:
            for mark in claims.of(file):
                claims.tried(file, mark)
        return
    named: dict[str, bool] = {}
    texts = [source(file) for file in files]
    parts = {part for path in paths for part in path.split("::")}
    for file in files:
        for mark in claims.of(file):
            words = {mark.function: True}
            if mark.macro and mark.function not in parts:
                words = dict.fromkeys(_words(mark.macro, texts), False)
            named |= {word: certain for word, certain in words.items() if word in parts}
            if not parts.isdisjoint(words):
                claims.tried(file, mark)
    for path in paths:
        pieces = path.split("::")
        depth = next((at for at, part in enumerate(pieces) if part in named), None)
        if depth is not None:
            claimant = "::".join([binary.name, *pieces[: depth + 1]])
            found.tests.append(RustTest(binary, path, claimant, named[pieces[depth]]))


def _words(macro: str, texts: Iterable[str]) -> set[str]:
    return {word for text in texts for word in macro_arguments(text, macro)}


def _listed(binary: Binary) -> list[str] | None:
    """The tests of a binary; None if it does not list them."""
    try:
        told = subprocess.run(
            [str(binary.path), "--list", "--format", "terse"],
            cwd=binary.package,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_LIST_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return None
    lines = told.stdout.splitlines()
    if told.returncode or not all(line.endswith((": test", ": benchmark")) for line in lines):
        return None
    return [line.removesuffix(": test") for line in lines if line.endswith(": test")]


def _sources(binary: Binary, base: Path) -> list[Path]:
    """The sources of a binary, as the compiler lists them in a file next to it."""
    listed = binary.path.with_name(binary.path.name + ".d")
    if not listed.exists():
        return sorted(binary.source.parent.rglob("*.rs"))
    line = listed.read_text().partition("\n")[0].partition(":")[2]
    names = [name.replace("\\ ", " ") for name in re.split(r"(?<!\\)\s+", line) if name]
    paths = {(base / name).resolve() for name in names if name.endswith(".rs")}
    return sorted(path for path in paths if path.is_file())
