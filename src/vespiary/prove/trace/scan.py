"""Read a project's catalogues and sources, and say what does not fit together."""

import difflib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from vespiary.errors import ConfigurationError
from vespiary.prove.trace import files
from vespiary.prove.trace.catalogue import Catalogue, Erratum, Requirement, load
from vespiary.prove.trace.helpers import Helpers
from vespiary.prove.trace.marks import Found, Mark, Problem
from vespiary.prove.trace.python_names import project_names, words_of
from vespiary.prove.trace.rust_helpers import RustHelpers
from vespiary.prove.trace.scan_python import scan_python
from vespiary.prove.trace.scan_rust import scan_rust
from vespiary.prove.trace.settings import Settings

__all__ = ["SUSPECT", "Project", "scan", "scan_sources", "sentence_hashes"]

SUSPECT = (
    "its sentence has changed, or its number belonged to another one: check that its marks and"
    " claims fit it, then run vespiary trace extract with --accept"
)
"""What is to be done about a requirement that is suspect."""

_RUST_WORDS = re.compile(r"\b(?:requires|claims)!")
"""A source without these has nothing for us: most have not, and reading them takes seconds."""

_TRACED_ONLY = re.compile(
    r"""["'](?:VESPIARY_TRACE|vespiary_trace\.probes)["']"""
    r"""|\bcfg(?:_attr)?!?\s*\([^)\n]*\bfeature\s*=\s*"trace\""""
)
"""What only a traced run has: its environment variable, and by convention its feature in Rust."""


@dataclass(slots=True)
class Project:
    """A project's requirements, and what its sources say of them.

    Attributes:
        catalogues: In the order of their files.
        requirements: All of them, by identifier, in the order of the catalogues.
        marks: By identifier.
        claims: By identifier.
        sources: All marks and claims, of known and unknown identifiers.
        problems: What is wrong, errors first.
        files: How many sources were read.
        languages: Of the sources that the settings name: `rust`, `python`, or both.
    """

    catalogues: list[Catalogue] = field(default_factory=list)
    requirements: dict[str, Requirement] = field(default_factory=dict)
    marks: dict[str, list[Mark]] = field(default_factory=dict)
    claims: dict[str, list[Mark]] = field(default_factory=dict)
    sources: list[Mark] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    files: int = 0
    languages: tuple[str, ...] = ()

    def errata(self, identifier: str) -> list[Erratum]:
        """What is corrected in a requirement."""
        return [
            erratum
            for catalogue in self.catalogues
            for erratum in catalogue.errata
            if erratum.requirement == identifier
        ]

    @property
    def errors(self) -> list[Problem]:
        """The problems for which the tool fails."""
        return [problem for problem in self.problems if problem.error]


def scan(settings: Settings) -> Project:
    """Read everything that the settings name.

    Raises:
        ConfigurationError: A catalogue is wrong, or the patterns match no file.
    """
    project = Project()
    _read_catalogues(project, settings)
    found = scan_sources(settings)
    project.files = found.files
    named = (("rust", settings.rust), ("python", settings.python))
    project.languages = tuple(language for language, patterns in named if patterns)
    project.sources = found.marks
    project.problems += [*_idle_patterns(settings), *found.problems]
    for mark in found.marks:
        _take(project, mark)
    _tell_unmatched(project)
    _tell_marked_tests(project)
    project.problems.sort(key=lambda problem: not problem.error)
    return project


def scan_sources(settings: Settings) -> Found:
    """Read the sources only.

    Raises:
        ConfigurationError: The patterns match no file.
    """
    found = Found()

    def texts(patterns: Iterable[str]) -> dict[str, str]:
        return {
            path.relative_to(settings.root).as_posix(): files.source(path)
            for path in settings.files(patterns)
        }

    rust = texts(settings.rust)
    rust_helpers = RustHelpers(rust)
    for file, text in rust.items():
        is_marked = _RUST_WORDS.search(text)
        found.add(scan_rust(text, file, rust_helpers) if is_marked else Found())
    python = texts(settings.python)
    named = project_names(python)
    words, helpers = words_of(named), Helpers(settings.root)
    for file, text in python.items():
        is_marked = words.search(text)
        found.add(scan_python(text, file, named.get(file), helpers) if is_marked else Found())
    for file, text in (rust | python).items():
        found.problems += _only_traced(file, text)
    if not found.files:
        raise ConfigurationError(
            f"{settings.root / 'trace.toml'}: sources: no file matches: give patterns of sources"
            " and tests under rust or python"
        )
    return found


def _only_traced(file: str, text: str) -> list[Problem]:
    """Warn of code that may do something else in a traced run than in all others."""
    return [
        Problem(
            f"{file}:{text.count(chr(10), 0, found.start()) + 1}",
            f"{' '.join(found[0].split())} is there in a traced run only: what depends on it may do"
            " something else in all other runs, and is not proven for them",
            error=False,
        )
        for found in _TRACED_ONLY.finditer(text)
    ]


def sentence_hashes(settings: Settings, only: Collection[str] = ()) -> dict[str, str]:
    """By identifier: the hash that the catalogues have of a requirement's sentence.

    Raises:
        ConfigurationError: A catalogue is wrong.
    """
    return {
        requirement.id: requirement.hash
        for path in settings.files(settings.catalogues)
        for requirement in load(path).requirements
        if requirement.hash and (not only or requirement.id in only)
    }


