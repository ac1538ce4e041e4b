"""Run named steps one after the other, say so, and report the outcome of each at the end."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
REASONS_MAX = 25
REASON_CHARACTERS_MAX = 300


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one step."""

    name: str
    passed: bool
    seconds: float
    notes: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    """What failed in it, a line each."""


@dataclass(slots=True)
class Steps:
    """Runs steps; every one of them runs, whatever became of those before it."""

    title: str
    outcomes: list[Outcome] = field(default_factory=list)
    left: str = ""
    """What these steps leave to others, printed at the end."""

    def run(
        self,
        name: str,
        command: Sequence[str | Path],
        environment: Mapping[str, str] | None = None,
        notes: Callable[[], Sequence[str]] = tuple,
        accepted: Sequence[int] = (0,),
        reasons: Callable[[], Sequence[str]] = tuple,
    ) -> bool:
        """Run a command; its output goes through.

        Args:
            name: What the summary calls it.
            command: The command's words.
            environment: What is added to the environment.
            notes: Called afterwards; what it returns goes into the summary.
            accepted: The exit statuses with which the step has passed.
            reasons: Called if it failed; what it returns are the last lines of all steps' output.
        """
        print(f"\n==> {name}", flush=True)
        began = time.monotonic()
        status = subprocess.run(
            [str(part) for part in command],
            cwd=CHECKOUT,
            env={**os.environ, **(environment or {})},
            check=False,
        ).returncode
        passed = status in accepted
        why = () if passed else reasons() or [f"exit status {status}"]
        return self.record(name, passed, time.monotonic() - began, notes(), why)

    def record(
        self,
        name: str,
        passed: bool,
        seconds: float,
        notes: Sequence[str] = (),
        reasons: Sequence[str] = (),
    ) -> bool:
        """Add an outcome that was found by other means."""
        self.outcomes.append(Outcome(name, passed, seconds, tuple(notes), tuple(reasons)))
        return passed

    def finish(self) -> int:
        """Print the summary; the exit status is 1 if any step failed."""
        print(f"\n==> {self.title}: summary")
        for outcome in self.outcomes:
            word = "ok    " if outcome.passed else "FAILED"
            print(f"  {word} {outcome.seconds:7.1f} s  {outcome.name}")
            for note in outcome.notes:
                print(f"                     {note}")
        if self.left:
            print(self.left)
        sys.stdout.flush()
        failed = [outcome for outcome in self.outcomes if not outcome.passed]
        for outcome in failed:
            print(f"{self.title} failed: {outcome.name}", file=sys.stderr)
            for reason in outcome.reasons[:REASONS_MAX]:
                print(f"  {reason[:REASON_CHARACTERS_MAX]}", file=sys.stderr)
            if len(outcome.reasons) > REASONS_MAX:
                print(f"  and {len(outcome.reasons) - REASONS_MAX} more", file=sys.stderr)
        return 1 if failed else 0
