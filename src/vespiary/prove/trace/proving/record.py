"""What a traced run has shown, as data: the file that `vespiary trace report` reads.

```text
{"version": 4,
 "marks":  [{"site", "ids": [], "file", "line", "form"}],
 "tests":  [{"id", "kind": "rust|pytest", "claims": [], "reached": [site], "acted": [site],
             "outcome": "passed|failed|skipped|xfailed|xpassed|timeout", "seconds", "claimant",
             "words"}],
 "proofs": [{"site", "id", "verdict", "tests": [id], "survived": [id], "how", "together": [site]}],
 "claims": [{"claimant", "id", "verdict", "tests": [id]}],
 "sources": [{"id", "kind": "mark|claim", "file", "line", "function", "digest", "by_run"}],
 "sentences": {id: hash},
 "unstable": [id], "silent": [function], "constant": [site], "warnings": [sentence]}
```

A proof is about one identifier of one mark: `killed` when a test that claims it fails while the
mark is disabled, and passes when it is not (a disabled statement, a mark without a condition,
fails when it is reached); `masked` when the test fails only if marks of other requirements are
disabled too; `survived` when those that make the mark act all pass without it; `unreached` when it
is claimed, and no claiming test makes the mark act; `unclaimed` when no test claims it. A claim is
about one identifier and the function that claims it, whatever the number of tests made of that
function (one a driver, one a parameter): `killed`, `survived` or `unreached` in the same sense.

The sources are the functions around marks and claims, as they were when the identifier was proven:
evidence whose digests differ from those of the sources says nothing about them. The same is true of
the hashes of the requirements' sentences.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from vespiary.errors import ConfigurationError
from vespiary.prove.trace import files

__all__ = ["ASSERTION", "BROKEN", "COLLECTION", "CRASH", "EXCEPTION", "SKIPPED", "TIMEOUT", "WEAK"]
__all__ += ["ANY_OF_TYPE", "ANY_RESULT", "ONE_RESULT", "ONLY_REACHED", "SHOWN_LESS", "UNFILTERED"]
__all__ += ["KILLED", "MASKED", "SURVIVED", "UNCLAIMED", "UNREACHED"]
__all__ += ["Claim", "Mark", "Proof", "Record", "Source", "Test"]
__all__ += ["is_only_reached", "never_false"]

KILLED: Final = "killed"
MASKED: Final = "masked"
SURVIVED: Final = "survived"
UNREACHED: Final = "unreached"
UNCLAIMED: Final = "unclaimed"

ASSERTION: Final = "assertion"
EXCEPTION: Final = "exception"
COLLECTION: Final = "collection"
CRASH: Final = "crash"
BROKEN: Final = "broken"
TIMEOUT: Final = "timeout"
WEAK: Final = (COLLECTION, CRASH, TIMEOUT, BROKEN)
"""How a test fails without saying what is wrong: anything may have done it."""

ANY_RESULT: Final = "any result"
ANY_OF_TYPE: Final = "any of its type"
ONE_RESULT: Final = "one result"
UNFILTERED: Final = "unfiltered"
ONLY_REACHED: Final = (COLLECTION, ANY_RESULT, ANY_OF_TYPE, ONE_RESULT, UNFILTERED)
"""How a test fails without showing that it would notice a wrong result, whatever the mark."""

SHOWN_LESS: Final = {
    ANY_RESULT: "gives a result that no test checks: assert it in a test, or, if None is a"
    " result that breaks the requirement, write disabled=None",
    ANY_OF_TYPE: "gives a result, but the claiming tests check only its type, or whether it is"
    " empty: assert the result in a test, or give implements the argument disabled= with a"
    " result that breaks the requirement",
    ONE_RESULT: "chooses between two results, but every claiming test passes if it always chooses"
    " the first: assert the other result too",
    UNFILTERED: "accepts values, but every claiming test passes even if it accepts all values:"
    " test also that a value is rejected",
}
"""Why a mark is only reached although a test fails without it, and what to do."""

_WEAK_WORDS: Final = {
    COLLECTION: "that pytest cannot import",
    CRASH: "a crash of",
    BROKEN: "a crash of the code (such as a NameError, an index out of bounds or an unwrap) in",
    TIMEOUT: "a timeout of",
}

SKIPPED: Final = ("skipped", "xfailed", "xpassed")
"""The outcomes of tests that were not run, or were expected to fail: they show nothing."""

_VERSION = 4
_LINES_MAX = 6
_COLUMNS_MAX = 200
_SHOWN_MAX = 10
_TYPES: Final[dict[object, Any]] = {str: str, int: int, bool: bool, float: (float, int)}
"""What a value of a row is, if it is not a list."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Marked code.

    Attributes:
        site: As `file:line`, relative to the project.
        form: `condition`, `filter`, `choice`, `statement`, `result` (a function with a result for
            when it is disabled) or `function`: see `marks`.
        macro: The macro of Rust in whose definition it stands; empty if in none.
    """

    site: str
    ids: tuple[str, ...]
    file: str
    line: int
    form: str = "condition"
    macro: str = ""


@dataclass(frozen=True, slots=True)
class Test:
    """A test that claims requirements, and what one run of it has shown.

    Attributes:
        id: `package::target::path` of a Rust test, or pytest's identifier.
        kind: `rust` or `pytest`.
        claims: The requirements that it claims.
        reached: The sites of the marks that it executed.
        acted: Those of them whose condition was true.
        outcome: `passed`, `failed`, `skipped`, `xfailed`, `xpassed` (it was expected to fail) or
            `timeout`, with all marks enabled.
        seconds: How long it took.
        claimant: The function that makes the claim; several tests may be made of one.
        words: The last lines of its error, if it failed.
    """

    id: str
    kind: str
    claims: tuple[str, ...]
    reached: tuple[str, ...]
    acted: tuple[str, ...]
    outcome: str
    seconds: float
    claimant: str
    words: str = ""


@dataclass(frozen=True, slots=True)
class Proof:
    """The outcome of disabling a mark, for one of its identifiers.

    Attributes:
        tests: Those that failed without the mark.
        survived: Those that passed without it, of functions none of whose tests failed.
        how: How the test failed: by an `assertion`, an `exception` (in Rust another panic), the
            exception of code that is `broken` (a name or attribute that is not there), a `crash` of
            its process, a `timeout`, or the `collection` of its file, in which case the test itself
            did not run; `any result` if it passes with a wrong result of the function that is not
            None, `any of its type` if that must be of the right type, and `unfiltered` or `one
            result` if no claiming test fails while the condition of a filter or a choice is always
            true; empty if none failed.
        together: The sites of the marks that had to be disabled too.
    """

    site: str
    id: str
    verdict: str
    tests: tuple[str, ...] = ()
    survived: tuple[str, ...] = ()
    how: str = ""
    together: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """The outcome of a function's claim of one identifier."""

    claimant: str
    id: str
    verdict: str
    tests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """The function around a mark or claim of an identifier, when the identifier was proven.

    Attributes:
        kind: `mark` or `claim`.
        digest: Of the function's code, whatever its formatting and comments.
        by_run: Whether only the run has seen it: reading the sources does not find it.
    """

    id: str
    kind: str
    file: str
    line: int
    function: str
    digest: str
    by_run: bool = False

    @property
    def site(self) -> str:
        """As `file:line`."""
        return f"{self.file}:{self.line}"


