"""What confirms requirements from outside: other people's suites, browsers, other peers.

Such a test does not run with marks disabled: the program under test is another process, the suite
another project's, and a run may take an hour. Its results are read where it left them:

* a JUnit report (`*.xml`, as `pytest --junitxml` writes it): a test below the settings' `outside`
  patterns confirms what it claims by `pytest.mark.requirement`, if it passed;
* a list of cases (`*.json`): `{"suite": NAME, "passed": [CASE, ...], "failed": [CASE, ...]}`; the
  confirmations file says which cases confirm what:

  ::

      [[confirmation]]
      suite = "autobahn server"
      cases = ["6.*"]
      ids = ["rfc6455/8.1/1"]

A case that failed confirms nothing, and the other cases of its pattern confirm nothing either.
"""

import fnmatch
import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from vespiary import _toml as toml
from vespiary.errors import ConfigurationError
from vespiary.prove.trace import files
from vespiary.prove.trace.marks import Mark, Problem
from vespiary.prove.trace.proving.record import said
from vespiary.prove.trace.scan import Project
from vespiary.prove.trace.settings import Settings

__all__ = ["Outside", "read_outside"]


@dataclass(slots=True)
class Outside:
    """What was confirmed, by identifier, and what is wrong with the confirmations."""

    by: dict[str, set[str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


@dataclass(slots=True)
class _Results:
    """The cases of each suite; pytest's are functions, as `tests.browser.test_chat.test_it`."""

    passed: dict[str, set[str]] = field(default_factory=dict)
    failed: dict[str, set[str]] = field(default_factory=dict)

    def add(self, suite: str, case: str, *, passed: bool) -> None:
        (self.passed if passed else self.failed).setdefault(suite, set()).add(case)


_PYTEST = "pytest"


def read_outside(settings: Settings, project: Project) -> Outside:
    """Read the results that there are; a suite that did not run confirms nothing.

    Raises:
        ConfigurationError: A file is not what it should be.
    """
    results = _Results()
    for path in settings.files(settings.outside_results):
        (_read_junit if path.suffix == ".xml" else _read_cases)(path, results)
    outside = Outside()
    if settings.confirmations:
        _confirm(settings.root / settings.confirmations, results, project, outside)
    for identifier, claims in project.claims.items():
        for claim in claims:
            if any(fnmatch.fnmatch(claim.file, pattern) for pattern in settings.outside_tests):
                case = _case_of(claim)
                if _holds(results, _PYTEST, {case} & results.passed.get(_PYTEST, set())):
                    name = f"{claim.file}::{claim.function}"
                    outside.by.setdefault(identifier, set()).add(name)
    return outside


def _case_of(claim: Mark) -> str:
    return f"{claim.file.removesuffix('.py').replace('/', '.')}.{claim.function}"


def _holds(results: _Results, suite: str, cases: set[str]) -> bool:
    return bool(cases) and not cases & results.failed.get(suite, set())


def _read_junit(path: Path, results: _Results) -> None:
    try:
        cases = list(ElementTree.fromstring(files.raw(path)).iter("testcase"))
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise ConfigurationError(f"{path} is not a JUnit report: {error}") from error
    for case in cases:
        if case.find("skipped") is None:
            name = f"{case.get('classname')}.{str(case.get('name')).partition('[')[0]}"
            passed = case.find("failure") is None and case.find("error") is None
            results.add(_PYTEST, name, passed=passed)


def _read_cases(path: Path, results: _Results) -> None:
    try:
        data = json.loads(files.read(path))
        for key in ("passed", "failed"):
            for case in data[key]:
                results.add(data["suite"], str(case), passed=key == "passed")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigurationError(
            f"{path} is not a list of a suite's cases ({said(error)}): see docs/how-to/trace.md"
        ) from error


def _confirm(path: Path, results: _Results, project: Project, outside: Outside) -> None:
    for table in _tables(path):
        suite, ids = table["suite"], table["ids"]
        for identifier in ids:
            if identifier not in project.requirements:
                words = f"{suite} confirms {identifier}, which no catalogue has"
                outside.problems.append(Problem(str(path), words))
        failed = results.failed.get(suite, set())
        for pattern in table["cases"]:
            if fnmatch.filter(failed, pattern):
                continue
            if fnmatch.filter(results.passed.get(suite, set()), pattern):
                for identifier in ids:
                    outside.by.setdefault(identifier, set()).add(f"{suite} {pattern}")


def _tables(path: Path) -> Iterator[dict[str, Any]]:
    try:
        data = toml.loads(files.read(path))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: not valid TOML: {error}") from error
    tables = data.get("confirmation", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigurationError(
            f"{path}: confirmation must be tables, each with a line [[confirmation]]"
        )
    for number, table in enumerate(tables, 1):
        lists = all(isinstance(table.get(key), list) for key in ("cases", "ids"))
        if set(table) != {"suite", "cases", "ids"} or not lists:
            raise ConfigurationError(
                f"{path}: confirmation {number}: should have suite, cases and ids, the last two"
                " lists of strings"
            )
        yield table
