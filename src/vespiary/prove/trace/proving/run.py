"""Collect what the claiming tests reach, and prove each mark by disabling it.

First every test that claims something runs once with all marks enabled: it must pass, and the run
shows which marks it executes and which of them act. Then each mark is disabled on its own, and the
tests that claim one of its requirements and make it act run again, fast ones first, until one
fails. A disabled condition is false; a disabled statement, which has no condition, fails when it is
reached. `trials` says which failures count. A test that does not end in time without the mark has
failed, too; that it passes with the mark distinguishes that from a machine that is too slow.

Tests that run at once, or one after the other in one process, may get in each other's way. So one
that does not pass, or does not reach what it claims, runs once more alone in a new process.

Finally it judges the claims. Each function that claims a requirement must have a test that fails
without one of its marks, or at least without all of them. So a claim that shows nothing is found,
even next to one that does, and a mark that no test needs.
"""

import difflib
import re
import secrets
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self, TypeVar

from vespiary._counted import counted
from vespiary.errors import ConfigurationError
from vespiary.prove.trace.evidence import sources_of
from vespiary.prove.trace.marks import Mark as SourceMark
from vespiary.prove.trace.proving.bench import Bench, PythonTest, Run, Seen
from vespiary.prove.trace.proving.cargo import RustTest, claiming_tests, workspace
from vespiary.prove.trace.proving.copies import copies_elsewhere
from vespiary.prove.trace.proving.edits import Edits
from vespiary.prove.trace.proving.record import Mark, Record, Source, Test
from vespiary.prove.trace.proving.watcher import watch
from vespiary.prove.trace.scan import scan_sources, sentence_hashes
from vespiary.prove.trace.seen import form_at, sources_seen
from vespiary.prove.trace.settings import Settings
from vespiary.trace import VARIABLE

__all__ = ["Collected", "Ran", "Runner", "collect"]

AnyTest = RustTest | PythonTest
Say = Callable[[str], None]
_Job = TypeVar("_Job")

COLLECT_SECONDS = 90.0
"""The time limit of a test with all marks enabled."""

JOBS_MAX = 1000
"""How many tests can run at the same time: each has a thread, a process and a shared file."""

