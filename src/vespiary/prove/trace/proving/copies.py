"""Do the tests import the marked files, or copies of them that are installed elsewhere?

A project with its package in `src` must be installed for its tests. If that is a copy, or another
version that something else depends on, the tests never execute the marks, and all verdicts would
say so of each mark without the reason.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from vespiary.errors import ConfigurationError
from vespiary.prove.trace.marks import Mark
from vespiary.prove.trace.proving.bench import Bench, Run

__all__ = ["copies_elsewhere"]


def copies_elsewhere(
    bench: Bench, root: Path, marks: Iterable[Mark], runs: Iterable[Run]
) -> dict[Path, str]:
    """The files that the tests have imported instead of marked ones, each with a sentence on it.

    Args:
        bench: Where the tests have run.
        root: The project's folder.
        marks: Those of the sources.
        runs: Those of all tests, which say what they have reached.

    Raises:
        ConfigurationError: No mark of Python was executed, and a file is such: nothing can be
            proven then.
    """
    python = (mark for mark in marks if (mark.kind, mark.language) == ("mark", "python"))
    marked = {(root / mark.file).resolve() for mark in python}
    reached = {Path(seen.site.partition(":")[0]) for run in runs for seen in run.reached}
    idle = sorted(marked - reached)
    if not idle:
        return {}
    names = {path: list(_names(path, root)) for path in idle}
    loaded = bench.session().files([name for group in names.values() for name in group])
    found: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for path, group in names.items():
        others = {name: loaded[name] for name in group if name in loaded}
        if others and str(path) not in others.values():
            name = max(others, key=len)
            found[name, others[name]].append(path)
    told = {
        Path(other): _sentence(name, other, paths, root) for (name, other), paths in found.items()
    }
    if told and marked.isdisjoint(reached):
        raise ConfigurationError("; ".join(told.values()))
    return told


def _sentence(name: str, other: str, paths: list[Path], root: Path) -> str:
    files = ", ".join(path.relative_to(root).as_posix() for path in paths)
    folder = paths[0].parents[name.count(".")].relative_to(root).as_posix()
    return (
        f"the tests import {name} from {other}, so they never execute the marks in {files}: install"
        f' the project with pip install --editable, or add path = ["{folder}"] below [run] in'
        " trace.toml"
    )


def _names(path: Path, root: Path) -> Iterator[str]:
    """The names under which a file can be imported: from its package, or from a folder above."""
    parts = list(path.relative_to(root).with_suffix("").parts)
    folder = path.parent
    if parts[-1] == "__init__":
        del parts[-1]
        folder = folder.parent
    inner = 1
    while inner < len(parts) and (folder / "__init__.py").exists():
        inner, folder = inner + 1, folder.parent
    for count in range(inner, len(parts) + 1):
        name = ".".join(parts[-count:])
        if name not in sys.stdlib_module_names:
            yield name
