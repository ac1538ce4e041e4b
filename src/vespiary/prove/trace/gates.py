"""Gates: the lowest status that a requirement may have, by specification, level and role."""

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from vespiary.errors import ConfigurationError
from vespiary.prove.trace import files
from vespiary.prove.trace.marks import Problem
from vespiary.prove.trace.proving.record import COLLECTION, SHOWN_LESS, SKIPPED
from vespiary.prove.trace.proving.sameness import prove_again
from vespiary.prove.trace.scan import SUSPECT
from vespiary.prove.trace.settings import LADDER, Gate
from vespiary.prove.trace.status import Code, Standing

__all__ = ["gated", "offenders", "reason", "worse"]

_MORE_THAN_REACHED = {
    "statement": "has no condition that can be disabled: mark a condition",
    "function": "was only shown to be called: give implements the argument disabled=, or let a test"
    " assert on the result",
    COLLECTION: "was only shown to be needed by an import: let a test assert what it does",
    **SHOWN_LESS,
}
"""By how a test failed, or by the form of a mark: why it is only reached, and what to do."""

_SNAPSHOT_LINE = re.compile(r"(\S+) (?:MUST NOT|SHOULD NOT|MUST|SHOULD|MAY|must) (\w+)(?::|$)")

_SNAPSHOT_STATUSES = (*LADDER, "excluded", "todo")


def offenders(standings: Iterable[Standing], gates: Iterable[Gate]) -> list[Problem]:
    """The requirements that do not pass a gate, each with what to do.

    A requirement passes if it is excluded with a reason, or has an open issue. It does not pass if
    its sentence has changed since a person has read it.
    """
    strictest: dict[str, tuple[Standing, int]] = {}
    every = list(standings)
    for gate in gates:
        wanted = LADDER.index(gate.status)
        for standing in every:
            identifier = standing.requirement.id
            if gated(standing, gate) and wanted > strictest.get(identifier, (standing, -1))[1]:
                strictest[identifier] = (standing, wanted)
    low = [
        _problem(standing, LADDER[wanted])
        for standing, wanted in strictest.values()
        if not standing.requirement.suspect
        and standing.status in LADDER
        and LADDER.index(standing.status) < wanted
    ]
    return [*low, *_suspects(standing for standing, _ in strictest.values())]


def _suspects(standings: Iterable[Standing]) -> list[Problem]:
    """The requirements that a revision of the text has marked, and nobody has accepted."""
    return [
        Problem(f"{one.file}:{one.line}", f"{one.id} {one.level} is suspect: {SUSPECT}")
        for one in (standing.requirement for standing in standings)
        if one.suspect
    ]


def worse(standings: Iterable[Standing], snapshot: Path) -> list[Problem]:
    """The requirements whose status is lower than a snapshot has it, or that are suspect.

    What is excluded now, or has an open issue, is lower than anything but unmapped.

    Args:
        standings: Those of today.
        snapshot: The file.

    Raises:
        ConfigurationError: It cannot be read, or a line is not one of a snapshot.
    """
    now = {standing.requirement.id: standing for standing in standings}
    found = []
    for name, before in _read_snapshot(snapshot):
        standing = now.get(name)
        if standing is None:
            if _rank(before):
                found.append(Problem(name, f"it was {before}, and no catalogue has it any more"))
        elif not standing.requirement.suspect and _rank(standing.by_tests) < _rank(before):
            place = f"{standing.requirement.file}:{standing.requirement.line}"
            words_now = f"{name} was {before} and is {standing.by_tests}: {_advice(standing)}"
            found.append(Problem(place, words_now))
    return [*found, *_suspects(now.values())]


def _read_snapshot(path: Path) -> list[tuple[str, str]]:
    """The identifiers and statuses of a snapshot; an unknown status would let everything pass."""
    rows: list[tuple[str, str]] = []
    for number, line in enumerate(files.read(path).splitlines(), 1):
        words = _SNAPSHOT_LINE.match(line)
        if words is None:
            raise ConfigurationError(
                f"{path}:{number}: not a line of a snapshot: {line}: vespiary trace snapshot"
                " writes one"
            )
        name, status = words[1], words[2]
        if status not in _SNAPSHOT_STATUSES:
            near = difflib.get_close_matches(status.lower(), _SNAPSHOT_STATUSES, n=1, cutoff=0)
            raise ConfigurationError(
                f"{path}:{number}: {name}: there is no status {status!r}: did you mean {near[0]}?"
            )
        rows.append((name, status))
    if not rows:
        raise ConfigurationError(
            f"{path}:1: a snapshot without a requirement: every status would pass; vespiary trace"
            " snapshot writes one"
        )
    return rows


