"""Join catalogues, sources and evidence: the status of each requirement.

=========== ====================================================================================
excluded    the catalogue says why it is not this project's, or cannot be checked
todo        it is below proven, and the catalogue has the address of the issue that will change it
unmapped    no code is marked with it
implemented code is marked
executed    a test that claims it passed, and made a marked condition true
reached     as proven, but of some of the marked code the failure shows only that it is executed:
            code without a condition was made to fail when it was reached, a test could not be
            imported, or a function without `disabled=` gave no result to its caller
proven      each marked condition was disabled, and a test that claims the requirement failed
confirmed   it is reached or proven, and something from outside says so too: a foreign suite, a
            browser
=========== ====================================================================================

A requirement with several marks is proven when all of them are: a second place that no test needs
may be the one that a user meets.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from vespiary.prove.trace.catalogue import Requirement
from vespiary.prove.trace.evidence import Evidence, Proof, Test
from vespiary.prove.trace.marks import Mark, Problem
from vespiary.prove.trace.moves import problems_of
from vespiary.prove.trace.proving.record import (
    KILLED,
    MASKED,
    SKIPPED,
    SURVIVED,
    UNREACHED,
    is_only_reached,
)
from vespiary.prove.trace.scan import Project

__all__ = ["Code", "Standing", "Witness", "standings"]


@dataclass(frozen=True, slots=True)
class Code:
    """Marked code, and whether a claiming test fails without it.

    Attributes:
        mark: Where it stands.
        verdict: `proven`, `reached` (the same of code without a condition), `masked`, `survived`,
            `not executed`, or empty without evidence.
        how: How the test failed, as `record` has it.
        together: The places of marks that had to be disabled too.
    """

    mark: Mark
    verdict: str
    how: str = ""
    together: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Witness:
    """A test function that claims a requirement.

    Attributes:
        id: Its name.
        outcome: `passed` if all tests made of it did, or what else; `skipped` or `xfailed` if none
            of them passed; `not run` if only the sources know of it.
        acted: Whether it made a marked condition true.
        proves: Whether it fails when one of them is disabled.
        survives: Whether all were disabled, and it passed.
        tests: How many tests are made of it: one a parameter, one a driver.
    """

    id: str
    outcome: str
    acted: bool = False
    proves: bool = False
    survives: bool = False
    tests: int = 0


@dataclass(slots=True)
class Standing:
    """Where a requirement stands.

    Attributes:
        requirement: It.
        status: `excluded`, or of the ladder.
        code: Its marks.
        tests: What claims it.
        outside: What confirms it from outside.
        languages: Of the project's sources.
        outdated: Whether a mark or a claim has changed since it was proven.
    """

    requirement: Requirement
    status: str
    code: list[Code] = field(default_factory=list)
    tests: list[Witness] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    languages: tuple[str, ...] = ()
    outdated: bool = False

    @property
    def by_tests(self) -> str:
        """The status without what confirms it from outside."""
        if self.status != "confirmed":
            return self.status
        return "reached" if any(item.verdict == "reached" for item in self.code) else "proven"


def standings(
    project: Project, evidence: Evidence | None, outside: Mapping[str, set[str]]
) -> tuple[list[Standing], list[Problem]]:
    """Every requirement's standing, and what the evidence shows to be wrong.

    Args:
        project: What `scan` found.
        evidence: Of a traced run; None if there was none: then nothing is above `implemented`.
        outside: By identifier: what confirms it from outside.
    """
    found = {
        identifier: _standing(project, requirement, evidence, outside.get(identifier, set()))
        for identifier, requirement in project.requirements.items()
    }
    originals = [(standing, _original(standing, found)) for standing in found.values()]
    for standing, same in originals:
        standing.status, standing.code = same.status, same.code
        standing.tests, standing.outside = same.tests, same.outside
    return list(found.values()), _wrong(project, evidence) if evidence else []


def _original(standing: Standing, found: Mapping[str, Standing]) -> Standing:
    """The standing of what is traced instead of a requirement, through any number of steps."""
    passed: set[str] = set()
    while standing.status != "excluded" and standing.requirement.id not in passed:
        passed.add(standing.requirement.id)
        standing = found.get(standing.requirement.same_as, standing)
    return standing


def _standing(
    project: Project, requirement: Requirement, evidence: Evidence | None, outside: set[str]
) -> Standing:
    marks = project.marks.get(requirement.id, [])
    places = {mark.place for mark in marks}
    code = [_code(mark, requirement.id, evidence) for mark in marks]
    witnesses = _witnesses(project, requirement.id, places, evidence)
    status = "unmapped"
    if requirement.excluded:
        status = "excluded"
    elif code and all(item.verdict in ("reached", "proven") for item in code):
        is_reached = any(item.verdict == "reached" for item in code)
        status = "confirmed" if outside else "reached" if is_reached else "proven"
    elif requirement.todo:
        status = "todo"
    elif any(witness.acted and witness.outcome == "passed" for witness in witnesses):
        status = "executed"
    elif code:
        status = "implemented"
    changed = evidence.changed if evidence else []
    outdated = any(one.source.id == requirement.id for one in changed)
    languages = project.languages
    return Standing(
        requirement, status, code, witnesses, sorted(outside), languages, outdated=outdated
    )


def _code(mark: Mark, identifier: str, evidence: Evidence | None) -> Code:
    proof = evidence.proofs.get((mark.place, identifier)) if evidence else None
    verdict = _verdict(mark, identifier, evidence, proof)
    return Code(mark, verdict, proof.how, proof.together) if proof else Code(mark, verdict)


def _verdict(mark: Mark, identifier: str, evidence: Evidence | None, proof: Proof | None) -> str:
    if evidence is None:
        return ""
    place = mark.place
    if proof and proof.killed:
        return "reached" if is_only_reached(mark.form, proof.how) else "proven"
    if proof and proof.verdicts == {MASKED}:
        return MASKED
    if proof and UNREACHED in proof.verdicts:
        return "not executed"
    tests = [test for found in evidence.claimants(identifier).values() for test in found]
    return "survived" if any(place in test.acted for test in tests) else "not executed"


def _witnesses(
    project: Project, identifier: str, places: set[str], evidence: Evidence | None
) -> list[Witness]:
    """What claims a requirement: functions that ran, and those that only the sources know."""
    claimants = evidence.claimants(identifier) if evidence else {}
    killers = {
        name
        for place in places
        if evidence and (place, identifier) in evidence.proofs
        for name in evidence.proofs[place, identifier].tests
    }
    found = []
    for claimant, tests in claimants.items():
        outcomes = [test.outcome for test in tests]
        bad = [outcome for outcome in outcomes if outcome not in ("passed", *SKIPPED)]
        told = "passed" if "passed" in outcomes else max(outcomes)
        verdict = evidence.claims.get((claimant, identifier)) if evidence else None
        found.append(
            Witness(
                id=claimant,
                outcome=bad[0] if bad else told,
                acted=any(test.acted & places for test in tests),
                proves=verdict == KILLED or any(test.id in killers for test in tests),
                survives=verdict == SURVIVED,
                tests=len(tests),
            )
        )
    ran = {_function_of(claimant) for claimant in claimants}
    found += [
        Witness(f"{claim.file}::{claim.function or claim.macro}", "not run")
        for claim in project.claims.get(identifier, [])
        if claim.function.rsplit(".", 1)[-1] not in ran
        and not (claim.macro and ran)
        and not any(_is_within(claimant, claim) for claimant in claimants)
    ]
    return found


def _is_within(claimant: str, claim: Mark) -> bool:
    """Whether a test of pytest is in the class or the file that makes a claim."""
    scope = "::".join([claim.file, *(part for part in claim.function.split(".") if part)])
    return claimant.startswith(f"{scope}::")


def _function_of(claimant: str) -> str:
    return claimant.rsplit("::", 1)[-1]


def _wrong(project: Project, evidence: Evidence) -> list[Problem]:
    """Claims that the evidence contradicts, and evidence that the sources contradict."""
    problems = _changed(project, evidence)
    for name in sorted(evidence.tests):
        outcome = evidence.tests[name].outcome
        if outcome not in ("passed", *SKIPPED):
            how = "did not end in time" if outcome == "timeout" else "failed"
            words = f"it {how} although no mark was disabled: repair it"
            problems.append(Problem(name, words))
    problems += [
        Problem(
            name, "it passed at first and failed later with no mark disabled: it proves nothing"
        )
        for name in evidence.unstable
    ]
    outdated = {one.source.id for one in evidence.changed}
    for identifier, marks in project.marks.items():
        if identifier in outdated:
            continue
        places = {mark.place for mark in marks}
        for claimant, tests in evidence.claimants(identifier).items():
            words = _contradiction(places, tests, evidence.claims.get((claimant, identifier), ""))
            if words:
                problems.append(Problem(claimant, f"it claims {identifier}, but {words}"))
    return problems


def _changed(project: Project, evidence: Evidence) -> list[Problem]:
    """Marks and claims that are not what they were when they were proven."""
    known = [one for one in evidence.changed if one.source.id in project.requirements]
    return problems_of(known, {mark.file for mark in project.sources})


def _contradiction(places: set[str], tests: list[Test], verdict: str) -> str:
    """Why a function's claim does not hold; empty if nothing speaks against it."""
    passed = [test for test in tests if test.outcome == "passed"]
    where = ", ".join(sorted(places))
    if not passed or verdict == "killed":
        return ""
    if not any(test.reached & places for test in passed):
        return f"never reaches the marked code ({where}): claim what it tests"
    if not any(test.acted & places for test in passed):
        return f"no marked condition was true in it ({where}): claim what it tests"
    if verdict == "survived":
        return (
            f"passes while the marked code ({where}) is disabled: make it check the result, or"
            " mark what else leads to the same result"
        )
    return ""
