"""What a traced run saw: the file that `vespiary trace prove` writes, read for a report.

Its form is in `proving/record.py`. A proof is about one identifier at one site, a claim about one
identifier and the function that claims it, however many tests are made of that function. Sites are
those of the sources as they are now; what has changed since is said.
"""

import re
from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vespiary.prove.trace.catalogue import Requirement
from vespiary.prove.trace.marks import Mark
from vespiary.prove.trace.proving.record import KILLED, Record, Source
from vespiary.prove.trace.proving.sameness import Changed, moved
from vespiary.prove.trace.seen import sources_again

__all__ = ["Evidence", "Proof", "Test", "as_of_today", "read_evidence", "sources_of"]


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
        how: How they failed, as `record` has it.
        together: The sites of the marks that had to be disabled too.
    """

    verdicts: set[str] = field(default_factory=set)
    tests: set[str] = field(default_factory=set)
    how: str = ""
    together: tuple[str, ...] = ()

    @property
    def killed(self) -> bool:
        """Whether a claiming test failed without each of the marks."""
        return self.verdicts == {KILLED}


@dataclass(slots=True)
class Evidence:
    """What a traced run saw.

    Attributes:
        tests: Those that claim something, by name.
        proofs: By `file:line` and identifier.
        claims: By function and identifier: `killed` if the claim holds.
        unstable: Tests that passed, and later failed unchanged.
        changed: The marks, claims and sentences that have changed since.
        hints: A sentence for everything that counts, and still might not be meant so.
        marks: Those that the run has executed, and that reading the sources does not find.
    """

    tests: dict[str, Test] = field(default_factory=dict)
    proofs: dict[tuple[str, str], Proof] = field(default_factory=dict)
    claims: dict[tuple[str, str], str] = field(default_factory=dict)
    unstable: list[str] = field(default_factory=list)
    changed: list[Changed] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)

    def claimants(self, identifier: str) -> dict[str, list[Test]]:
        """The functions that claim a requirement, each with the tests made of it, by name."""
        found: dict[str, list[Test]] = {}
        for name in sorted(self.tests):
            test = self.tests[name]
            if identifier in test.claims:
                found.setdefault(test.claimant, []).append(test)
        return found


def sources_of(marks: Iterable[Mark]) -> list[Source]:
    """The functions around marks and claims, one for each identifier."""
    return [
        Source(name, mark.kind, mark.file, mark.line, mark.function, mark.digest)
        for mark in marks
        for name in dict.fromkeys(mark.ids)
    ]


def as_of_today(path: Path, root: Path, marks: Iterable[Mark]) -> tuple[Record, list[Changed]]:
    """Read the file of a traced run, with the sites of today, and what has changed since.

    Args:
        path: The file.
        root: The project's folder.
        marks: The marks and claims of the sources.

    Raises:
        ConfigurationError: It is not there, or is not what a traced run writes.
    """
    record, scanned = Record.read(path), sources_of(marks)
    return moved(record, [*scanned, *sources_again(root, record.sources, scanned)])


def _other_sentences(record: Record, requirements: Mapping[str, Requirement]) -> list[Changed]:
    """The requirements that had marks or claims, and whose sentence was another one then."""
    traced = {source.id for source in record.sources}
    return [
        Changed(Source(name, "sentence", one.file, one.line, "", one.hash))
        for name, one in requirements.items()
        if name in traced and one.hash and record.sentences.get(name, one.hash) != one.hash
    ]


def read_evidence(
    path: Path, root: Path, marks: Iterable[Mark], requirements: Mapping[str, Requirement]
) -> Evidence:
    """Read the file of a traced run, and compare it with the sources and the catalogues of today.

    Raises:
        ConfigurationError: It is not there, or is not what a traced run writes.
    """
    every = list(marks)
    record, changed = as_of_today(path, root, every)
    changed += _other_sentences(record, requirements)
    evidence = Evidence(
        unstable=record.unstable,
        changed=changed,
        hints=record.hints(),
    )
    gone = {(one.source.id, one.source.file, one.source.function)
            for one in changed if one.gone and one.source.kind == "claim"}  # fmt: skip
    for test in record.tests:
        claims = [name for name in test.claims if not _has_gone(test.claimant, name, gone)]
        if not claims:
            continue
        evidence.tests[test.id] = Test(
            id=test.id,
            claims=frozenset(claims),
            reached=frozenset(test.reached),
            acted=frozenset(test.acted),
            outcome=test.outcome,
            claimant=test.claimant,
        )
    unproven = {one.source.id for one in changed}
    evidence.marks = _hidden(record, every, unproven)
    for proof in record.proofs:
        if proof.id in unproven:
            continue
        taken = evidence.proofs.setdefault((proof.site, proof.id), Proof())
        taken.verdicts.add(proof.verdict)
        taken.tests.update(proof.tests)
        taken.how = taken.how or proof.how
        taken.together = taken.together or proof.together
    for claim in record.claims:
        if claim.id in unproven:
            continue
        evidence.claims[claim.claimant, claim.id] = claim.verdict
    return evidence


def _has_gone(claimant: str, name: str, gone: Collection[tuple[str, str, str]]) -> bool:
    """Whether the sources no longer have the test that claimed something."""
    file, _, function = claimant.partition("::")
    if not file.endswith(".py"):
        own = claimant.rpartition("::")[2]
        return any(
            which == name and where.endswith(".rs") and re.split(r"::|\.", scope)[-1] == own
            for which, where, scope in gone
        )
    parts = function.split("::")
    scopes = [".".join(parts[:count]) for count in range(len(parts) + 1)]
    return any((name, file, scope) in gone for scope in scopes)


def _hidden(record: Record, marks: Iterable[Mark], outdated: Container[str]) -> list[Mark]:
    """The marks of a run that the sources do not show; they must be needed, too."""
    scanned = {(mark.place, name) for mark in marks for name in mark.ids}
    seen = {(one.site, one.id): one.function for one in record.sources
            if one.kind == "mark" and one.by_run}  # fmt: skip
    return [
        Mark("mark", (name,), mark.file, mark.line, seen[mark.site, name],
             "python" if mark.file.endswith(".py") else "rust", mark.form)
        for mark in record.marks
        for name in mark.ids
        if (mark.site, name) in seen.keys() - scanned and name not in outdated
    ]  # fmt: skip
