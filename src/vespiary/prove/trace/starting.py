"""Write a first `trace.toml`: find a project's languages, its sources, and its tests."""

import configparser
import json
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vespiary import _toml as toml
from vespiary.errors import ConfigurationError
from vespiary.prove.trace import files

__all__ = ["Layout", "as_settings", "looked_at"]

_SKIPPED = {"node_modules", "target", "build", "dist", "venv", "__pycache__", "site-packages"}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a project has what.

    Attributes:
        rust: Patterns of Rust sources and tests.
        python: Patterns of Python sources and tests.
        packages: The Rust packages of the workspace that may have marks or claims.
        marked: Those of them that may have marks.
        tests: What pytest is to run.
        is_workspace: Whether Cargo.toml is that of a workspace.
    """

    rust: tuple[str, ...]
    python: tuple[str, ...]
    packages: tuple[str, ...]
    tests: tuple[str, ...]
    is_workspace: bool = False
    marked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Package:
    """A package of Rust: its name, its folder, and whether it is to be published."""

    name: str
    folder: Path
    is_published: bool

    def has(self, part: str) -> bool:
        """Whether a folder of it has sources."""
        return any((self.folder / part).rglob("*.rs"))


def looked_at(root: Path) -> Layout:
    """Look at a project's folder.

    Raises:
        ConfigurationError: There is neither Rust nor Python in it, or its Cargo.toml is not valid.
    """
    manifest = root / "Cargo.toml"
    cargo = _toml(manifest) if manifest.exists() else {}
    packages = _traced(_packages(root, cargo))
    places = [
        package.folder / part
        for package in packages
        for part in ("src", "tests")
        if package.has(part)
    ]
    inner = {place for place in places for other in places if other in place.parents}
    rust = [_pattern(root, place, "rs") for place in places if place not in inner]
    tests = _pytest_paths(root)
    python = [_pattern(root, root / test, "py") for test in tests if (root / test).is_dir()]
    python += [test for test in tests if (root / test).is_file()]
    python = [*_python_sources(root, tests), *python]
    if not rust and not python:
        raise ConfigurationError(
            f"{root}: there is neither a Cargo.toml with Rust sources nor a Python package: run"
            " this at the project's root"
        )
    sources = tuple(dict.fromkeys(python))
    return Layout(
        tuple(rust),
        sources,
        tuple(package.name for package in packages),
        tuple(tests),
        "workspace" in cargo,
        tuple(package.name for package in packages if _may_have_marks(package, packages)),
    )


def as_settings(layout: Layout) -> str:
    """The `trace.toml` of a project, with a gate for what must be."""
    lines = ["# What `vespiary trace` reads and runs here.", 'catalogues = ["requirements/*.toml"]']
    lines += ["", "[sources]"]
    if layout.rust:
        lines.append(f"rust = {json.dumps(layout.rust)}")
    if layout.python:
        lines.append(f"python = {json.dumps(layout.python)}")
    lines += ["", "[run]"]
    if layout.rust:
        features = [f"{package}/trace" for package in layout.marked or layout.packages]
        if layout.packages and not layout.is_workspace:
            features = ["trace"]  # Before edition 2021, cargo refuses the package's own name here.
        arguments = [f"--package={package}" for package in layout.packages]
        lines.append(
            "# Each package with marks needs a feature `trace` that turns on vespiary-trace/probes;"
        )
        lines.append("# packages with claims need only the dependency.")
        lines.append(f"cargo = {json.dumps([*arguments, '--features=' + ','.join(features)])}")
    if layout.tests:
        lines.append(f"pytest = {json.dumps(layout.tests)}")
    lines += [
        "",
        "# Until all is proven, remove this and run",
        "# vespiary trace gate --no-worse-than requirements/snapshot.txt",
        "[[gate]]",
        'specification = "*"',
        'levels = ["MUST", "MUST NOT", "must"]  # must: the rules that you add by hand',
        'status = "proven"',
    ]
    return "\n".join(lines) + "\n"


def _packages(root: Path, cargo: dict[str, Any]) -> list[_Package]:
    """The packages of a workspace, or the only one."""
    workspace = cargo.get("workspace", {})
    patterns = [str(member) for member in workspace.get("members", [])]
    barred = {path for pattern in workspace.get("exclude", []) for path in root.glob(pattern)}
    found = [path for pattern in patterns for path in sorted(root.glob(pattern))]
    folders = [root] if "package" in cargo else []
    folders += [path for path in found if (path / "Cargo.toml").exists() and path not in barred]
    inherited = workspace.get("package", {}).get("publish", True)
    packages = []
    for folder in folders:
        package = _toml(folder / "Cargo.toml").get("package", {})
        publish = package.get("publish", True)
        if isinstance(publish, dict):  # `publish.workspace = true`
            publish = inherited
        if package.get("name"):
            packages.append(_Package(package["name"], folder, publish not in (False, [])))
    return packages


def _traced(packages: list[_Package]) -> list[_Package]:
    """The packages without those that are only tools: not published, and without tests."""
    found = [one for one in packages if one.is_published or one.has("tests")]
    return found if any(one.is_published for one in found) else packages


def _may_have_marks(package: _Package, packages: list[_Package]) -> bool:
    """Whether a package is what the others test; one that is not published is only a help."""
    is_any_published = any(one.is_published for one in packages)
    return package.has("src") and (package.is_published or not is_any_published)


def _toml(path: Path) -> dict[str, Any]:
    try:
        return toml.loads(files.read(path))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: not valid TOML: {error}") from error


def _pytest_paths(root: Path) -> list[str]:
    """What pytest runs: the project's `testpaths`, or the folders that have tests."""
    configured: list[str] = []
    if (root / "pyproject.toml").exists():
        tool = _toml(root / "pyproject.toml").get("tool", {}).get("pytest", {})
        configured = _words(tool.get("ini_options", tool).get("testpaths", []))
    for name, section in (
        ("pytest.ini", "pytest"),
        ("tox.ini", "pytest"),
        ("setup.cfg", "tool:pytest"),
    ):
        if not configured and (root / name).exists():
            parser = configparser.ConfigParser(interpolation=None, strict=False)
            parser.read(root / name)
            configured = _words(parser.get(section, "testpaths", fallback=""))
    if configured:
        return [path for path in configured if (root / path).exists()]
    tests = [path for name in ("test_*.py", "*_test.py") for path in _files(root, name)]
    tops = {path.relative_to(root).parts[0] for path in tests}
    return sorted(tops)


