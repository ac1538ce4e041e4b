"""What a traced run has shown, as data: the file that `vespiary trace report` reads.

```text
{"marks":  [{"site", "ids": [], "file", "line", "form"}],
 "tests":  [{"id", "kind": "rust|pytest", "claims": [], "reached": [site], "acted": [site],
             "outcome": "passed|failed|skipped|timeout", "seconds", "claimant"}],
 "proofs": [{"site", "id", "verdict", "tests": [id], "survived": [id]}],
 "claims": [{"claimant", "id", "verdict", "tests": [id]}],
 "unstable": [id], "silent": [function],
 "outside": []}
```

A proof is about one identifier of one mark: `killed` when a test that claims it fails while the
mark is disabled, and passes when it is not (a disabled statement, a mark without a condition,
fails when it is reached); `survived` when those that make the mark act all pass
without it; `unreached` when it is claimed, and no claiming test makes the mark act; `unclaimed`
when no test claims it. A claim is about one identifier and the function that claims it, whatever
the number of tests made of that function (one a driver, one a parameter): `killed`, `survived` or
`unreached` in the same sense.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

__all__ = ["KILLED", "SURVIVED", "UNCLAIMED", "UNREACHED"]
__all__ += ["Claim", "Mark", "Proof", "Record", "Test"]

KILLED: Final = "killed"
SURVIVED: Final = "survived"
UNREACHED: Final = "unreached"
UNCLAIMED: Final = "unclaimed"


@dataclass(frozen=True, slots=True)
class Mark:
    """Marked code.

    Attributes:
        site: As `file:line`, relative to the project.
        form: `condition`, `function` or `statement`.
    """

    site: str
    ids: tuple[str, ...]
    file: str
    line: int
    form: str = "condition"


@dataclass(frozen=True, slots=True)
class Test:
    """A test that claims requirements, and what one run of it has shown.

    Attributes:
        id: `package::target::path` of a Rust test, or pytest's identifier.
        kind: `rust` or `pytest`.
        claims: The requirements that it claims.
        reached: The sites of the marks that it executed.
        acted: Those of them whose condition was true.
        outcome: `passed`, `failed`, `skipped` or `timeout`, with all marks enabled.
        seconds: How long it took.
        claimant: The function that makes the claim; several tests may be made of one.
    """

    id: str
    kind: str
    claims: tuple[str, ...]
    reached: tuple[str, ...]
    acted: tuple[str, ...]
    outcome: str
    seconds: float
    claimant: str


@dataclass(frozen=True, slots=True)
class Proof:
    """The outcome of disabling a mark, for one of its identifiers.

    Attributes:
        tests: Those that failed without the mark.
        survived: Those that passed without it, of functions none of whose tests failed.
    """

    site: str
    id: str
    verdict: str
    tests: tuple[str, ...] = ()
    survived: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """The outcome of a function's claim of one identifier."""

    claimant: str
    id: str
    verdict: str
    tests: tuple[str, ...] = ()


@dataclass(slots=True)
class Record:
    """All that a run has shown.

    Attributes:
        unstable: Tests that passed, and later failed unchanged.
        silent: Functions of Rust in which a claim stands, and whose tests did not come to it.
    """

    marks: list[Mark] = field(default_factory=list)
    tests: list[Test] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    unstable: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    outside: list[dict[str, Any]] = field(default_factory=list)

    def problems(self) -> list[str]:
        """A sentence for everything that is not as it must be."""
        words = [
            f"{test.id} did not pass with all marks enabled: {test.outcome}"
            for test in self.tests
            if test.outcome not in {"passed", "skipped"}
        ]
        words += [f"{name} passed at first and failed later, unchanged" for name in self.unstable]
        words += [f"{name} has a claim, and no test of it came there" for name in self.silent]
        said = {
            SURVIVED: "is claimed, and no claiming test fails without it",
            UNREACHED: "is claimed, and no claiming test makes it act",
            UNCLAIMED: "is claimed by no test",
        }
        words += [
            f"{proof.site}: the mark of {proof.id} {said[proof.verdict]}"
            for proof in self.proofs
            if proof.verdict != KILLED
        ]
        said = {
            SURVIVED: "and passes without what is marked with it",
            UNREACHED: "and makes nothing act that is marked with it",
        }
        words += [
            f"{claim.claimant} claims {claim.id}, {said[claim.verdict]}"
            for claim in self.claims
            if claim.verdict != KILLED
        ]
        return words

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")
