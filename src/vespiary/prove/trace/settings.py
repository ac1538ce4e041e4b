"""What `trace.toml` says: which specifications, sources and gates a project has."""

import dataclasses
import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vespiary import _toml as toml
from vespiary.errors import ConfigurationError
from vespiary.prove.trace import files
from vespiary.prove.trace.normative import LEVELS

__all__ = ["LADDER", "Gate", "Settings", "read_settings"]

LADDER = ("unmapped", "implemented", "executed", "reached", "proven", "confirmed")
"""The statuses of a requirement, from nothing to everything."""

_KEYS = ("catalogues", "sources", "run", "outside", "snapshot", "evidence", "texts", "gate")
_SOURCES = ("rust", "python", "exclude")
_RUN = ("cargo", "pytest", "path")
_OUTSIDE = ("tests", "results", "confirmations")
_GATE = ("specification", "levels", "roles", "status")


@dataclass(frozen=True, slots=True)
class Gate:
    """The lowest status that some requirements may have.

    Attributes:
        specification: A name, or `*` for all.
        levels: Those that it is for.
        roles: A requirement with one of these, or with none at all, must pass; all if empty.
        status: Of `LADDER`.
    """

    specification: str
    levels: tuple[str, ...]
    roles: tuple[str, ...]
    status: str


@dataclass(frozen=True, slots=True)
class Settings:
    """A project's settings; paths are taken from the root, the folder of `trace.toml`.

    Attributes:
        root: The project's folder.
        catalogues: Glob patterns of catalogues.
        rust: Glob patterns of Rust sources, tests included.
        python: The same of Python.
        exclude: Patterns of sources to omit.
        cargo: Of each tracing build of the Rust tests, the arguments of `cargo test --no-run`.
        pytest: Arguments of pytest: the files and folders whose tests may claim something.
        path: Folders to put before PYTHONPATH, as that of an extension's tracing build.
        outside_tests: Patterns of tests that confirm from outside: they drive another program.
        outside_results: Patterns of files in which suites left their results.
        confirmations: The file that says which case of a foreign suite confirms what.
        snapshot: The file whose difference a reviewer reads.
        evidence: The file that a traced run writes.
        texts: By specification: its text, whose sentences the report may quote.
        gates: All that must be passed.
    """

    root: Path
    catalogues: tuple[str, ...] = ("requirements/*.toml",)
    rust: tuple[str, ...] = ()
    python: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    cargo: tuple[tuple[str, ...], ...] = ()
    pytest: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    outside_tests: tuple[str, ...] = ()
    outside_results: tuple[str, ...] = ()
    confirmations: str = ""
    snapshot: str = "requirements/snapshot.txt"
    evidence: str = ".cache/trace/evidence.json"
    texts: Mapping[str, str] = field(default_factory=dict)
    gates: tuple[Gate, ...] = field(default=())

    def with_evidence(self, path: str) -> "Settings":
        """The same with the evidence of another run; the path is from where the command runs."""
        return dataclasses.replace(self, evidence=str(Path(path).absolute()))

    def files(self, patterns: Iterable[str]) -> list[Path]:
        """The files that match one of the patterns and no exclusion, sorted."""
        barred = {path for pattern in self.exclude for path in self.matching(pattern)}
        found = {path for pattern in patterns for path in self.matching(pattern)}
        return sorted(path for path in found - barred if path.is_file())

    def matching(self, pattern: str) -> list[Path]:
        """What a pattern finds, excluded or not.

        Raises:
            ConfigurationError: It is not a pattern.
        """
        try:
            # CPython 3.13 takes `**a` for `*a`.
            if any("**" in part and part != "**" for part in pattern.split("/")):
                raise ValueError("** is a whole part of a pattern")
            return list(self.root.glob(pattern))
        except (IndexError, NotImplementedError, ValueError) as error:
            raise ConfigurationError(
                f"{self.root / 'trace.toml'}: {pattern!r} is not a pattern: it must be relative to"
                " the folder of trace.toml, and ** must stand between slashes"
            ) from error