def reason(standing: Standing) -> str:
    """Why a requirement is below proven, and what to do; empty if it is not below."""
    above = ("proven", "confirmed", "excluded", "todo")
    return "" if standing.status in above else _advice(standing)


def _rank(status: str) -> int:
    return LADDER.index(status) if status in LADDER else 0


def gated(standing: Standing, gate: Gate) -> bool:
    """Whether a gate is for a requirement: one without a role is for everybody."""
    requirement = standing.requirement
    if gate.specification not in ("*", requirement.specification):
        return False
    roles = set(requirement.role)
    if gate.roles and roles and not roles & set(gate.roles):
        return False
    return requirement.level in gate.levels


def _problem(standing: Standing, wanted: str) -> Problem:
    requirement = standing.requirement
    place = f"{requirement.file}:{requirement.line}"
    says = f" ({requirement.says})" if requirement.says else ""
    words = (
        f"{requirement.id} {requirement.level}{says} is {standing.status}, should be {wanted}:"
        f" {_advice(standing)}"
    )
    return Problem(place, words)


def _advice(standing: Standing) -> str:
    identifier = standing.requirement.id
    if standing.status not in LADDER:
        return "prove it again, or write the snapshot again"
    if standing.status == "unmapped":
        marks = {
            "rust": f'requires!("{identifier}" => ...)',
            "python": f'requires("{identifier}", ...)',
        }
        mark = " or ".join(marks[language] for language in standing.languages)
        return f"mark the condition with {mark}, or exclude it with a reason"
    if standing.outdated:
        return f"its evidence is out of date: {prove_again([identifier])}"
    if standing.status == "implemented":
        where = ", ".join(item.mark.place for item in standing.code)
        if not standing.tests:
            return f"add a claim to a test of {where}"
        if all(test.outcome == "not run" for test in standing.tests):
            return "the tests that claim it have not run: run vespiary trace prove"
        if all(test.outcome in SKIPPED for test in standing.tests):
            names = ", ".join(f"{test.id} ({test.outcome})" for test in standing.tests)
            return f"its claiming tests were skipped or expected to fail, and show nothing: {names}"
        return f"no claiming test that passed made {where} true"
    if standing.status == "executed":
        return _advice_on_executed(standing)
    if standing.status == "reached":
        return _advice_on_reached([item for item in standing.code if item.verdict == "reached"])
    return "nothing from outside confirms it: name a foreign suite's case or a test of another peer"


def _advice_on_reached(code: list[Code]) -> str:
    """What makes proven of reached, for the plainest kind of mark that is only reached."""
    groups: dict[str, list[str]] = defaultdict(list)
    for item in code:
        kind = item.how if item.how in _MORE_THAN_REACHED else item.mark.form
        groups[kind].append(item.mark.place)
    for kind, words in _MORE_THAN_REACHED.items():
        if places := groups[kind]:
            where = list(dict.fromkeys(places))
            subject = f"each of {', '.join(where)}" if len(where) > 1 else where[0]
            return f"{subject} {words}, or let the gate accept reached"
    return "let the gate accept reached"


def _advice_on_executed(standing: Standing) -> str:
    """What keeps the marks of a requirement from being proven, the plainest reason first."""
    places: dict[str, list[str]] = defaultdict(list)
    for item in standing.code:
        places[item.verdict].append(item.mark.place)
    if unreached := places["not executed"]:
        where = ", ".join(dict.fromkeys(unreached))
        return f"no claiming test that passed made {where} true: test that case too"
    if masked := [item for item in standing.code if item.verdict == "masked"]:
        return (
            f"the claiming tests fail only if {', '.join(masked[0].together)} is disabled as well"
            f" as {masked[0].mark.place}: test what only the code at {masked[0].mark.place} refuses"
        )
    where = ", ".join(dict.fromkeys(places["survived"]))
    return f"no claiming test fails while {where} is disabled: make one check the result"