_JOIN_SECONDS = 10.0
_SITE = re.compile(r"(.*?):(\d+)(?::\d+)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Ran:
    """A test, and what its first run has shown."""

    test: AnyTest
    run: Run

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.run.seconds


@dataclass(slots=True)
class Collected:
    """All marks of the sources, and all claiming tests with what they reach.

    Attributes:
        marks: Of the sources; what a run has told besides is added to them.
        tests: Those that claim something.
        seen: How the processes call a mark, by its site and identifiers: two marks with the same
            identifiers may be in one line.
        twins: How many marks of the same identifiers are in a line, if there are several.
        silent: Functions of Rust in which a claim stands, and whose tests did not come to it.
        sources: The functions around marks and claims.
        sentences: By identifier: the hash of the requirement's sentence.
        warnings: What cannot be run, each a sentence.
        base: What the compiler's paths are relative to.
        root: The project's folder.
        only: The identifiers that are asked for; all if empty.
        links: By a file's real path: what the sources call it, where a link leads to it.
    """

    marks: list[Mark] = field(default_factory=list)
    tests: list[Ran] = field(default_factory=list)
    seen: dict[tuple[str, tuple[str, ...]], set[Seen]] = field(default_factory=dict)
    twins: dict[tuple[str, tuple[str, ...]], int] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    sentences: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    base: Path = Path()
    root: Path = Path()
    only: Collection[str] = ()
    links: dict[str, str] = field(default_factory=dict)

    def take(self, seen: Seen) -> str:
        """Tie a mark that a process has told to the mark of the sources, or add it; its site.

        Within a macro's definition a mark has one place, and in the program that of each call.
        """
        match = _SITE.fullmatch(seen.site)
        file, line = (match[1], match[2]) if match else (seen.site, "0")
        path = (self.base / file).resolve()
        root = self.root
        place = self.links.get(str(path)) or _within(root, str(path))
        site = f"{place}:{line}"
        same = [mark for mark in self.marks if mark.ids == seen.ids]
        known = any(mark.site == site for mark in same)
        within = [mark.site for mark in same if mark.macro and not known]
        for one in within or [site]:
            self.seen.setdefault((one, seen.ids), set()).add(seen)
        if not known and not within and _concerns(seen.ids, self.only):
            form = form_at(path, int(line), seen.ids)
            self.marks.append(Mark(site, seen.ids, place, int(line), form))
        return (within or [site])[0]

    def site(self, seen: Seen) -> str:
        """Where the mark stands that the processes call so."""
        return next(site for (site, _), marks in self.seen.items() if seen in marks)

    def record(self) -> Record:
        """The same as it is written."""
        back = {told: site for (site, _), marks in self.seen.items() for told in marks}

        def sites(marks: Iterable[Seen]) -> tuple[str, ...]:
            return tuple(sorted({back[mark] for mark in marks}))

        tests = [
            Test(
                id=ran.test.id,
                kind="rust" if isinstance(ran.test, RustTest) else "pytest",
                claims=ran.run.claims,
                reached=sites(ran.run.reached),
                acted=sites(ran.run.acted),
                outcome=ran.run.outcome,
                seconds=round(ran.seconds, 3),
                claimant=ran.test.claimant,
                words=ran.run.words,
            )
            for ran in sorted(self.tests, key=lambda ran: ran.test.id)
        ]
        acted = {mark for ran in self.tests for mark in ran.run.acted}
        denied = {mark for ran in self.tests for mark in ran.run.denied}
        forms = ("condition", "choice", "filter")
        conditions = {mark.site for mark in self.marks if mark.form in forms}
        return Record(
            marks=self.marks,
            tests=tests,
            sources=self.sources,
            sentences=self.sentences,
            silent=self.silent,
            constant=sorted(conditions & set(sites(acted - denied)) - set(sites(denied))),
            warnings=self.warnings,
        )


class Runner:
    """Benches that work at once; each takes the next job that suits it.

    A bench that has a pytest process prefers what needs one, the others prefer what does not.

    Raises:
        ConfigurationError: `jobs` is more than `JOBS_MAX`. Nothing has been started.
    """

    def __init__(self, settings: Settings, jobs: int, say: Say) -> None:
        if jobs > JOBS_MAX:
            raise ConfigurationError(f"--jobs {jobs}: must be at most {JOBS_MAX}")
        self.settings = settings = replace(settings, root=settings.root.resolve())
        self.say = say
        self.edits = Edits.begin(settings)
        self._folder = Path(tempfile.gettempdir(), f"vespiary-trace-{secrets.token_hex(8)}")
        # The watcher comes first: a run that is killed as soon as the folder exists leaves nothing.
        self._watcher = watch(VARIABLE, self._folder)
        self._folder.mkdir(mode=0o700)
        paths = [self._folder / f"table-{number}" for number in range(jobs)]
        self.benches = [Bench(settings, path) for path in paths]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        """Nothing is to be done."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End every process and remove the shared files."""
        for bench in self.benches:
            bench.close()
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._watcher.communicate()

    def each(
        self,
        jobs: Sequence[_Job],
        needs_pytest: Callable[[_Job], bool],
        work: Callable[[Bench, _Job], None],
    ) -> None:
        """Do all jobs; the first error of one ends all, and is raised here."""
        python = [job for job in reversed(jobs) if needs_pytest(job)]
        others = [job for job in reversed(jobs) if not needs_pytest(job)]
        lock = threading.Lock()
        errors: list[BaseException] = []

        def labour(bench: Bench, queues: tuple[list[_Job], list[_Job]]) -> None:
            while True:
                with lock:
                    queue = next((queue for queue in queues if queue), None)
                    if queue is None or errors:
                        return
                    job = queue.pop()
                try:
                    work(bench, job)
                except BaseException as error:
                    errors.append(error)

        self._threads = [
            threading.Thread(
                target=labour,
                args=(bench, (others, python) if number else (python, others)),
                daemon=True,
            )
            for number, bench in enumerate(self.benches)
        ]
        for thread in self._threads:
            thread.start()
        try:
            for thread in self._threads:
                thread.join()
        except BaseException as error:
            errors.append(error)
            raise
        if errors:
            raise errors[0]


def collect(runner: Runner, only: Collection[str] = ()) -> Collected:
    """Run every test that claims something, or one of `only`, with all marks enabled.

    Raises:
        ConfigurationError: no tests are configured, the tracing build fails, pytest cannot collect,
            a catalogue is wrong, or `only` has an identifier that nothing marks or claims.
    """
    settings = runner.settings
    sources = scan_sources(settings).marks
    _refuse_idle(settings)
    _refuse_unknown(only, sources)
    collected = Collected(
        marks=_marks(sources, only),
        twins=_twins(sources),
        sources=[one for one in sources_of(sources) if _concerns([one.id], only)],
        sentences=sentence_hashes(settings, only),
        base=settings.root,
        root=settings.root,
        only=only,
        links=_links(settings),
    )
    tests: list[AnyTest] = []
    if settings.cargo:
        runner.say("building the Rust tests")
        collected.base = workspace(settings.root)
        found = claiming_tests(settings, only)
        runner.edits.build()
        tests += found.tests
        collected.warnings += found.warnings
    if settings.pytest:
        runner.say("collecting the Python tests")
        session = runner.benches[0].session()
        tests += [
            PythonTest(name, ids, collected.links.get(file) or _within(settings.root, file), line)
            for name, ids in session.claims.items()
            for file, line in [session.places[name]]
            if _concerns(ids, only)
        ]
    for bench in runner.benches:
        bench.limit(test for test in tests if isinstance(test, PythonTest))
    runner.say(f"running {counted(len(tests), 'test that claims', 'tests that claim')} something")
    lock = threading.Lock()
    claimants = {test.claimant for test in tests if not isinstance(test, RustTest) or test.certain}

    def work(bench: Bench, test: AnyTest) -> None:
        run = bench.run(test, COLLECT_SECONDS)
        with lock:
            if run.claims:
                claimants.discard(test.claimant)
            if run.claims and _concerns(run.claims, only):
                collected.tests.append(Ran(test, run))

    runner.each(tests, lambda test: isinstance(test, PythonTest), work)
    copies: dict[Path, str] = {}
    if settings.pytest:
        asked = [mark for mark in sources if _concerns(mark.ids, only)]
        runs = [ran.run for ran in collected.tests]
        copies = copies_elsewhere(runner.benches[0], settings.root, asked, runs)
        collected.warnings += copies.values()
    _run_again(runner.benches[0], collected, only)
    for ran in collected.tests:
        for mark in ran.run.reached:
            collected.take(mark)
    collected.sources += _seen(collected, sources_of(sources))
    collected.silent = sorted(claimants)
    collected.warnings += _unread(settings, collected.marks, copies)
    collected.warnings += _not_run(settings, sources, only)
    collected.warnings += _not_collected(settings, sources, tests, only)
    return collected


def _refuse_idle(settings: Settings) -> None:
    """Refuse to run no test at all.

    Raises:
        ConfigurationError: With what to write.
    """
    if settings.cargo or settings.pytest:
        return
    lines = []
    if settings.python:
        lines.append('pytest = ["tests"] (the files or folders of the tests)')
    if settings.rust:
        lines.append('cargo = ["--features=trace"] (the arguments of cargo test)')
    raise ConfigurationError(
        f"{settings.root / 'trace.toml'}: run: it names no tests, so nothing can be proven: write"
        f" {' or '.join(lines)} below [run]"
    )


def _not_run(settings: Settings, sources: Iterable[SourceMark], only: Collection[str]) -> list[str]:
    """A sentence on the claims of each language whose tests the settings do not run."""
    outside = {path for pattern in settings.outside_tests for path in settings.matching(pattern)}
    told = []
    for language, run, key, example in (
        ("rust", settings.cargo, "cargo", '["--features=trace"]'),
        ("python", settings.pytest, "pytest", '["tests"]'),
    ):
        count = sum(
            mark.kind == "claim" and mark.language == language
            and _concerns(mark.ids, only) and settings.root / mark.file not in outside
            for mark in sources
        )  # fmt: skip
        if count and not run:
            told.append(
                f"trace.toml: {counted(count, 'claim')} in {language.capitalize()} did not run,"
                f" because [run] has no {key}: add a line such as {key} = {example}"
            )
    return told


def _not_collected(
    settings: Settings,
    sources: Iterable[SourceMark],
    tests: Iterable[AnyTest],
    only: Collection[str],
) -> list[str]:
    """A sentence for each file with claims whose tests pytest does not collect."""
    if not settings.pytest:
        return []
    python = [test for test in tests if isinstance(test, PythonTest)]
    places = {
        (name, file)
        for test in python
        for name in test.claims
        for file in (test.file, test.id.partition("::")[0])
    }
    anywhere = {name for name, _ in places}
    outside = {path for pattern in settings.outside_tests for path in settings.matching(pattern)}
    lost: dict[str, int] = {}
    for mark in sources:
        if (
            mark.kind != "claim"
            or mark.language != "python"
            or Path(mark.file).name == "conftest.py"
        ):
            continue
        names = [name for name in mark.ids if _concerns([name], only)]
        found = [
            (name, mark.file) in places or (not mark.function and name in anywhere)
            for name in names
        ]
        if names and not any(found) and settings.root / mark.file not in outside:
            lost[mark.file] = lost.get(mark.file, 0) + 1
    return [
        f"{file}: {counted(count, 'claim')} did not run, because pytest does not collect"
        f" {'its test' if count == 1 else 'their tests'}: check that run.pytest in trace.toml has"
        " the file, and that the function is a test"
        for file, count in sorted(lost.items())
    ]


def _seen(collected: Collected, scanned: list[Source]) -> list[Source]:
    """The functions of marks and claims that the scan has not found."""
    claims = [
        (name, ran.test.file, ran.test.line)
        for ran in collected.tests
        if isinstance(ran.test, PythonTest)
        for name in ran.run.claims
    ]
    seen = sources_seen(collected.root, collected.marks, claims, scanned)
    return [one for one in seen if _concerns([one.id], collected.only)]


def _links(settings: Settings) -> dict[str, str]:
    """What the sources call the files to which links lead, by their real path."""
    root = settings.root
    named = settings.files((*settings.rust, *settings.python))
    real = {path.relative_to(root).as_posix(): path.resolve() for path in named}
    return {str(path): name for name, path in real.items() if path != root / name}


def _within(root: Path, file: str) -> str:
    path = Path(file).resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _unread(settings: Settings, marks: Iterable[Mark], copies: Container[Path]) -> list[str]:
    """A sentence for each file of the project whose marks ran, and which no pattern names."""
    root = settings.root
    named = set(settings.files((*settings.rust, *settings.python)))
    named |= {path for pattern in settings.exclude for path in settings.matching(pattern)}
    files = {root / mark.file for mark in marks if not Path(mark.file).is_absolute()}
    return [
        f"{path.relative_to(root)}: it has marks, and no pattern of [sources] in trace.toml matches"
        " it: add one"
        for path in sorted(files - named)
        if path.is_file() and path not in copies
    ]


def _refuse_unknown(only: Collection[str], sources: Iterable[SourceMark]) -> None:
    known = {name for mark in sources for name in mark.ids}
    for name in only:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0)
            advice = f"did you mean {near[0]}?" if near else "there are no marks and no claims"
            raise ConfigurationError(
                f"--only {name}: no mark and no test has this identifier: {advice}"
            )


