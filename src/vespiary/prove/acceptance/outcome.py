"""The result of a cell: its findings, its steps, and the files that it left."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

__all__ = ["ERROR", "FAILED", "KINDS", "PASSED", "Finding", "Result", "Step"]

PASSED: Final = "passed"
FAILED: Final = "failed"
ERROR: Final = "error"
"""The cell could not be run, which says nothing about the server."""

KINDS: Final = {
    "not-ready": "the server was not ready in time",
    "server-ended": "the server ended before it was stopped",
    "client-exit": "a client ended with an unexpected exit code",
    "client-timeout": "a client did not end in time",
    "client-output": "the output of a client does not match `output`, or matches `no_output`",
    "server-output": "the output of the server does not match `output`, or matches `no_output`",
    "counter": "a counter does not have the expected value",
    "file": "a file does not meet its conditions",
    "descriptors": "the server has more descriptors after its clients than before",
    "children": "the server has more processes after its clients than before",
    "stop-timeout": "the server did not end in time after the stop signal",
    "stop-exit": "the server ended with an unexpected exit code",
    "port-open": "something listens on a port of the case after the stop",
    "left-behind": "processes still ran after the server had ended",
    "inversion": "lock orders that can deadlock (locks)",
    "deadlock": "a deadlock (locks)",
    "misuse": "misuse of a lock (locks)",
    "stall": "a thread waited too long for a lock (locks)",
    "not-covered": "the tool could not watch the server",
    "memory-limit": "the memory limit was exceeded",
    "output-limit": "the programs wrote more output than they may",
    "memory-growth": "memory grows (memory)",
    "memory-expectation": "memory is not as expected (memory)",
    "alarm": "an alarm was reached (timewait)",
    "tool": "another tool found something",
    "timeout": "the whole case did not end in time",
    "not-run": "the case could not be run",
    "host": "all hosts that could have run the case failed",
}
"""What can be found, and what it means."""


@dataclass
class Finding:
    """Something that is not as it should be.

    Attributes:
        kind: One of `KINDS`.
        text: What, in a sentence.
        detail: More lines, such as a tool's report.
    """

    kind: str
    text: str
    detail: str = ""


@dataclass
class Step:
    """Something that was done, and when.

    Attributes:
        text: What.
        began: Seconds since the start of the case.
        seconds: How long it took.
    """

    text: str
    began: float
    seconds: float


@dataclass
class Result:
    """The result of a cell.

    Attributes:
        case, tool, driver, python, workers, host: The cell.
        id: The cell by name.
        outcome: `passed`, `failed` or `error`.
        seed: What decided about everything random.
        seconds: How long it took.
        findings: What is not as it should be.
        steps: What was done.
        notes: What to know about how it was run, such as a missing right.
        logs: The output of each program, by name.
        artifacts: Files that the tools and programs wrote, by name.
        memory: Samples of memory: seconds and bytes.
        memory_of: Whose memory that is: of all programs together, or of the server alone.
        peak_bytes: The most that all programs used together.
        ran_on: The host that it ran on.
    """

    id: str
    case: str
    tool: str
    driver: str | None = None
    python: str | None = None
    workers: int | None = None
    host: str | None = None
    outcome: str = PASSED
    seed: int = 0
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    artifacts: list[str] = field(default_factory=list)
    memory: list[tuple[float, int]] = field(default_factory=list)
    memory_of: str = "all programs of the case"
    peak_bytes: int = 0
    ran_on: str = "local"

    def add(self, kind: str, text: str, detail: str = "") -> None:
        """Add a finding; each finding makes the result a failure."""
        assert kind in KINDS, kind
        self.findings.append(Finding(kind, text, detail))
        if self.outcome != FAILED:
            self.outcome = ERROR if kind in ("not-run", "host") else FAILED

    def as_json(self) -> dict[str, Any]:
        """The result as an object."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> Result:
        """A result that was written by `as_json`."""
        findings = [Finding(**each) for each in data.pop("findings")]
        steps = [Step(**each) for each in data.pop("steps")]
        return Result(**data, findings=findings, steps=steps)
