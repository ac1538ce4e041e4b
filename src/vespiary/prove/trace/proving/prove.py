"""Disable one mark after the other, and see which claiming test notices."""

import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

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

__all__ = ["prove"]

_SECONDS_MIN = 5.0
_SECONDS_FACTOR = 10.0


def prove(runner: Runner, collected: Collected, only: str = "") -> Record:
    """Prove every mark, or those of `only`, with the tests that were collected."""
    return _Prover(runner, collected, only).run()


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


class _Prover:
    def __init__(self, runner: Runner, collected: Collected, only: str) -> None:
        self._runner = runner
        self._collected = collected
        self._only = only
        self._lock = threading.Lock()
        self._record = collected.record()
        self._noticed: dict[tuple[str, str], set[str]] = defaultdict(set)
        """By claimant and identifier: the tests that have failed without a mark of it."""
        self._passed: dict[tuple[str, str], set[Ran]] = defaultdict(set)
        """By site and identifier: the tests that have passed without the mark."""
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
                candidate = self._candidate(mark, name, passed)
                if candidate:
                    candidates.append(candidate)
                else:
                    verdict = UNREACHED if name in claimed else UNCLAIMED
                    proofs.append(Proof(mark.site, name, verdict))
        self._runner.say(f"disabling {len({item.seen for item in candidates})} marks")
        found: list[tuple[_Candidate, str]] = []

        def work(bench: Bench, candidate: _Candidate) -> None:
            killer = self._killer(bench, candidate)
            with self._lock:
                found.append((candidate, killer))

        self._runner.each(candidates, lambda item: _needs_pytest(item.tests[:1]), work)
        self._prove_claims(passed)
        proofs += [self._proof(candidate, killer) for candidate, killer in found]
        self._record.proofs = sorted(proofs, key=lambda proof: (proof.site, proof.id))
        self._record.unstable = sorted(self._unstable)
        return self._record

    def _candidate(self, mark: Mark, name: str, passed: list[Ran]) -> _Candidate | None:
        seen = self._collected.seen.get((mark.site, mark.ids))
        tests = [ran for ran in passed if name in ran.run.claims and seen in ran.run.acted]
        if not seen or not tests:
            return None
        return _Candidate(mark, name, seen, tuple(sorted(tests, key=lambda ran: ran.seconds)))

    def _killer(self, bench: Bench, candidate: _Candidate) -> str:
        """The first test that fails without the mark; empty if there is none."""
        for ran in candidate.tests:
            if self._fails_without(bench, ran, [candidate.seen]):
                with self._lock:
                    self._noticed[ran.test.claimant, candidate.id].add(ran.test.id)
                return ran.test.id
            with self._lock:
                self._passed[candidate.mark.site, candidate.id].add(ran)
        return ""

    def _proof(self, candidate: _Candidate, killer: str) -> Proof:
        """The verdict on a mark; of the tests that passed, those whose functions never noticed."""
        survived = tuple(
            sorted(
                ran.test.id
                for ran in self._passed[candidate.mark.site, candidate.id]
                if not self._noticed[ran.test.claimant, candidate.id]
            )
        )
        site, name = candidate.mark.site, candidate.id
        if killer:
            return Proof(site, name, KILLED, (killer,), survived)
        return Proof(site, name, SURVIVED, (), survived)

    def _fails_without(self, bench: Bench, ran: Ran, marks: Sequence[Seen]) -> bool:
        """Whether a test fails without these marks, and passes with them."""
        seconds = max(_SECONDS_MIN, _SECONDS_FACTOR * ran.seconds)
        for attempt in range(2):
            with bench.disabled(marks):
                outcome = bench.run(ran.test, seconds).outcome
            if outcome in {"passed", "skipped"}:
                return False
            if bench.run(ran.test, seconds).outcome == "passed":
                return True
            # What failed before may have left something behind in the process: once more, afresh.
            bench.renew()
            if attempt == 0 and bench.run(ran.test, seconds).outcome != "passed":
                break
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
        self._runner.say(f"trying {len(open_claims)} more claims")

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
            for disabled in [*alone, marks] if len(marks) > 1 else alone:
                if len(disabled) == 1 and self._tried(ran, disabled[0], claimed.id):
                    continue
                if self._fails_without(bench, ran, disabled):
                    with self._lock:
                        self._noticed[key].add(ran.test.id)
                    return Claim(*key, KILLED, (ran.test.id,))
        return Claim(*key, SURVIVED)

    def _tried(self, ran: Ran, seen: Seen, name: str) -> bool:
        """Whether the test has passed without the mark before."""
        sites = [site for (site, _), other in self._collected.seen.items() if other == seen]
        return any(ran in self._passed[site, name] for site in sites)


def _needs_pytest(tests: Sequence[Ran]) -> bool:
    return any(isinstance(ran.test, PythonTest) for ran in tests)