def read_settings(path: Path) -> Settings:
    """Read a `trace.toml`.

    Raises:
        ConfigurationError: With the file, the key, and what to do.
    """
    if not path.exists():
        raise ConfigurationError(
            f"{path} does not exist: run vespiary trace init, or name another with --config"
        )
    try:
        data = toml.loads(files.read(path))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: not valid TOML: {error}") from error
    check = _Check(str(path))
    check.keys(data, _KEYS, "")
    sources = check.table(data, "sources", _SOURCES)
    run = check.table(data, "run", _RUN)
    outside = check.table(data, "outside", _OUTSIDE)
    usual = Settings(path.parent)
    return Settings(
        root=path.parent,
        catalogues=check.strings(data, "catalogues", "") or usual.catalogues,
        rust=check.strings(sources, "rust", "sources."),
        python=check.strings(sources, "python", "sources."),
        exclude=check.strings(sources, "exclude", "sources."),
        cargo=check.builds(run, "cargo", "run."),
        pytest=check.strings(run, "pytest", "run."),
        path=check.strings(run, "path", "run."),
        outside_tests=check.strings(outside, "tests", "outside."),
        outside_results=check.strings(outside, "results", "outside."),
        confirmations=check.string(outside, "confirmations", "outside.") or "",
        snapshot=check.string(data, "snapshot", "") or usual.snapshot,
        evidence=check.string(data, "evidence", "") or usual.evidence,
        texts=check.names(data, "texts"),
        gates=tuple(check.gate(gate) for gate in check.tables(data, "gate")),
    )


class _Check:
    """Takes values out of tables, and names what is wrong with one."""

    def __init__(self, file: str) -> None:
        self._file = file

    def _fail(self, key: str, words: str) -> ConfigurationError:
        return ConfigurationError(f"{self._file}: {key}: {words}")

    def keys(self, table: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
        for key in table:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                advice = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
                raise self._fail(where + key, f"there is no such key: {advice}")

    def table(self, data: Mapping[str, Any], key: str, known: tuple[str, ...]) -> dict[str, Any]:
        value = data.get(key, {})
        if not isinstance(value, dict):
            raise self._fail(key, f"must be a table, [{key}]")
        self.keys(value, known, key + ".")
        return value

    def tables(self, data: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
        value = data.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self._fail(key, f"must be tables, each with a line [[{key}]]")
        return value

    def strings(self, table: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
        value = table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._fail(where + key, f"must be a list of strings; got {value!r}")
        return tuple(value)

    def names(self, data: Mapping[str, Any], key: str) -> dict[str, str]:
        """A table of strings, by names that are the user's own."""
        value = data.get(key, {})
        if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
            raise self._fail(key, f"must be a table of strings, [{key}]; got {value!r}")
        return value

    def builds(self, table: Mapping[str, Any], key: str, where: str) -> tuple[tuple[str, ...], ...]:
        """The arguments of one build, or a list of them for each of several builds."""
        value = table.get(key, [])
        if isinstance(value, list) and any(isinstance(item, list) for item in value):
            return tuple(self.strings({key: item}, key, where) for item in value)
        strings = self.strings(table, key, where)
        return (strings,) if strings else ()

    def string(self, table: Mapping[str, Any], key: str, where: str) -> str | None:
        value = table.get(key)
        if value is not None and not isinstance(value, str):
            raise self._fail(where + key, f"must be a string; got {value!r}")
        return value

    def gate(self, table: Mapping[str, Any]) -> Gate:
        self.keys(table, _GATE, "gate.")
        for key in ("specification", "levels", "status"):
            if key not in table:
                raise self._fail(f"gate.{key}", "is missing: each gate needs it")
        levels = self.strings(table, "levels", "gate.")
        if not levels:
            raise self._fail("gate.levels", f"is empty: name some of {', '.join(LEVELS)}, must")
        roles = self.strings(table, "roles", "gate.")
        status = self.string(table, "status", "gate.") or ""
        for value, known, key in (
            *((level, (*LEVELS, "must"), "levels") for level in levels),
            (status, LADDER, "status"),
        ):
            if value not in known:
                raise self._fail(f"gate.{key}", f"must be one of {', '.join(known)}; got {value!r}")
        name = self.string(table, "specification", "gate.") or ""
        return Gate(name, levels, roles, status)
