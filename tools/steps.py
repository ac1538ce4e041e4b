"""Run named steps one after the other, say so, and report the outcome of each at the end."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one step."""

    name: str
    passed: bool
    seconds: float
    notes: tuple[str, ...] = ()


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
    ) -> bool:
        """Run a command; its output goes through.

        Args:
            name: What the summary calls it.
            command: The command's words.
            environment: What is added to the environment.
            notes: Called afterwards; what it returns goes into the summary.
            accepted: The exit statuses with which the step has passed.
        """
        print(f"\n==> {name}", flush=True)
        began = time.monotonic()
        status = subprocess.run(
            [str(part) for part in command],
            cwd=CHECKOUT,
            env={**os.environ, **(environment or {})},
            check=False,
        ).returncode
        return self.record(name, status in accepted, time.monotonic() - began, notes())

    def record(self, name: str, passed: bool, seconds: float, notes: Sequence[str] = ()) -> bool:
        """Add an outcome that was found by other means."""
        self.outcomes.append(Outcome(name, passed, seconds, tuple(notes)))
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
        failed = [outcome.name for outcome in self.outcomes if not outcome.passed]
        if failed:
            print(f"{self.title} failed: {', '.join(failed)}.", file=sys.stderr)
        sys.stdout.flush()
        return 1 if failed else 0
