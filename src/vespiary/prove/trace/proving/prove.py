"""Disable one mark after the other, and see which claiming test notices."""

import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from vespiary._counted import counted
from vespiary.prove.trace.proving.bench import Bench, PythonTest, Seen
from vespiary.prove.trace.proving.record import (
    KILLED,
    SURVIVED,
    UNCLAIMED,
    UNREACHED,
    Claim,
    Mark,
    Proof,
    Record,
)
from vespiary.prove.trace.proving.run import Collected, Ran, Runner

__all__ = ["SECONDS_MIN", "prove"]

SECONDS_MIN = 5.0
"""What a test with a mark disabled has at least; else so many times what it took before."""

_SECONDS_FACTOR = 10.0


def prove(
    runner: Runner, collected: Collected, only: str = "", seconds: float = SECONDS_MIN
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
class _Claimed:
    """A function's claim of an identifier, and the marks that its tests make act."""

    claimant: str
    id: str
    tests: tuple[Ran, ...]
    marks: tuple[Seen, ...]


def _strict(proofs: list[Proof]) -> list[Proof]:
    """One proof for each place and identifier: of several marks in a line, the worst."""
    worst: dict[tuple[str, str], Proof] = {}
    for proof in proofs:
        known = worst.get((proof.site, proof.id))
        if known is None or known.verdict == KILLED:
            worst[proof.site, proof.id] = proof
    return sorted(worst.values(), key=lambda proof: (proof.site, proof.id))


class _Prover:
    def __init__(self, runner: Runner, collected: Collected, only: str, seconds: float) -> None:
        self._seconds = seconds
        self._runner = runner
        self._collected = collected
        self._only = only
        self._lock = threading.Lock()
        self._record = collected.record()
        self._noticed: dict[tuple[str, str], set[str]] = defaultdict(set)
        """By claimant and identifier: the tests that have failed without a mark of it."""
        self._passed: dict[tuple[Seen, str], set[Ran]] = defaultdict(set)
        """By mark and identifier: the tests that have passed without the mark."""
        self._unstable: set[str] = set()

    def run(self) -> Record:
        """Marks first, then the claims that no mark's proof has shown to tell."""
        passed = [ran for ran in self._collected.tests if ran.run.outcome == "passed"]
        claimed = {name for ran in self._collected.tests for name in ran.run.claims}
        candidates: list[_Candidate] = []
        proofs: list[Proof] = []
        for mark in self._record.marks:
            for name in mark.ids:
                if self._only and name != self._only:
                    continue
                found_here = self._candidates(mark, name, passed)
                candidates += found_here
                if not found_here:
                    verdict = UNREACHED if name in claimed else UNCLAIMED
                    proofs.append(Proof(mark.site, name, verdict))
        self._runner.say(f"disabling {counted(len({item.seen for item in candidates}), 'mark')}")
        found: list[tuple[_Candidate, str]] = []

        def work(bench: Bench, candidate: _Candidate) -> None:
            killer = self._killer(bench, candidate)
            with self._lock:
                found.append((candidate, killer))

        self._runner.each(candidates, lambda item: _needs_pytest(item.tests[:1]), work)
        self._prove_claims(passed)
        proofs += [self._proof(candidate, killer) for candidate, killer in found]
        self._record.proofs = _strict(proofs)
        self._record.unstable = sorted(self._unstable)
        return self._record

    def _candidates(self, mark: Mark, name: str, passed: list[Ran]) -> list[_Candidate]:
        """The mark with the tests that may prove it; several if the line has several."""
        found = []
        for seen in self._collected.seen.get((mark.site, mark.ids), ()):
            tests = [ran for ran in passed if name in ran.run.claims and seen in ran.run.acted]
            tests.sort(key=lambda ran: ran.seconds)
            if tests:
                found.append(_Candidate(mark, name, seen, tuple(tests)))
        return found

    def _killer(self, bench: Bench, candidate: _Candidate) -> str:
        """The first test that fails without the mark; empty if there is none."""
        for ran in candidate.tests:
            if self._fails_without(bench, ran, [candidate.seen]):
                with self._lock:
                    self._noticed[ran.test.claimant, candidate.id].add(ran.test.id)
                return ran.test.id
            with self._lock:
                self._passed[candidate.seen, candidate.id].add(ran)
        return ""

    def _proof(self, candidate: _Candidate, killer: str) -> Proof:
        """The verdict on a mark; of the tests that passed, those whose functions never noticed."""
        survived = tuple(
            sorted(
                ran.test.id
                for ran in self._passed[candidate.seen, candidate.id]
                if not self._noticed[ran.test.claimant, candidate.id]
            )
        )
        site, name = candidate.mark.site, candidate.id
        if killer:
            return Proof(site, name, KILLED, (killer,), survived)
        return Proof(site, name, SURVIVED, (), survived)

    def _fails_without(self, bench: Bench, ran: Ran, marks: Sequence[Seen]) -> bool:
        """Whether a test fails without these marks, and passes with them."""
        seconds = max(self._seconds, _SECONDS_FACTOR * ran.seconds)

        def passes() -> bool:
            return bench.run(ran.test, seconds).outcome == "passed"

        def fails_disabled() -> bool:
            with bench.disabled(marks):
                return bench.run(ran.test, seconds).outcome not in {"passed", "skipped"}

        if not fails_disabled():
            return False
        if passes():
            return True
        # Something else has failed the test, or it breaks its own process when it fails. So once
        # more in a process that is new, with another new one after it.
        bench.renew()
        if passes():
            if not fails_disabled():
                return False
            bench.renew()
            if passes():
                return True
        with self._lock:
            self._unstable.add(ran.test.id)
        return False

    def _prove_claims(self, passed: list[Ran]) -> None:
        """Show that each function which claims something has a test that needs it."""
        groups: dict[tuple[str, str], list[Ran]] = defaultdict(list)
        for ran in passed:
            for name in ran.run.claims:
                if not self._only or name == self._only:
                    groups[ran.test.claimant, name].append(ran)
        open_claims: list[_Claimed] = []
        claims: list[Claim] = []
        for (claimant, name), group in groups.items():
            noticed = self._noticed[claimant, name]
            acted = {mark for ran in group for mark in ran.run.acted if name in mark.ids}
            if noticed:
                claims.append(Claim(claimant, name, KILLED, tuple(sorted(noticed))))
            elif not acted:
                claims.append(Claim(claimant, name, UNREACHED))
            else:
                tests = tuple(sorted(group, key=lambda ran: ran.seconds))
                open_claims.append(_Claimed(claimant, name, tests, tuple(acted)))
        self._runner.say(f"trying {counted(len(open_claims), 'more claim')}")

        def work(bench: Bench, claimed: _Claimed) -> None:
            claim = self._claim(bench, claimed)
            with self._lock:
                claims.append(claim)

        self._runner.each(open_claims, lambda item: _needs_pytest(item.tests[:1]), work)
        self._record.claims = sorted(claims, key=lambda claim: (claim.claimant, claim.id))

    def _claim(self, bench: Bench, claimed: _Claimed) -> Claim:
        key = claimed.claimant, claimed.id
        for ran in claimed.tests:
            marks = [mark for mark in claimed.marks if mark in ran.run.acted]
            alone = [[mark] for mark in marks]
            for disabled in [*alone, self._all_marks(claimed.id)]:
                if len(disabled) == 1 and ran in self._passed[disabled[0], claimed.id]:
                    continue
                if self._fails_without(bench, ran, disabled):
                    with self._lock:
                        self._noticed[key].add(ran.test.id)
                    return Claim(*key, KILLED, (ran.test.id,))
        return Claim(*key, SURVIVED)

    def _all_marks(self, name: str) -> list[Seen]:
        """All marks of a requirement: what one of several does, another may do instead."""
        every = [mark for marks in self._collected.seen.values() for mark in marks]
        return [mark for mark in every if name in mark.ids]


def _needs_pytest(tests: Sequence[Ran]) -> bool:
    return any(isinstance(ran.test, PythonTest) for ran in tests)
