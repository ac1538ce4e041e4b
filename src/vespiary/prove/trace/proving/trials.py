"""Does a test fail without a mark, and because of that?

A failure may have other causes: a test that fails now and then, a process that an earlier run has
spoilt, a result that was computed before the mark was disabled and is kept. So a test must fail
without the mark and pass with it, in turns, three times each; quick tests take more turns. Their
order follows no period (it is the sequence of Thue and Morse), so that a test which fails every
second or third time does not keep step with it. If the turns disagree, each of them is repeated in
a process of its own. A test that fails there with the mark enabled is unstable and shows nothing.

Tests of Rust have a process of their own in any case. Those of Python share one until its memory
may matter: before a mark is said to have survived, its tests run in a process that has never seen
the mark enabled.
"""

import threading
import time
from collections.abc import Iterable, Sequence

from vespiary.prove.trace.proving.bench import Bench, PythonTest, Run, Seen
from vespiary.prove.trace.proving.record import COLLECTION, WEAK, is_only_reached
from vespiary.prove.trace.proving.run import Ran
from vespiary.trace import ANOTHER, DISABLED, REPLACED

__all__ = ["BETTER_MAX", "Trials"]

_SECONDS_FACTOR = 10.0
_TURNS = (False, True, True, False, True, False, False, True)
"""Whether the mark is enabled, turn by turn."""

_TURNS_MIN = 6
_TURNS_SECONDS = 1.0
"""After this time the first six turns are enough: with fewer, a test that fails every third time
could seem to depend on the mark."""

BETTER_MAX = 3
"""How many tests are tried for a better failure than a crash or a timeout."""


class Trials:
    """Runs tests with marks disabled; what it says of a failure was seen in several turns.

    Attributes:
        unstable: The tests that failed with all marks enabled.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self.unstable: set[str] = set()

    def fails_without(
        self, bench: Bench, ran: Ran, marks: Sequence[Seen], state: int = DISABLED
    ) -> str:
        """How a test fails while these marks are disabled; empty if it does not.

        Args:
            bench: Where to run it.
            ran: The test.
            marks: The marks.
            state: `FORCED` if their conditions are to be true instead.
        """
        began = time.monotonic()
        if ran.test.id in self.unstable:
            return ""
        first = self.without(bench, ran, marks, state)
        if not first.failed:
            return ""
        how = first.how
        for turn, enabled in enumerate(_TURNS[1:], 1):
            if turn >= _TURNS_MIN and time.monotonic() - began > _TURNS_SECONDS:
                break
            if enabled and not self.passes(bench, ran):
                return self._fails_afresh(bench, ran, marks, _TURNS, state)
            if not enabled:
                run = self.without(bench, ran, marks, state)
                if not run.failed:
                    return self._fails_afresh(bench, ran, marks, _TURNS, state)
                how = run.how if how == COLLECTION else how
        return how

    def fails_from_the_start(
        self, bench: Bench, rans: Iterable[Ran], marks: Sequence[Seen], state: int = DISABLED
    ) -> tuple[Ran, str] | None:
        """The first test that fails in a process in which the marks were disabled from the start.

        The arguments are those of `fails_without`.

        Returns:
            The test, and how it fails; None if all pass.
        """
        stable = [ran for ran in rans if ran.test.id not in self.unstable]
        tests = [ran.test for ran in stable if isinstance(ran.test, PythonTest)]
        python = [ran for ran in stable if ran.test in tests]
        if tests:
            bench.renew(*tests)
        failing = [ran for ran in python if self.without(bench, ran, marks, state).failed]
        if tests:
            bench.renew()
        uncollected: tuple[Ran, str] | None = None
        for ran in failing:
            if how := self._fails_afresh(bench, ran, marks, _TURNS[:_TURNS_MIN], state):
                if how != COLLECTION:
                    return ran, how
                uncollected = uncollected or (ran, how)
        for ran in stable:
            # Nothing else runs now: the first time, something may have got in its way.
            if ran not in python and (how := self.fails_without(bench, ran, marks, state)):
                return ran, how
        return uncollected

    def better(
        self, bench: Bench, rans: Sequence[Ran], marks: Sequence[Seen], how: str, form: str
    ) -> tuple[Ran, str] | None:
        """Another test that says more than this failure does; None if none is found.

        Args:
            bench: Where to run them.
            rans: The other tests.
            marks: What is disabled.
            how: How a test has failed.
            form: Of the mark.
        """

        def is_weak(how: str) -> bool:
            return how in WEAK or (form == "function" and is_only_reached(form, how))

        if not is_weak(how):
            return None
        for ran in rans[:BETTER_MAX]:
            other = self.fails_without(bench, ran, marks)
            if other and not is_weak(other):
                return ran, other
        return None

    def needs_result(self, bench: Bench, ran: Ran, marks: Iterable[Seen]) -> bool:
        """Whether a test fails, too, where functions give a wrong result that is not None.

        Their results may be cached: a new process has none yet.
        """
        with bench.disabled(marks, REPLACED):
            if bench.run(ran.test, self._patience(ran)).failed:
                return True
            needed = bench.run(ran.test, self._patience(ran), afresh=True).failed
        bench.renew()
        return needed

    def needs_more_than_type(self, bench: Bench, ran: Ran, marks: Sequence[Seen]) -> bool:
        """Whether a test fails, too, where functions give another result of their own type.

        The type may be known only in a process in which the function has been called. A result that
        was cached there shows nothing.
        """
        self.passes(bench, ran)
        with bench.disabled(marks, ANOTHER):
            run = bench.run(ran.test, self._patience(ran))
        return run.failed or set(marks).isdisjoint(run.reached)

    def without(
        self,
        bench: Bench,
        ran: Ran,
        marks: Iterable[Seen],
        state: int = DISABLED,
        *,
        afresh: bool = False,
    ) -> Run:
        """Run a test once with marks disabled, or forced."""
        with bench.disabled(marks, state):
            return bench.run(ran.test, self._patience(ran), afresh=afresh)

    def passes(self, bench: Bench, ran: Ran, *, afresh: bool = False) -> bool:
        """Whether a test passes with all marks enabled."""
        return bench.run(ran.test, self._patience(ran), afresh=afresh).outcome == "passed"

    def _fails_afresh(
        self, bench: Bench, ran: Ran, marks: Sequence[Seen], turns: Sequence[bool], state: int
    ) -> str:
        """How a test fails without marks, each time in a new process, in turns with them."""
        hows: list[str] = []
        try:
            for enabled in turns:
                if enabled:
                    stable = self.passes(bench, ran, afresh=True)
                else:
                    hows.append(self.without(bench, ran, marks, state, afresh=True).how)
                    stable = all(hows) or not any(hows)
                if not stable:
                    with self._lock:
                        self.unstable.add(ran.test.id)
                    return ""
        finally:
            bench.renew()
        return hows[0]

    def _patience(self, ran: Ran) -> float:
        return max(self._seconds, _SECONDS_FACTOR * ran.seconds)
