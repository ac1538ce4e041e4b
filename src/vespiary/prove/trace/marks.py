"""What the sources say: marks of code, claims of tests, and what is wrong with either."""

from dataclasses import dataclass, field

__all__ = ["ASSERTED", "COMPARED", "CONSTANT", "NEGATED", "STATEMENT", "Found", "Mark", "Problem"]

CONSTANT = "a condition that is a constant can never be false: write the mark as a statement"
"""What is wrong with a mark whose condition is `True`."""

STATEMENT = "a mark without a condition is a statement: write it on its own line, above the code"
"""What is wrong with a mark whose value is used although it has no condition."""

NEGATED = "a negated mark cannot be disabled: write the condition positively, within the mark"
"""What is wrong with a mark whose value is negated."""

ASSERTED = (
    "an asserted mark fails when it is disabled, which proves nothing: write the condition that"
    " refuses, as in if requires(..., not valid): raise ..."
)
"""What is wrong with a mark whose value is asserted."""

COMPARED = "a mark is compared with a constant: use its value, and write the condition positively"
"""What is wrong with a mark that is compared with `False`."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark or a claim in a source.

    Attributes:
        kind: `mark` (code that implements) or `claim` (a test that shows it).
        ids: The requirements' identifiers.
        file: Relative to the project's root.
        line: Where it begins.
        function: The function or class in which it stands; empty if none was found.
        language: `rust` or `python`.
        form: Of a mark: `condition`, `filter` (a condition that lets something pass), `choice` (one
            that chooses between two results), `statement` (code without a condition), `result` (a
            function with a result for when it is disabled), or `function` (one without).
        digest: Of the function's code: see `digests`.
        macro: The macro of Rust in whose definition it stands; empty if in none.
    """

    kind: str
    ids: tuple[str, ...]
    file: str
    line: int
    function: str
    language: str
    form: str = "condition"
    digest: str = ""
    macro: str = ""

    @property
    def place(self) -> str:
        """As `file:line`."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong and what to do about it.

    Attributes:
        where: As `file:line`, an identifier or a file.
        words: One sentence.
        error: Whether the tool fails because of it; otherwise it is only reported.
    """

    where: str
    words: str
    error: bool = True

    def __str__(self) -> str:
        return f"{self.where}: {self.words}"


@dataclass(slots=True)
class Found:
    """All marks and claims of some sources."""

    marks: list[Mark] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    files: int = 0

    def add(self, other: "Found") -> None:
        """Take over what another source has."""
        self.marks += other.marks
        self.problems += other.problems
        self.files += 1