def _run_again(bench: Bench, collected: Collected, only: Collection[str]) -> None:
    """Run tests alone, in new processes, that did not pass or did not reach what they claim."""
    acting: dict[tuple[str, str], bool] = {}
    for ran in collected.tests:
        acted = {name for mark in ran.run.acted for name in mark.ids}
        for name in ran.run.claims:
            key = ran.test.claimant, name
            acting[key] = acting.get(key, False) or name in acted
    for place, ran in enumerate(collected.tests):
        names = [name for name in ran.run.claims if not only or name in only]
        idle = any(not acting[ran.test.claimant, name] for name in names)
        if ran.run.failed or (idle and isinstance(ran.test, PythonTest)):
            run = bench.run(ran.test, COLLECT_SECONDS, afresh=True)
            collected.tests[place] = Ran(ran.test, run)
            bench.renew()


def _marks(sources: Iterable[SourceMark], only: Collection[str]) -> list[Mark]:
    marks = [
        Mark(mark.place, mark.ids, mark.file, mark.line, mark.form, mark.macro)
        for mark in sources
        if mark.kind == "mark" and _concerns(mark.ids, only)
    ]
    return list(dict.fromkeys(marks))


def _twins(sources: Iterable[SourceMark]) -> dict[tuple[str, tuple[str, ...]], int]:
    """The lines with several marks of the same identifiers; those of a macro stand elsewhere."""
    marks = (mark for mark in sources if mark.kind == "mark" and not mark.macro)
    counts = Counter((mark.place, mark.ids) for mark in marks)
    return {mark: count for mark, count in counts.items() if count > 1}


def _concerns(ids: Iterable[str], only: Collection[str]) -> bool:
    """Whether one of the identifiers is asked for."""
    return not only or not set(only).isdisjoint(ids)
