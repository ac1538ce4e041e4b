"""Join catalogues, sources and evidence: how far is each requirement up the ladder?

========== =====================================================================================
excluded   the catalogue says why it is not this project's, or cannot be checked
unmapped   no condition is marked with it
implemented  a condition is marked
executed   a test that claims it passed, and made a marked condition true
proven     each marked condition was disabled, and a test that claims the requirement failed
confirmed  it is proven, and something from outside says so too: a foreign suite, a browser
========== =====================================================================================

A requirement with several marks is proven when all of them are: a second place that no test needs
may be the one that a user meets.
"""

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass, field

from vespiary.prove.trace.catalogue import Requirement
from vespiary.prove.trace.evidence import Evidence, Test
from vespiary.prove.trace.marks import Mark, Problem
from vespiary.prove.trace.scan import Project

__all__ = ["Code", "Standing", "Witness", "standings"]


@dataclass(frozen=True, slots=True)
class Code:
    """A marked condition, and whether a claiming test fails without it.

    Attributes:
        mark: Where it stands.
        verdict: `proven`, `survived`, `not executed`, or empty without evidence.
    """

    mark: Mark
    verdict: str


@dataclass(frozen=True, slots=True)
class Witness:
    """A test that claims a requirement.

    Attributes:
        id: Its name.
        outcome: `passed` or what else; `not run` if only the sources know of it.
        acted: Whether it made a marked condition true.
        proves: Whether it fails when one of them is disabled.
    """

    id: str
    outcome: str
    acted: bool = False
    proves: bool = False


@dataclass(slots=True)
class Standing:
    """Where a requirement stands.

    Attributes:
        requirement: It.
        status: `excluded`, or of the ladder.
        code: Its marks.
        tests: What claims it.
        outside: What confirms it from outside.
    """

    requirement: Requirement
    status: str
    code: list[Code] = field(default_factory=list)
    tests: list[Witness] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)


def standings(
    project: Project, evidence: Evidence | None, outside_tests: Iterable[str] = ()
) -> tuple[list[Standing], list[Problem]]:
    """Every requirement's standing, and what the evidence shows to be wrong.

    Args:
        project: What `scan` found.
        evidence: Of a traced run; None if there was none: then nothing is above `implemented`.
        outside_tests: Patterns of tests that confirm from outside.
    """
    patterns = tuple(outside_tests)
    found = {
        identifier: _standing(project, requirement, evidence, patterns)
        for identifier, requirement in project.requirements.items()
    }
    for standing in found.values():
        same = found.get(standing.requirement.same_as)
        if same and standing.status != "excluded":
            standing.status, standing.code = same.status, same.code
            standing.tests, standing.outside = same.tests, same.outside
    return list(found.values()), _wrong(project, evidence) if evidence else []


def _standing(
    project: Project, requirement: Requirement, evidence: Evidence | None, patterns: tuple[str, ...]
) -> Standing:
    marks = project.marks.get(requirement.id, [])
    tests = evidence.claiming(requirement.id) if evidence else []
    places = {mark.place for mark in marks}
    code = [Code(mark, _verdict(mark.place, tests, evidence)) for mark in marks]
    witnesses = [_witness(test, places, evidence) for test in tests]
    ran = {_function_of(test.id) for test in tests}
    witnesses += [
        Witness(f"{claim.file}::{claim.function}", "not run")
        for claim in project.claims.get(requirement.id, [])
        if claim.function.rsplit(".", 1)[-1] not in ran
    ]
    outside = set(evidence.outside.get(requirement.id, ())) if evidence else set()
    outside |= {
        witness.id
        for witness in witnesses
        if witness.outcome == "passed"
        and any(fnmatch.fnmatch(witness.id.split("::")[0], pattern) for pattern in patterns)
    }
    status = "unmapped"
    if requirement.excluded:
        status = "excluded"
    elif code and all(item.verdict == "proven" for item in code):
        status = "confirmed" if outside else "proven"
    elif any(witness.acted and witness.outcome == "passed" for witness in witnesses):
        status = "executed"
    elif code:
        status = "implemented"
    return Standing(requirement, status, code, witnesses, sorted(outside))


def _verdict(place: str, tests: list[Test], evidence: Evidence | None) -> str:
    if evidence is None:
        return ""
    names = {test.id for test in tests}
    proof = evidence.proofs.get(place)
    if proof and proof.killed_by & names:
        return "proven"
    return "survived" if any(place in test.acted for test in tests) else "not executed"


def _witness(test: Test, places: set[str], evidence: Evidence | None) -> Witness:
    proofs = evidence.proofs if evidence else {}
    killed = any(test.id in proofs[place].killed_by for place in places if place in proofs)
    return Witness(test.id, test.outcome, bool(test.acted & places), killed)


def _function_of(test: str) -> str:
    """The last part of a test's name, without its parameters."""
    return test.partition("[")[0].rsplit("::", 1)[-1]


def _wrong(project: Project, evidence: Evidence) -> list[Problem]:
    """Claims that the evidence contradicts, and evidence that the sources contradict."""
    problems: list[Problem] = []
    known = {mark.place for marks in project.marks.values() for mark in marks}
    for site, ids in sorted(evidence.sites.items()):
        if site not in known and ids & set(project.requirements):
            words = "the evidence knows a mark here, the sources have none: run the trace again"
            problems.append(Problem(site, words))
    for name in sorted(evidence.tests):
        test = evidence.tests[name]
        if test.outcome != "passed":
            words = f"it claims requirements and {test.outcome} with nothing disabled: repair it"
            problems.append(Problem(name, words))
            continue
        for identifier in sorted(test.claims & set(project.marks)):
            words = _contradiction(project, evidence, test, identifier)
            if words:
                problems.append(Problem(name, f"it claims {identifier}, but {words}"))
    return problems


def _contradiction(project: Project, evidence: Evidence, test: Test, identifier: str) -> str:
    """Why a passed test's claim does not hold; empty if nothing speaks against it."""
    places = {mark.place for mark in project.marks[identifier]}
    if not test.reached & places:
        return f"never reaches what is marked ({', '.join(sorted(places))}): claim what it tests"
    acted = test.acted & places
    if not acted:
        return f"no marked condition was true in it ({', '.join(sorted(places))})"
    proofs = [evidence.proofs[place] for place in acted if place in evidence.proofs]
    killed = any(test.id in proof.killed_by for proof in proofs)
    survived = any(test.id in proof.survived for proof in proofs)
    if survived and not killed:
        return f"passes without it ({', '.join(sorted(acted))} disabled): let it notice"
    return ""
