"""Disable one mark after the other, and see which claiming test notices.

What is found while several tests run at once is believed only where a test fails. Before a mark is
said to have survived, its tests run again alone and in new processes; then together with each mark
that may hide it.

Some conditions do something when they are false, too: a filter rejects, a choice gives another
result (see `branches`). Such a mark is also forced: its condition is taken for true, and a claiming
test in which it was false must fail. What a function gives is replaced twice: by an object that
nobody expects, and by another one of the same type.
"""

import threading
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from vespiary._counted import counted
from vespiary.prove.trace.proving.bench import Bench, PythonTest, Seen
from vespiary.prove.trace.proving.masking import hidden, masking
from vespiary.prove.trace.proving.record import (
    ANY_OF_TYPE,
    ANY_RESULT,
    ASSERTION,
    COLLECTION,
    EXCEPTION,
    KILLED,
    MASKED,
    ONE_RESULT,
    SURVIVED,
    UNCLAIMED,
    UNFILTERED,
    UNREACHED,
    WEAK,
    Claim,
    Mark,
    Proof,
    Record,
)
from vespiary.prove.trace.proving.run import Collected, Ran, Runner
from vespiary.prove.trace.proving.trials import BETTER_MAX, Trials
from vespiary.trace import FORCED

__all__ = ["SECONDS_MIN", "prove"]

SECONDS_MIN = 5.0
"""The least time limit of a test while a mark is disabled; a slow test has more: see `trials`."""


