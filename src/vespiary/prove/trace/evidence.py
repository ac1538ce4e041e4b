"""What a traced run saw: the file that `vespiary trace prove` writes, read again.

Its form stands in `proving/record.py`. A site there is a file with a line; a proof is about one
identifier at one site, a claim about one identifier and the function that claims it, however many
tests are made of that function.
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
        claims: The identifiers that it claims.
        reached: The marks that were executed while it ran, as `file:line`.
        acted: Those of them whose condition was true.
        outcome: `passed` or what else.
        claimant: The function that makes the claim.
    """

    id: str
    claims: frozenset[str]
    reached: frozenset[str]
    acted: frozenset[str]
    outcome: str
    claimant: str


@dataclass(slots=True)
class Proof:
    """The outcome of disabling what is marked with an identifier on one line.

    Attributes:
        verdicts: `killed` if a claiming test failed then; each of several marks has its own.
        tests: Those that failed.
    """

    verdicts: set[str] = field(default_factory=set)
    tests: set[str] = field(default_factory=set)

    @property
    def killed(self) -> bool:
        """Whether a claiming test failed without each of the marks."""
        return self.verdicts == {"killed"}


@dataclass(slots=True)
class Evidence:
    """What a traced run saw.

    Attributes:
        sites: The marks, as `file:line`, with their identifiers.
        tests: Those that claim something, by name.
        proofs: By `file:line` and identifier.
        claims: By function and identifier: `killed` if the claim holds.
        unstable: Tests that passed, and later failed unchanged.
    """

    sites: dict[str, set[str]] = field(default_factory=dict)
    tests: dict[str, Test] = field(default_factory=dict)
    proofs: dict[tuple[str, str], Proof] = field(default_factory=dict)
    claims: dict[tuple[str, str], str] = field(default_factory=dict)
    unstable: list[str] = field(default_factory=list)

    def claimants(self, identifier: str) -> dict[str, list[Test]]:
        """The functions that claim a requirement, each with the tests made of it, by name."""
        found: dict[str, list[Test]] = {}
        for name in sorted(self.tests):
            test = self.tests[name]
            if identifier in test.claims:
                found.setdefault(test.claimant, []).append(test)
        return found


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
            f"{path} cannot be read: {error.strerror}; vespiary trace prove writes it"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{path} is not what vespiary trace prove writes ({error!r}): run that again"
        ) from error


def _taken(data: dict[str, Any], root: Path) -> Evidence:
    evidence = Evidence(unstable=list(data.get("unstable", ())))
    for mark in data["marks"]:
        evidence.sites.setdefault(_line(mark["site"], root), set()).update(mark["ids"])
    for test in data["tests"]:
        evidence.tests[test["id"]] = Test(
            id=test["id"],
            claims=frozenset(test["claims"]),
            reached=frozenset(_line(site, root) for site in test["reached"]),
            acted=frozenset(_line(site, root) for site in test["acted"]),
            outcome=test["outcome"],
            claimant=test.get("claimant") or test["id"].partition("[")[0],
        )
    for proof in data["proofs"]:
        key = _line(proof["site"], root), proof["id"]
        taken = evidence.proofs.setdefault(key, Proof())
        taken.verdicts.add(proof["verdict"])
        taken.tests.update(proof.get("tests", ()))
    for claim in data.get("claims", ()):
        evidence.claims[claim["claimant"], claim["id"]] = claim["verdict"]
    return evidence


def _line(site: str, root: Path) -> str:
    """A site as `file:line`, relative to the root: columns come and go with formatting."""
    file, *numbers = site.split(":")
    path = Path(file)
    if path.is_absolute() and path.is_relative_to(root):
        file = path.relative_to(root).as_posix()
    return f"{file}:{numbers[0]}" if numbers else file