def _words(value: str | list[str]) -> list[str]:
    return value.split() if isinstance(value, str) else value


def _python_sources(root: Path, tests: Iterable[str]) -> list[str]:
    """Packages of `src` and of the root, and modules next to their tests."""
    barred = set(tests)
    source = root / "src"
    found: list[str] = []
    if any(source.glob("*.py")) or any(_namespaces(source)):
        found.append("src/**/*.py")
    for place in (root,) if found else (source, root):
        for package in sorted(place.glob("*/__init__.py")):
            folder = package.parent
            if folder.name not in barred | _SKIPPED:
                found.append(_pattern(root, folder, "py"))
        modules = [
            path.name
            for path in place.glob("*.py")
            if path.name not in ("setup.py", "conftest.py", "noxfile.py")
        ]
        if place == root and not found and any(name not in barred for name in modules):
            found.append("*.py")
    return found


def _namespaces(source: Path) -> Iterator[Path]:
    """The folders below `src` that have sources, and no `__init__.py`."""
    for folder in source.glob("*/"):
        named = folder.name not in _SKIPPED and not folder.name.endswith(".egg-info")
        if named and not (folder / "__init__.py").exists() and any(folder.rglob("*.py")):
            yield folder


def _files(root: Path, name: str) -> list[Path]:
    return [
        path
        for path in root.rglob(name)
        if not any(
            part in _SKIPPED or part.startswith(".") for part in path.relative_to(root).parts
        )
    ]


def _pattern(root: Path, folder: Path, suffix: str) -> str:
    return f"{folder.relative_to(root).as_posix()}/**/*.{suffix}".removeprefix("./")