def prove(
    runner: Runner,
    collected: Collected,
    only: Collection[str] = (),
    seconds: float = SECONDS_MIN,
) -> Record:
    """Prove every mark, or those of `only`, with the tests that were collected.

    A test that has not ended after `seconds`, or ten times what it took before, has failed.
    """
    return _Prover(runner, collected, only, seconds).run()


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A mark, and the tests that might notice its absence, the fast ones first."""

    mark: Mark
    id: str
    seen: Seen
    tests: tuple[Ran, ...]


@dataclass(frozen=True, slots=True)
class _Killer:
    """The test that noticed the absence of a mark, and perhaps of others."""

    test: Ran
    how: str
    together: tuple[Seen, ...] = ()


@dataclass(frozen=True, slots=True)
class _Claimed:
    """A function's claim of an identifier, and the marks that its tests make act.

    Attributes:
        kept_back: The marks of a filter or a choice that were false in its tests.
    """

    claimant: str
    id: str
    tests: tuple[Ran, ...]
    marks: tuple[Seen, ...]
    kept_back: tuple[Seen, ...]


_DENYING_MAX = 20
"""How many tests are tried for a failure while a mark is forced, the fastest ones first."""

_BOTH_WAYS = {"filter": UNFILTERED, "choice": ONE_RESULT}
"""The forms of marks whose condition does something when it is false, too; what is said of one if
no test fails while it is always true."""


def _strength(proof: Proof) -> int:
    hows = (UNFILTERED, ONE_RESULT, ANY_RESULT, ANY_OF_TYPE, *WEAK, EXCEPTION, ASSERTION)
    return 1 + hows.index(proof.how) if proof.verdict == KILLED else 0


def _strict(proofs: list[Proof]) -> list[Proof]:
    """One proof for each place and identifier: of several marks in a line, the worst."""
    worst: dict[tuple[str, str], Proof] = {}
    for proof in proofs:
        known = worst.get((proof.site, proof.id))
        if known is None or _strength(proof) < _strength(known):
            worst[proof.site, proof.id] = proof
    return sorted(worst.values(), key=lambda proof: (proof.site, proof.id))


class _Prover:
    def __init__(
        self, runner: Runner, collected: Collected, only: Collection[str], seconds: float
    ) -> None:
        self._trials = Trials(seconds)
        self._runner = runner
        self._collected = collected
        self._only = only
        self._lock = threading.Lock()
        self._record = collected.record()
        self._noticed: dict[tuple[str, str], set[str]] = defaultdict(set)
        """By claimant and identifier: the tests that have failed without a mark of it."""
        self._passed: dict[tuple[Seen, str], set[Ran]] = defaultdict(set)
        """By mark and identifier: the tests that have passed without the mark."""
        self._survived: set[tuple[Seen, str]] = set()
        """The marks and identifiers without which all their tests pass, in new processes too."""
        self._both_ways = {
            seen
            for mark in self._record.marks
            if mark.form in _BOTH_WAYS
            for seen in collected.seen.get((mark.site, mark.ids), ())
        }

    def run(self) -> Record:
        """Marks first, then the claims that no mark's proof has shown to tell."""
        passed = [ran for ran in self._collected.tests if ran.run.outcome == "passed"]
        claimed = {name for ran in self._collected.tests for name in ran.run.claims}
        candidates: list[_Candidate] = []
        unreached: list[tuple[Mark, str]] = []
        proofs: list[Proof] = []
        for mark in self._record.marks:
            for name in mark.ids:
                if self._only and name not in self._only:
                    continue
                found_here = self._candidates(mark, name, passed)
                candidates += found_here
                if not found_here and name in claimed:
                    unreached.append((mark, name))
                elif not found_here:
                    proofs.append(Proof(mark.site, name, UNCLAIMED))
                elif len(found_here) < self._collected.twins.get((mark.site, mark.ids), 1):
                    proofs.append(Proof(mark.site, name, UNREACHED))
        killers = self._killers(candidates)
        self._force(candidates, killers, passed)
        for mark, name in unreached:
            candidate = self._hidden(mark, name, passed)
            masked = candidate and self._masking(candidate)
            if candidate and masked:
                candidates.append(candidate)
                killers[candidate] = masked
            else:
                proofs.append(Proof(mark.site, name, UNREACHED))
        self._prove_claims(passed)
        proofs += [self._proof(candidate, killers.get(candidate)) for candidate in candidates]
        self._record.proofs = _strict(proofs)
        self._record.unstable = sorted(self._trials.unstable)
        return self._record

    def _killers(self, candidates: list[_Candidate]) -> dict[_Candidate, _Killer]:
        """What notices the absence of each mark: among others, alone, or with other marks."""
        count = len({candidate.seen for candidate in candidates})
        self._runner.say(f"disabling {counted(count, 'mark')}")
        killers: dict[_Candidate, _Killer] = {}

        def work(bench: Bench, candidate: _Candidate) -> None:
            killer = self._killer(bench, candidate)
            if killer:
                with self._lock:
                    killers[candidate] = killer

        self._runner.each(candidates, lambda item: _needs_pytest(item.tests[:1]), work)
        left = [candidate for candidate in candidates if candidate not in killers]
        if left:
            self._runner.say(f"trying {counted(len(left), 'mark')} again, alone")
        for candidate in left:
            killer = self._killer_alone(self._runner.benches[0], candidate)
            if killer:
                killers[candidate] = killer
        for candidate, found in killers.items():
            killers[candidate] = killer = self._of_results(candidate, found)
            if self._shows(candidate, killer):
                key = killer.test.test.claimant, candidate.id
                self._noticed[key].add(killer.test.test.id)
        return killers

    def _candidates(self, mark: Mark, name: str, passed: list[Ran]) -> list[_Candidate]:
        """The mark with the tests that may prove it; several if the line has several."""
        found = []
        for seen in self._collected.seen.get((mark.site, mark.ids), ()):
            tests = [ran for ran in passed if name in ran.run.claims and seen in ran.run.acted]
            tests.sort(key=lambda ran: ran.seconds)
            if tests:
                found.append(_Candidate(mark, name, seen, tuple(tests)))
        return found

    def _killer(self, bench: Bench, candidate: _Candidate) -> _Killer | None:
        """The first test that fails without the mark, or a better one soon after it."""
        marks = [candidate.seen]
        for place, ran in enumerate(candidate.tests):
            if how := self._trials.fails_without(bench, ran, marks):
                rest, form = candidate.tests[place + 1 :], candidate.mark.form
                return _Killer(*(self._trials.better(bench, rest, marks, how, form) or (ran, how)))
            with self._lock:
                self._passed[candidate.seen, candidate.id].add(ran)
        return None

    def _killer_alone(self, bench: Bench, candidate: _Candidate) -> _Killer | None:
        """The same in new processes, and then with what may hide the mark disabled, too."""
        found = self._trials.fails_from_the_start(bench, candidate.tests, [candidate.seen])
        if found:
            return _Killer(*found)
        self._survived.add((candidate.seen, candidate.id))
        return self._masking(candidate)

    def _of_results(self, candidate: _Candidate, killer: _Killer) -> _Killer:
        """A test that notices a wrong result of a function that is not None, if there is one."""
        if candidate.mark.form != "function" or killer.how != ASSERTION:
            return killer
        bench = self._runner.benches[0]
        marks = [candidate.seen, *killer.together]
        how = self._read(bench, killer.test, marks)
        if how == ASSERTION:
            return killer
        others = [ran for ran in candidate.tests if ran != killer.test]
        for ran in others[:BETTER_MAX]:
            is_like = self._trials.fails_without(bench, ran, marks) == ASSERTION
            if is_like and self._read(bench, ran, marks) == ASSERTION:
                return replace(killer, test=ran)
        return replace(killer, how=how)

    def _read(self, bench: Bench, ran: Ran, marks: Sequence[Seen]) -> str:
        """How much of a function's result a test looks at, by how it fails without it."""
        if not self._trials.needs_result(bench, ran, marks):
            return ANY_RESULT
        return ASSERTION if self._trials.needs_more_than_type(bench, ran, marks) else ANY_OF_TYPE

    def _force(
        self,
        candidates: Sequence[_Candidate],
        killers: dict[_Candidate, _Killer],
        passed: Sequence[Ran],
    ) -> None:
        """Note the marks of filters and choices that might as well be true in every test."""
        for candidate in candidates:
            killer, less = killers.get(candidate), _BOTH_WAYS.get(candidate.mark.form)
            if killer is None or less is None:
                continue
            tests = [ran for ran in passed if candidate.id in ran.run.claims]
            test = self._test_of_the_other_result(
                self._runner.benches[0],
                sorted(tests, key=lambda ran: ran.seconds),
                candidate.seen,
            )
            if test:
                self._noticed[test.test.claimant, candidate.id].add(test.test.id)
            else:
                killers[candidate] = replace(killer, how=less)

    def _test_of_the_other_result(
        self, bench: Bench, tests: Sequence[Ran], mark: Seen
    ) -> Ran | None:
        """A test in which a condition is false, and that fails while it is taken for true."""
        denying = [ran for ran in tests if mark in ran.run.denied][:_DENYING_MAX]
        for ran in denying:
            if self._trials.fails_without(bench, ran, [mark], FORCED):
                return ran
        found = self._trials.fails_from_the_start(bench, denying, [mark], FORCED)
        return found[0] if found and found[1] != COLLECTION else None

    def _masking(self, candidate: _Candidate) -> _Killer | None:
        """The test that notices the absence of the mark and of others, and the others."""
        bench = self._runner.benches[0]
        masked = masking(self._trials, bench, candidate.tests, candidate.seen)
        return _Killer(*masked) if masked else None

    def _hidden(self, mark: Mark, name: str, passed: list[Ran]) -> _Candidate | None:
        """A mark that would act in a claiming test if others did not act before it."""
        tests = [ran for ran in passed if name in ran.run.claims]
        tests.sort(key=lambda ran: ran.seconds)

        def is_wanted(seen: Seen) -> bool:
            return seen.ids == mark.ids and self._collected.take(seen) == mark.site

        found = hidden(self._trials, self._runner.benches[0], tests, is_wanted)
        return _Candidate(mark, name, found[1], (found[0],)) if found else None

    def _shows(self, candidate: _Candidate, killer: _Killer) -> bool:
        """Whether all that had to be disabled is of the requirement."""
        return all(candidate.id in mark.ids for mark in killer.together)

    def _proof(self, candidate: _Candidate, killer: _Killer | None) -> Proof:
        """The verdict on a mark; of the tests that passed, those whose functions never noticed."""
        survived = tuple(
            sorted(
                ran.test.id
                for ran in self._passed[candidate.seen, candidate.id]
                if not self._noticed[ran.test.claimant, candidate.id]
            )
        )
        site, name = candidate.mark.site, candidate.id
        if killer is None:
            return Proof(site, name, SURVIVED, (), survived)
        verdict = KILLED if self._shows(candidate, killer) else MASKED
        tests = (killer.test.test.id,) if verdict == KILLED else ()
        together = tuple(sorted({self._collected.site(mark) for mark in killer.together}))
        return Proof(site, name, verdict, tests, survived, killer.how, together)

    def _prove_claims(self, passed: list[Ran]) -> None:
        """Show that each function which claims something has a test that needs it."""
        groups: dict[tuple[str, str], list[Ran]] = defaultdict(list)
        for ran in passed:
            for name in ran.run.claims:
                if not self._only or name in self._only:
                    groups[ran.test.claimant, name].append(ran)
        open_claims: list[_Claimed] = []
        claims: list[Claim] = []
        for (claimant, name), group in groups.items():
            noticed = self._noticed[claimant, name]
            acted = {mark for ran in group for mark in ran.run.acted if name in mark.ids}
            denied = {mark for ran in group for mark in ran.run.denied if name in mark.ids}
            kept_back = denied & self._both_ways
            if noticed:
                claims.append(Claim(claimant, name, KILLED, tuple(sorted(noticed))))
            elif not acted and not kept_back:
                claims.append(Claim(claimant, name, UNREACHED))
            else:
                tests = tuple(sorted(group, key=lambda ran: ran.seconds))
                by_site = [tuple(sorted(marks, key=lambda mark: mark.site))
                           for marks in (acted, kept_back)]  # fmt: skip
                open_claims.append(_Claimed(claimant, name, tests, *by_site))
        if open_claims:
            self._runner.say(f"trying {counted(len(open_claims), 'more claim')}")
        found: dict[_Claimed, str] = {}

        def work(bench: Bench, claimed: _Claimed) -> None:
            test = self._test_of_claim(bench, claimed)
            with self._lock:
                found[claimed] = test

        self._runner.each(open_claims, lambda item: _needs_pytest(item.tests[:1]), work)
        for claimed in open_claims:
            test = found[claimed] or self._test_of_claim_alone(self._runner.benches[0], claimed)
            if test:
                self._noticed[claimed.claimant, claimed.id].add(test)
                claims.append(Claim(claimed.claimant, claimed.id, KILLED, (test,)))
            else:
                claims.append(Claim(claimed.claimant, claimed.id, SURVIVED))
        self._record.claims = sorted(claims, key=lambda claim: (claim.claimant, claim.id))

    def _test_of_claim(self, bench: Bench, claimed: _Claimed) -> str:
        """A test of the function that fails without a mark or without all; empty if none does."""
        for ran in claimed.tests:
            marks = [mark for mark in claimed.marks if mark in ran.run.acted]
            alone = [[mark] for mark in marks]
            for disabled in [*alone, self._all_marks(claimed.id)]:
                if len(disabled) == 1 and ran in self._passed[disabled[0], claimed.id]:
                    continue
                if self._trials.fails_without(bench, ran, disabled):
                    return ran.test.id
        return ""

    def _test_of_claim_alone(self, bench: Bench, claimed: _Claimed) -> str:
        """The same in new processes, but what the proof of the marks has tried already.

        Or one that fails while a mark is forced.
        """
        for mark in claimed.kept_back:
            if other := self._test_of_the_other_result(bench, claimed.tests, mark):
                return other.test.id
        alone = [[mark] for mark in claimed.marks if (mark, claimed.id) not in self._survived]
        every = self._all_marks(claimed.id)
        for disabled in [every, *alone] if len(every) > 1 else alone:
            found = self._trials.fails_from_the_start(bench, claimed.tests, disabled)
            if found:
                return found[0].test.id
        return ""

    def _all_marks(self, name: str) -> list[Seen]:
        """All marks of a requirement: what one of several does, another may do instead."""
        every = [mark for marks in self._collected.seen.values() for mark in marks]
        return [mark for mark in every if name in mark.ids]


def _needs_pytest(tests: Sequence[Ran]) -> bool:
    return any(isinstance(ran.test, PythonTest) for ran in tests)
