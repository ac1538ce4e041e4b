"""The report as values: what the page, the JSON file, the summary and the snapshot are made of."""

import json
from dataclasses import dataclass, field
from typing import Any

from vespiary.errors import ConfigurationError
from vespiary.prove.trace.catalogue import ROLES
from vespiary.prove.trace.evidence import Evidence, read_evidence
from vespiary.prove.trace.files import specification
from vespiary.prove.trace.gates import offenders, reason
from vespiary.prove.trace.limits import limits
from vespiary.prove.trace.marks import Problem
from vespiary.prove.trace.normative import LEVELS, read
from vespiary.prove.trace.outside import read_outside
from vespiary.prove.trace.scan import Project, scan
from vespiary.prove.trace.settings import LADDER, Settings
from vespiary.prove.trace.status import Standing, standings

__all__ = ["STATUSES", "Report", "as_json", "as_snapshot", "as_text", "made"]

JSON_VERSION = 1
"""Of the JSON: it grows when a key changes its meaning or goes, not when one is added."""

STATUSES = (*LADDER, "excluded", "todo")
"""All that a requirement can be."""


@dataclass(slots=True)
class Report:
    """Everything that is known.

    Attributes:
        project: Catalogues and sources.
        standings: Each requirement's, in the order of the catalogues.
        problems: What is wrong in catalogues, sources and evidence.
        offenders: What does not pass its gate.
        limits: What cannot be seen.
        sentences: By identifier: the specification's own words, if its text is available.
        traced: Whether there was evidence.
    """

    project: Project
    standings: list[Standing]
    problems: list[Problem]
    offenders: list[Problem]
    limits: list[str]
    traced: bool
    sentences: dict[str, str] = field(default_factory=dict)

    @property
    def errors(self) -> list[Problem]:
        """The problems for which the tool fails."""
        return [problem for problem in self.problems if problem.error]


def made(settings: Settings, *, without_evidence: bool = False) -> Report:
    """Read everything that the settings name and join it.

    Args:
        settings: The project's.
        without_evidence: Do as if there had been no traced run.

    Raises:
        ConfigurationError: A file is wrong.
    """
    project = scan(settings)
    _refuse_idle_gates(project, settings)
    path = settings.root / settings.evidence
    evidence: Evidence | None = None
    if not without_evidence and path.exists():
        evidence = read_evidence(path, settings.root, project.sources, project.requirements)
        for mark in evidence.marks:
            if mark.ids[0] in project.requirements:
                project.marks.setdefault(mark.ids[0], []).append(mark)
    outside = read_outside(settings, project)
    found, wrong = standings(project, evidence, outside.by)
    return Report(
        project=project,
        standings=found,
        problems=[*project.problems, *outside.problems, *wrong],
        offenders=offenders(found, settings.gates),
        limits=limits(project, settings, evidence, found),
        traced=evidence is not None,
        sentences=_sentences(project, settings),
    )


def _sentences(project: Project, settings: Settings) -> dict[str, str]:
    """The sentences that the settings' texts have, as far as they are still those of the catalogue.

    Raises:
        ConfigurationError: No catalogue has the name of a text.
    """
    found: dict[str, str] = {}
    names = [catalogue.name for catalogue in project.catalogues]
    for name, file in settings.texts.items():
        if name not in names:
            raise ConfigurationError(
                f"{settings.root / 'trace.toml'}: texts.{name}: no catalogue has this name: there"
                f" are {', '.join(names)}"
            )
        path = settings.root / file
        if path.exists():
            text = specification(path)
            by_hash = {sentence.hash: sentence.text for sentence in read(text, name)}
            found |= {
                item.id: by_hash[item.hash]
                for item in project.requirements.values()
                if item.specification == name and item.hash in by_hash
            }
    return found


def _refuse_idle_gates(project: Project, settings: Settings) -> None:
    """Refuse a gate of a role or specification that does not exist: everything would pass it."""
    roles = [*ROLES, *(role for catalogue in project.catalogues for role in catalogue.roles)]
    names = ["*", *(catalogue.name for catalogue in project.catalogues)]
    for gate in settings.gates:
        wrong = [("roles", role, roles) for role in gate.roles if role not in roles]
        if gate.specification not in names:
            wrong.append(("specification", gate.specification, names))
        for key, value, known in wrong:
            raise ConfigurationError(
                f"{settings.root / 'trace.toml'}: gate.{key}: must be one of {', '.join(known)};"
                f" got {value!r}"
            )


def as_json(report: Report) -> str:
    """The report for programs."""
    data = {
        "version": JSON_VERSION,
        "requirements": [
            _requirement(standing, report.sentences.get(standing.requirement.id, ""))
            for standing in report.standings
        ],
        "problems": [
            {"where": problem.where, "words": problem.words, "error": problem.error}
            for problem in report.problems
        ],
        "gates": [{"where": p.where, "words": p.words} for p in report.offenders],
        "limits": report.limits,
    }
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def _requirement(standing: Standing, sentence: str) -> dict[str, Any]:
    requirement = standing.requirement
    return {
        "id": requirement.id,
        "specification": requirement.specification,
        "section": requirement.section,
        "sentence": sentence,
        "reason": reason(standing),
        "level": requirement.level,
        "role": list(requirement.role),
        "status": standing.status,
        "says": requirement.says,
        "why": requirement.why,
        "source": requirement.source,
        "excluded": requirement.excluded,
        "todo": requirement.todo,
        "erratum": requirement.erratum or None,
        "suspect": requirement.suspect,
        "code": [
            {
                "file": item.mark.file,
                "line": item.mark.line,
                "function": item.mark.function,
                "verdict": item.verdict,
                "how": item.how,
                "together": list(item.together),
            }
            for item in standing.code
        ],
        "tests": [
            {
                "id": t.id,
                "outcome": t.outcome,
                "acted": t.acted,
                "proves": t.proves,
                "tests": t.tests,
            }
            for t in standing.tests
        ],
        "outside": standing.outside,
    }


def as_snapshot(report: Report) -> str:
    """One line per requirement, sorted, with its status and its tests, for a difference to be read.

    It contains no lines of code, because they change with every edit, and no confirmations by other
    test suites, because these are not run everywhere.
    """
    lines = []
    for standing in report.standings:
        requirement = standing.requirement
        tests = " ".join(sorted({test.id.replace(" ", "_") for test in standing.tests}))
        line = f"{requirement.id} {requirement.level} {standing.by_tests}"
        lines.append(f"{line}: {tests}" if tests else line)
    return "\n".join(sorted(lines)) + "\n"


def as_text(report: Report) -> str:
    """A table for the terminal: of each specification and level, how many have which status."""
    rows: list[tuple[str, ...]] = [("", "", *STATUSES, "all")]
    for catalogue in report.project.catalogues:
        ours = [s for s in report.standings if s.requirement.specification == catalogue.name]
        levels = [
            level for level in (*LEVELS, "must") if any(s.requirement.level == level for s in ours)
        ]
        for place, level in enumerate(levels):
            counted = [s.status for s in ours if s.requirement.level == level]
            numbers = [str(counted.count(status) or "-") for status in STATUSES]
            name = "" if place else catalogue.name
            rows.append((name, level, *numbers, str(len(counted))))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