@dataclass(slots=True)
class Record:
    """All that a run has shown.

    Attributes:
        sentences: By identifier: the hash that its catalogue had of the requirement's sentence.
        unstable: Tests that passed, and later failed unchanged.
        silent: Functions of Rust in which a claim stands, and whose tests did not come to it.
        constant: The sites of conditions that were true whenever a claiming test reached them.
        warnings: What could not be run, each a sentence.
    """

    marks: list[Mark] = field(default_factory=list)
    tests: list[Test] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    sentences: dict[str, str] = field(default_factory=dict)
    unstable: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    constant: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def problems(self) -> list[str]:
        """A sentence for everything that is not as it must be."""
        words = [
            f"{test.id} did not pass with all marks enabled: {test.outcome}"
            + "".join(f"\n    {line}" for line in test.words.splitlines())
            for test in self.tests
            if test.outcome not in ("passed", *SKIPPED)
        ]
        words += [
            f"{name} passed at first and failed later with no mark disabled"
            for name in self.unstable
        ]
        words += [f"{name} has a claim that no test executed" for name in self.silent]
        words += [self._not_proven(proof) for proof in self.proofs if proof.verdict != KILLED]
        said = {
            SURVIVED: "but passes while the code that is marked with it is disabled",
            UNREACHED: "but makes none of its marked conditions true",
        }
        words += [
            f"{claim.claimant} claims {claim.id}, {said[claim.verdict]}"
            for claim in self.claims
            if claim.verdict != KILLED
        ]
        return words

    def weak(self) -> list[str]:
        """A sentence for each mark whose only proof is a crash, a timeout or a failed import.

        That a caller crashes without a function's result is said where its status is.
        """
        functions = {mark.site for mark in self.marks if mark.form == "function"}
        return [
            f"{proof.site}: the only proof of {proof.id} is {_WEAK_WORDS[proof.how]}"
            f" {proof.tests[0]}: assert in a test what is wrong"
            for proof in self.proofs
            if proof.verdict == KILLED
            and proof.how in WEAK
            and not (proof.how == BROKEN and proof.site in functions)
        ]

    def shown_less(self) -> list[str]:
        """A sentence for each mark that is only reached, although it could be proven."""
        return [
            f"{proof.site}: the mark of {proof.id} {SHOWN_LESS[proof.how]}"
            for proof in self.proofs
            if proof.verdict == KILLED and proof.how in SHOWN_LESS
        ]

    def hints(self) -> list[str]:
        """A sentence on everything that counts, and still might not be meant so."""
        idle = [f"{test.id} ({test.outcome})" for test in self.tests if test.outcome in SKIPPED]
        told = "these tests were skipped or expected to fail (xfail), so their claims do not count"
        return [
            *self.weak(),
            *self.shown_less(),
            *never_false(self.constant),
            *([f"{told}: {_few(idle)}"] if idle else []),
            *self.warnings,
        ]

    def _not_proven(self, proof: Proof) -> str:
        """Why the proof of a mark failed, and what to do."""
        outcomes = {test.outcome for test in self.tests if proof.id in test.claims}
        if proof.verdict == UNREACHED and outcomes and outcomes <= set(SKIPPED):
            unreached = (
                "is claimed only by tests that were skipped or were expected to fail (xfail)"
            )
        elif proof.verdict == UNREACHED and outcomes and "passed" not in outcomes:
            unreached = "is claimed only by tests that did not pass with all marks enabled"
        else:
            unreached = "is claimed, and no claiming test reaches it with a true condition"
        said = {
            SURVIVED: "is claimed, and no claiming test fails while it is disabled",
            MASKED: "is claimed, and no claiming test fails while it is disabled, unless"
            f" {', '.join(proof.together)} is disabled too: test what only this mark refuses",
            UNREACHED: unreached,
            UNCLAIMED: "is claimed by no test",
        }
        return f"{proof.site}: the mark of {proof.id} {said[proof.verdict]}"

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        files.write(path, json.dumps({"version": _VERSION, **asdict(self)}, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Record":
        """Read what `write` wrote.

        Raises:
            ConfigurationError: It is not there, or is not what a traced run writes.
        """
        try:
            data = json.loads(_content(path))
            if not isinstance(data, dict):
                raise _WrongType(f"it is {_kind(data)}, and not an object")
            if data["version"] != _VERSION:
                raise ConfigurationError(
                    f"{path} was written by another version of vespiary trace, whose verdicts"
                    " cannot be compared: run vespiary trace prove, without --only"
                )
            return cls(
                marks=_rows(Mark, data["marks"]),
                tests=_rows(Test, data["tests"]),
                proofs=_rows(Proof, data["proofs"]),
                claims=_rows(Claim, data["claims"]),
                sources=_rows(Source, data["sources"]),
                sentences={str(name): str(it) for name, it in data.get("sentences", {}).items()},
                unstable=list(data["unstable"]),
                silent=list(data["silent"]),
                constant=list(data["constant"]),
                warnings=list(data["warnings"]),
            )
        except ConfigurationError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise ConfigurationError(
                f"{path} is not what vespiary trace prove writes ({said(error)}): run that again"
            ) from error


def never_false(sites: list[str]) -> list[str]:
    """A sentence on the conditions that no claiming test makes false; none if there are none."""
    if not sites:
        return []
    return [
        "these conditions were true in every claiming test that reached them, so no test shows what"
        f" the code does when they are false: {_few(sites)}"
    ]


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN_MAX} more" if len(names) > _SHOWN_MAX else ""
    return ", ".join(names[:_SHOWN_MAX]) + more


def is_only_reached(form: str, how: str) -> bool:
    """Whether a failure without a mark shows only that the marked code is executed.

    It does not show that a test would notice a wrong result if the code cannot be skipped, if the
    test could not even be imported, if a caller failed because a function gave no result, if any
    other result would do, or if a filter could as well let everything pass.
    """
    is_unread = form == "function" and how != ASSERTION
    return form == "statement" or how in ONLY_REACHED or is_unread


def last_lines(text: str) -> str:
    """The last lines of an error, those that say what is wrong."""
    lines = [line.rstrip()[:_COLUMNS_MAX] for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-_LINES_MAX:])


def _content(path: Path) -> bytes:
    try:
        return files.raw(path)
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}; vespiary trace prove writes it") from error


class _WrongType(TypeError):
    """A value is of another type; the text says which one, to a reader."""


def _kind(value: object) -> str:
    """What JSON calls a value that is not an object."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "a number"


def said(error: Exception) -> str:
    """What an exception on data of another shape says to a reader."""
    if isinstance(error, KeyError):
        return f"it has no {error.args[0]!r}"
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno} is not JSON"
    return str(error) if isinstance(error, _WrongType) else "it has another form"


def _rows(kind: type[Any], tables: Iterable[dict[str, Any]]) -> list[Any]:
    """Rows of one kind; lists of the file are tuples.

    Raises:
        TypeError: A value is of another type than the row's.
    """
    rows = [
        kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in table.items()})
        for table in tables
    ]
    for field_here in fields(kind):
        for row in rows:
            value = getattr(row, field_here.name)
            wanted = _TYPES.get(field_here.type, tuple)
            if not isinstance(value, wanted) or (field_here.name == "ids" and not value):
                raise _WrongType(f"{kind.__name__}.{field_here.name} is {value!r}")
    return rows
