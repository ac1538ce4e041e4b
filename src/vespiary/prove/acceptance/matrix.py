"""The cells of a suite: each case with one value of each axis."""

from __future__ import annotations

import fnmatch
import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Final

from vespiary.errors import ConfigurationError
from vespiary.prove.acceptance.suite import Case, Suite
from vespiary.prove.acceptance.tools import BUILT_IN

__all__ = ["AXES", "Cell", "cells_of", "chosen", "excludes", "values_of", "with_pythons"]

AXES: Final = {
    "tool": "tools",
    "driver": "drivers",
    "python": "pythons",
    "workers": "workers",
    "host": "hosts",
}
"""Each axis, and its key in `matrix`."""


@dataclass(frozen=True)
class Cell:
    """One run to be made.

    Attributes:
        case: The case's name.
        tool: The tool that it runs under.
        driver: The value of VESPIARY_DRIVER; None for any.
        python: The interpreter; None for the one that runs the suite.
        workers: The number of workers; None if the suite does not say.
        host: Where it has to run; None for anywhere.
    """

    case: str
    tool: str = "plain"
    driver: str | None = None
    python: str | None = None
    workers: int | None = None
    host: str | None = None

    @property
    def id(self) -> str:
        """The cell by name: the case and what is given of the axes."""
        return f"{self.case}/{self.column}"

    @property
    def column(self) -> str:
        """Its values of the axes, as a name."""
        parts = (self.tool, self.driver, self.python, self.workers, self.host)
        return "/".join(
            str(part).strip("/").replace("/", ".") for part in parts if part is not None
        )

    def seed(self, run_seed: int) -> int:
        """The cell's seed in a run: the same whichever other cells are run next to it."""
        digest = hashlib.sha256(f"{run_seed}/{self.id}".encode()).digest()
        return int.from_bytes(digest[:4], "big")


def values_of(suite: Suite, case: Case, axis: str) -> Sequence[Any]:
    """The values of an axis for a case; one that is None where nothing is said."""
    key = AXES[axis]
    own, common = getattr(case.matrix, key), getattr(suite.matrix, key)
    values: Sequence[Any] = own or common or (["plain"] if axis == "tool" else [None])
    return values


def cells_of(suite: Suite, name: str, *, excluding: bool = True) -> list[Cell]:
    """The cells of a case."""
    case = suite.cases[name]
    axes = [values_of(suite, case, axis) for axis in AXES]
    cells = [Cell(name, *values) for values in itertools.product(*axes)]
    exclusions = [*suite.matrix.exclude, *case.matrix.exclude] if excluding else []
    return [cell for cell in cells if not any(excludes(entry, cell) for entry in exclusions)]


def excludes(entry: Mapping[str, Any], cell: Cell) -> bool:
    """Whether an exclusion is about a cell; the names in it may have `*`."""
    return all(_fits(values, getattr(cell, axis)) for axis, values in entry.items())


def _fits(values: Any, value: object) -> bool:
    given = values if isinstance(values, list) else [values]
    return any(fnmatch.fnmatchcase(str(value), str(each)) for each in given)


def with_pythons(suite: Suite, pythons: Sequence[str]) -> Suite:
    """The suite with other interpreters."""
    cases = {
        name: replace(case, matrix=replace(case.matrix, pythons=list(pythons)))
        for name, case in suite.cases.items()
    }
    return replace(suite, cases=cases)


def chosen(suite: Suite, names: Sequence[str], tools: Sequence[str]) -> list[Cell]:
    """The cells that are asked for by the names of cases or cells, `*` allowed, and by tools.

    A tool that is in the matrix of no case takes the place of all tools.

    Raises:
        ConfigurationError: a name or a tool matches nothing.
    """
    there = {tool for case in suite.cases.values() for tool in values_of(suite, case, "tool")}
    known = [*BUILT_IN, *suite.tools]
    for tool in tools:
        if tool not in known:
            raise ConfigurationError(_unknown("tool", tool, known), subject="--tool")
    if others := [tool for tool in tools if tool not in there]:
        cases = {
            name: replace(case, matrix=replace(case.matrix, tools=[*others]))
            for name, case in suite.cases.items()
        }
        added = chosen(replace(suite, cases=cases), names, [])
        rest = [tool for tool in tools if tool in there]
        return [*(chosen(suite, names, rest) if rest else []), *added]
    every = [cell for name in suite.cases for cell in cells_of(suite, name)]
    cells = every
    if names:
        for name in names:
            if not any(_is_named(cell, name) for cell in every):
                raise ConfigurationError(_unknown("case", name, [*suite.cases]), subject=name)
        cells = [cell for cell in cells if any(_is_named(cell, name) for name in names)]
    found = [cell for cell in cells if not tools or cell.tool in tools]
    if not found:
        text = f"no case that was asked for runs under {' or '.join(tools)}"
        raise ConfigurationError(text, subject="--tool")
    return found


def _is_named(cell: Cell, name: str) -> bool:
    return fnmatch.fnmatchcase(cell.case, name) or fnmatch.fnmatchcase(cell.id, name)


def _unknown(what: str, name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    advice = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
    return f"there is no {what} {name!r}: {advice}"
