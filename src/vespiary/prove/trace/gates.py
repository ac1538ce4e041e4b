"""Gates: the lowest status that a requirement may have, by specification, level and role."""

from collections.abc import Iterable

from vespiary.prove.trace.marks import Problem
from vespiary.prove.trace.settings import LADDER, Gate
from vespiary.prove.trace.status import Standing

__all__ = ["gated", "offenders"]


def offenders(standings: Iterable[Standing], gates: Iterable[Gate]) -> list[Problem]:
    """The requirements that do not pass a gate, each with what to do.

    What is excluded with a reason passes.
    """
    strictest: dict[str, tuple[Standing, int]] = {}
    every = list(standings)
    for gate in gates:
        wanted = LADDER.index(gate.status)
        for standing in every:
            identifier = standing.requirement.id
            if gated(standing, gate) and wanted > strictest.get(identifier, (standing, -1))[1]:
                strictest[identifier] = (standing, wanted)
    return [
        _problem(standing, LADDER[wanted])
        for standing, wanted in strictest.values()
        if standing.status != "excluded" and LADDER.index(standing.status) < wanted
    ]


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
    if standing.status == "unmapped":
        return (
            f'mark the condition with requires!("{identifier}" => ...), or exclude it with a reason'
        )
    if standing.status == "implemented":
        where = ", ".join(item.mark.place for item in standing.code)
        if not standing.tests:
            return f"let a test of {where} claim it"
        return f"no claiming test that passed made {where} true"
    masked = [item for item in standing.code if item.verdict == "masked"]
    if standing.status == "executed" and masked:
        return (
            f"the claiming tests fail only if {', '.join(masked[0].together)} is disabled as well"
            f" as {masked[0].mark.place}: test what only the latter refuses"
        )
    if standing.status == "executed":
        left = [i.mark.place for i in standing.code if i.verdict not in ("reached", "proven")]
        return f"no claiming test fails while {', '.join(left)} is disabled: let one notice"
    if standing.status == "reached":
        left = [i.mark.place for i in standing.code if i.verdict == "reached"]
        return (
            f"{', '.join(left)} has no condition that can be disabled: mark a condition, or let the"
            " gate accept reached"
        )
    return "nothing from outside confirms it: name a foreign suite's case or a test of another peer"
