"""Collect what the claiming tests reach, and prove each mark by disabling it.

First every test that claims something runs once with all marks enabled: it must pass, and the run
shows which marks it executes and which of them act. Then each mark is disabled on its own, and the
tests that claim one of its requirements and make it act run again, fast ones first, until one
fails. A disabled condition is false; a disabled statement, which has no condition, fails when it is
reached. A failure counts only if the same test passes again at once with the mark enabled: a test
that fails now and then proves nothing. A test that does not end in time without the mark has
failed, too; the same rule distinguishes that from a machine that is too slow.

At the end stand the claims. Each function that claims a requirement must have a test that fails
without one of its marks, or at least without all of them. So a claim that happens to stand beside
one that tells is found as well as a mark that nobody needs.
"""

import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self, TypeVar

from vespiary._counted import counted
from vespiary.prove.trace.proving.bench import Bench, PythonTest, Run, Seen
from vespiary.prove.trace.proving.cargo import RustTest, binaries, claiming_tests, workspace
from vespiary.prove.trace.proving.record import Mark, Record, Test
from vespiary.prove.trace.scan import scan_sources
from vespiary.prove.trace.settings import Settings

__all__ = ["Collected", "Ran", "Runner", "collect"]

AnyTest = RustTest | PythonTest
Say = Callable[[str], None]
_Job = TypeVar("_Job")

COLLECT_SECONDS = 90.0
"""A test with all marks enabled has this long."""

_JOIN_SECONDS = 10.0
_SITE = re.compile(r"(.*?):(\d+)(?::\d+)?")


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
            identifiers may stand in one line.
        silent: Functions of Rust in which a claim stands, and whose tests did not come to it.
    """

    marks: list[Mark] = field(default_factory=list)
    tests: list[Ran] = field(default_factory=list)
    seen: dict[tuple[str, tuple[str, ...]], set[Seen]] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)

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
            )
            for ran in sorted(self.tests, key=lambda ran: ran.test.id)
        ]
        return Record(marks=self.marks, tests=tests, silent=self.silent)


class Runner:
    """Benches that work at once; each takes the next job that suits it.

    A bench that has a pytest process prefers what needs one, the others prefer what does not.
    """

    def __init__(self, settings: Settings, jobs: int, say: Say) -> None:
        self.settings = settings = replace(settings, root=settings.root.resolve())
        self.say = say
        self._folder = Path(tempfile.mkdtemp(prefix="vespiary-trace-"))
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


def collect(runner: Runner, only: str = "") -> Collected:
    """Run every test that claims something, or that claims `only`, with all marks enabled.

    Raises:
        ConfigurationError: the tracing build fails, or pytest cannot collect.
    """
    settings = runner.settings
    collected = Collected(marks=_marks(settings, only))
    base = settings.root
    tests: list[AnyTest] = []
    if settings.cargo:
        runner.say("building the Rust tests")
        base = workspace(settings.root)
        for binary in binaries(settings.root, settings.cargo):
            tests += claiming_tests(binary, only)
    if settings.pytest:
        runner.say("collecting the Python tests")
        claims = runner.benches[0].session().claims
        tests += [PythonTest(name, ids) for name, ids in claims.items() if not only or only in ids]
    runner.say(f"running {counted(len(tests), 'test that claims', 'tests that claim')} something")
    lock = threading.Lock()

    claimants = {test.claimant for test in tests}

    def work(bench: Bench, test: AnyTest) -> None:
        run = bench.run(test, COLLECT_SECONDS)
        with lock:
            if run.claims:
                claimants.discard(test.claimant)
            if run.claims and (not only or only in run.claims):
                collected.tests.append(Ran(test, run))
                for mark in run.reached:
                    _take(collected, mark, base, settings.root, only)

    runner.each(tests, lambda test: isinstance(test, PythonTest), work)
    collected.silent = sorted(claimants)
    return collected


def _marks(settings: Settings, only: str) -> list[Mark]:
    marks = [
        Mark(mark.place, mark.ids, mark.file, mark.line, mark.form)
        for mark in scan_sources(settings).marks
        if mark.kind == "mark" and (not only or only in mark.ids)
    ]
    return list(dict.fromkeys(marks))


def _take(collected: Collected, seen: Seen, base: Path, root: Path, only: str) -> None:
    """Tie a mark that a process has told to the mark of the sources, or add it."""
    match = _SITE.fullmatch(seen.site)
    file, line = (match[1], match[2]) if match else (seen.site, "0")
    path = (base / file).resolve()
    place = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
    site = f"{place}:{line}"
    collected.seen.setdefault((site, seen.ids), set()).add(seen)
    known = any((mark.site, mark.ids) == (site, seen.ids) for mark in collected.marks)
    if not known and (not only or only in seen.ids):
        collected.marks.append(Mark(site, seen.ids, place, int(line)))
