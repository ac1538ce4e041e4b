"""What the tracer cannot see: listed in each report, counted in none of its numbers."""

from vespiary._counted import counted
from vespiary.prove.trace.evidence import Evidence
from vespiary.prove.trace.gates import gated
from vespiary.prove.trace.scan import Project
from vespiary.prove.trace.settings import Settings
from vespiary.prove.trace.status import Standing

__all__ = ["limits"]

_ALWAYS = (
    "A requirement without an upper-case key word (a small must, a step, a row of a table, a"
    " grammar's rule, a figure) is traced only where a person has added it: extract --candidates"
    " offers them.",
    "A sentence with several key words is one requirement: one test that proves a part of it proves"
    " it.",
    "A proof says that some claiming test fails without the condition; not that the condition is"
    " right, nor that every case of the requirement is tested.",
    "Marks are seen in Rust and Python only.",
    "Code without a condition (a constant, a table, the order of two statements) can only be made"
    " to fail: its requirements are reached, not proven. A const fn can have no mark.",
    "Code without a mark may break a requirement: a MUST NOT is proven where it is marked, not"
    " everywhere.",
)


def limits(
    project: Project, settings: Settings, evidence: Evidence | None, standings: list[Standing]
) -> list[str]:
    """What this report does not see, first what is particular to it."""
    told: list[str] = []
    if evidence is None:
        told.append(
            "There is no evidence: nothing can be above implemented. Run vespiary trace prove."
        )
    not_run = sorted({
        witness.id for standing in standings for witness in standing.tests
        if witness.outcome == "not run"
    })  # fmt: skip
    if evidence is not None and not_run:
        told.append(
            f"{counted(len(not_run), 'test')} that claim something did not run: {_few(not_run)}"
        )
    if evidence is not None:
        told += [f"{words}." for words in evidence.hints]
    for catalogue in project.catalogues:
        if catalogue.sections:
            told.append(
                f"Of {catalogue.name} only these sections are traced:"
                f" {', '.join(catalogue.sections)}."
            )
        if catalogue.base:
            told.append(
                f"Of {catalogue.name} only what {catalogue.base} does not say too is traced."
            )
        if catalogue.vanished:
            told.append(
                f"{catalogue.name} has lost {counted(len(catalogue.vanished), 'requirement')} since"
                f" it was first read: {_few(list(catalogue.vanished))}"
            )
    excluded = sum(standing.status == "excluded" for standing in standings)
    if excluded:
        told.append(f"{counted(excluded, 'requirement')} excluded, each with its reason below.")
    todo = [standing.requirement.id for standing in standings if standing.status == "todo"]
    if todo:
        told.append(f"These wait for an issue, and pass every gate until then: {_few(todo)}")
    suspect = [standing.requirement.id for standing in standings if standing.requirement.suspect]
    if suspect:
        told.append(f"The words of these have changed since they were described: {_few(suspect)}")
    unread = [mark.where for mark in project.problems if "within the macro" in mark.words]
    if unread:
        told.append(f"Marks within macros, whose identifiers cannot be seen: {_few(unread)}")
    unquoted = [item.name for item in project.catalogues if item.name not in settings.texts]
    if unquoted:
        told.append(
            "The sentences of these are not quoted, because [texts] in trace.toml names no text of"
            f" them: {_few(unquoted)}"
        )
    lost = [file for file in settings.texts.values() if not (settings.root / file).exists()]
    if lost:
        told.append(f"These texts, which [texts] in trace.toml names, are not there: {_few(lost)}")
    ungated = [
        standing.requirement.id for standing in standings
        if standing.requirement.level == "must" and not standing.requirement.excluded
        and not any(gated(standing, gate) for gate in settings.gates)
    ]  # fmt: skip
    if settings.gates and ungated:
        told.append(f"No gate is for these, whose level is must (in lower case): {_few(ungated)}")
    if not settings.gates:
        told.append("No gate is set: nothing fails for a low status.")
    return [*told, *_ALWAYS]


def _few(names: list[str]) -> str:
    shown = ", ".join(names[:10])
    return shown + (f" and {len(names) - 10} more." if len(names) > 10 else ".")
