"""What a traced run saw, as the collecting part wrote it into a file of JSON.

::

    {"marks":   [{"site": "src/a.rs:12:8", "ids": ["spec/1/1"]}],
     "tests":   [{"id": "...", "kind": "rust", "claims": ["spec/1/1"], "outcome": "passed",
                  "reached": ["src/a.rs:12:8"], "acted": ["src/a.rs:12:8"]}],
     "proofs":  [{"site": "src/a.rs:12:8", "verdict": "killed", "tests": ["..."],
                  "survived": ["..."]}],
     "outside": [{"id": "spec/1/1", "by": "a suite's case"}]}

`tests` of a proof are those that failed while the mark was disabled, `survived` those that did not.
A site is a file with a line, and perhaps a column, relative to the root or absolute.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vespiary.errors import ConfigurationError

__all__ = ["Evidence", "Proof", "Test", "read_evidence"]


@dataclass(frozen=True, slots=True)
class Test:
    """A test that claims something, as it ran with nothing disabled.

    Attributes:
        id: Its name, as its own runner has it.
        kind: Which runner.
        claims: The identifiers that it claims.
        reached: The marks that were executed while it ran, as `file:line`.
        acted: Those of them whose condition was true.
        outcome: `passed` or what else.
    """

    id: str
    kind: str
    claims: frozenset[str]
    reached: frozenset[str]
    acted: frozenset[str]
    outcome: str


@dataclass(slots=True)
class Proof:
    """What came of disabling the marks of one line.

    Attributes:
        killed_by: The claiming tests that failed then.
        survived: The claiming tests that passed all the same.
    """

    killed_by: set[str] = field(default_factory=set)
    survived: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Evidence:
    """What a traced run saw.

    Attributes:
        sites: The marks that were seen at run time, as `file:line`, with their identifiers.
        tests: Those that claim something, by name.
        proofs: By `file:line`.
        outside: By identifier: what confirmed it from outside.
    """

    sites: dict[str, set[str]] = field(default_factory=dict)
    tests: dict[str, Test] = field(default_factory=dict)
    proofs: dict[str, Proof] = field(default_factory=dict)
    outside: dict[str, set[str]] = field(default_factory=dict)

    def claiming(self, identifier: str) -> list[Test]:
        """The tests that claim a requirement, by name."""
        return [self.tests[name] for name in sorted(self.tests)
                if identifier in self.tests[name].claims]  # fmt: skip


def read_evidence(path: Path, root: Path) -> Evidence:
    """Read the file of a traced run.

    Raises:
        ConfigurationError: It is not there, or is not what a traced run writes.
    """
    try:
        data = json.loads(path.read_text())
        return _taken(data, root.resolve())
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}; a traced run writes it"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{path} is not what a traced run writes ({error!r}): run it again"
        ) from error


def _taken(data: dict[str, Any], root: Path) -> Evidence:
    evidence = Evidence()
    for mark in data["marks"]:
        evidence.sites.setdefault(_line(mark["site"], root), set()).update(mark["ids"])
    for test in data["tests"]:
        evidence.tests[test["id"]] = Test(
            id=test["id"],
            kind=test.get("kind", ""),
            claims=frozenset(test["claims"]),
            reached=frozenset(_line(site, root) for site in test["reached"]),
            acted=frozenset(_line(site, root) for site in test["acted"]),
            outcome=test["outcome"],
        )
    for proof in data["proofs"]:
        taken = evidence.proofs.setdefault(_line(proof["site"], root), Proof())
        taken.killed_by.update(proof.get("tests", ()))
        taken.survived.update(proof.get("survived", ()))
    for told in data.get("outside", ()):
        evidence.outside.setdefault(told["id"], set()).add(told["by"])
    return evidence


def _line(site: str, root: Path) -> str:
    """A site as `file:line`, relative to the root: columns come and go with formatting."""
    file, *numbers = site.split(":")
    path = Path(file)
    if path.is_absolute() and path.is_relative_to(root):
        file = path.relative_to(root).as_posix()
    return f"{file}:{numbers[0]}" if numbers else file