def _read_catalogues(project: Project, settings: Settings) -> None:
    paths = settings.files(settings.catalogues)
    if not paths:
        raise ConfigurationError(
            f"{settings.root / 'trace.toml'}: catalogues: no file matches"
            f" {', '.join(settings.catalogues)}: make one with vespiary trace extract"
        )
    for path in paths:
        catalogue = load(path)
        project.catalogues.append(catalogue)
        for requirement in catalogue.requirements:
            twin = project.requirements.get(requirement.id)
            if twin:
                project.problems.append(
                    Problem(
                        f"{requirement.file}:{requirement.line}",
                        f"{requirement.id} is in {twin.file}:{twin.line} already: keep one of them",
                    )
                )
            project.requirements[requirement.id] = requirement


def _idle_patterns(settings: Settings) -> list[Problem]:
    """The patterns of sources that match nothing: a folder may have another name by now."""
    patterns = [("rust", one) for one in settings.rust] + [
        ("python", one) for one in settings.python
    ]
    return [
        Problem(
            str(settings.root / "trace.toml"),
            f"sources.{key}: no file matches {pattern!r}: correct the pattern, or remove it",
            error=False,
        )
        for key, pattern in patterns
        if not settings.matching(pattern)
    ]


def _take(project: Project, mark: Mark) -> None:
    """File a mark or claim under each of its identifiers; report the unknown and the moved."""
    what = "marks" if mark.kind == "mark" else "claims"
    moved = {r.moved_from: r.id for r in project.requirements.values() if r.moved_from}
    vanished = {identifier for catalogue in project.catalogues for identifier in catalogue.vanished}
    for identifier in dict.fromkeys(mark.ids):
        if identifier in moved:
            project.problems.append(
                Problem(
                    mark.place,
                    f"{identifier} is now {moved[identifier]}: run vespiary trace rename",
                )
            )
        elif identifier in vanished.intersection(moved.values()):
            words = (
                f"{what} {identifier}, which has vanished from its specification, and whose "
                "number now belongs to another requirement: remove it"
            )
            project.problems.append(Problem(mark.place, words))
        if identifier in project.requirements:
            table = project.marks if mark.kind == "mark" else project.claims
            table.setdefault(identifier, []).append(mark)
        elif identifier in vanished:
            words = f"{what} {identifier}, which has vanished from its specification: remove it"
            project.problems.append(Problem(mark.place, words))
        elif identifier not in moved:
            near = difflib.get_close_matches(identifier, project.requirements, n=1, cutoff=0)
            advice = f": did you mean {near[0]}?" if near else ""
            words = f"{what} {identifier}, which no catalogue has{advice}"
            project.problems.append(Problem(mark.place, words))


def _tell_unmatched(project: Project) -> None:
    """Marks without a claim, claims without a mark, marks of what is excluded, suspects."""
    for identifier, marks in project.marks.items():
        requirement = project.requirements[identifier]
        if requirement.excluded:
            words = f"{identifier} is marked here and excluded in {requirement.file}: choose one"
            project.problems.append(Problem(marks[0].place, words))
        elif identifier not in project.claims:
            words = f"{identifier} is marked, but no test claims it: write one, or let one claim it"
            project.problems.append(Problem(marks[0].place, words, error=False))
    for identifier, claims in project.claims.items():
        if identifier not in project.marks:
            words = f"{identifier} is claimed, but no source has a mark of it: mark the code"
            project.problems.append(Problem(claims[0].place, words))
    for requirement in project.requirements.values():
        place = f"{requirement.file}:{requirement.line}"
        if requirement.suspect:
            words = f"{requirement.id} is suspect: {SUSPECT}"
            project.problems.append(Problem(place, words, error=False))
        if requirement.same_as and requirement.same_as not in project.requirements:
            words = f"{requirement.id} is the same as {requirement.same_as}, which no catalogue has"
            project.problems.append(Problem(place, words))
        elif requirement.same_as and _leads_to_itself(requirement, project.requirements):
            words = f"{requirement.id} is the same as itself, by same_as: take one same_as out"
            project.problems.append(Problem(place, words))


def _leads_to_itself(requirement: Requirement, known: dict[str, Requirement]) -> bool:
    """Whether `same_as` comes back to where it began."""
    passed: set[str] = set()
    here: Requirement | None = requirement
    while here and here.same_as and here.id not in passed:
        passed.add(here.id)
        here = known.get(here.same_as)
        if here is requirement:
            return True
    return False


def _tell_marked_tests(project: Project) -> None:
    """Marks within the test that claims their requirement: it would fail without its own mark."""
    for identifier, marks in project.marks.items():
        for mark in marks:
            if any(_is_within(mark, claim) for claim in project.claims.get(identifier, [])):
                words = f"{identifier} is marked in a test that claims it: mark what it tests"
                project.problems.append(Problem(mark.place, words))


def _is_within(mark: Mark, claim: Mark) -> bool:
    """Whether a mark is in the function or class that claims, or in a test of its module."""
    if mark.file != claim.file or not mark.function or claim.macro or mark.macro:
        return False
    if not claim.function:
        return any(name.startswith("test") for name in mark.function.split("."))
    return f"{mark.function}.".startswith(f"{claim.function}.")
