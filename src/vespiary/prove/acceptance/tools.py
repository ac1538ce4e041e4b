"""How a command is run under a tool: what stands before it, and where the tool's findings are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from vespiary.prove.acceptance.names import VESPIARY
from vespiary.prove.acceptance.suite import Case, Suite

__all__ = ["BUILT_IN", "VALGRIND_FOUND", "Wrapping", "wrapping"]

VALGRIND_FOUND: Final = 99
_SANITIZER_FOUND: Final = 98


@dataclass(frozen=True)
class Wrapping:
    """A tool as it is used in a case.

    Attributes:
        tool: Its name.
        prefix: What stands before the command; `{label}` in it is the program's name in the case.
        environment: Variables of the program.
        exits: Exit codes that mean that it found something.
        findings: A pattern of the files that it writes when it found something.
        details: A pattern of the files that explain it.
        time_factor: How many times longer everything may take.
    """

    tool: str
    prefix: tuple[str, ...] = ()
    environment: Mapping[str, str] | None = None
    exits: tuple[int, ...] = ()
    findings: str | None = None
    details: str | None = None
    time_factor: float = 1.0

    def command(self, words: Sequence[str], label: str) -> list[str]:
        """A command under the tool."""
        return [word.replace("{label}", label) for word in self.prefix] + list(words)


def _own(name: str, *options: str) -> tuple[str, ...]:
    """One of Vespiary's own tools, with its reports among the artifacts."""
    report = f"{{artifacts}}/{{label}}-{name}"
    return (VESPIARY, name, "--json", f"{report}.json", *options)


def _sanitizer(name: str, variable: str, factor: float) -> Wrapping:
    options = f"log_path={{artifacts}}/{name}:exitcode={_SANITIZER_FOUND}"
    return Wrapping(
        name,
        environment={variable: options},
        exits=(_SANITIZER_FOUND,),
        findings=f"{{artifacts}}/{name}.*",
        time_factor=factor,
    )


_PAGE: Final = "{artifacts}/{label}"

BUILT_IN: Final = {
    "plain": Wrapping("plain"),
    "locks": Wrapping("locks", _own("locks", "--html", f"{_PAGE}-locks.html"), time_factor=2.0),
    "locks-full": Wrapping(
        "locks-full", _own("locks", "--full", "--html", f"{_PAGE}-locks.html"), time_factor=3.0
    ),
    "memory": Wrapping("memory", _own("memory", "--html", f"{_PAGE}-memory.html"), time_factor=1.5),
    "timewait": Wrapping("timewait", _own("timewait", "--interval", "0.2"), time_factor=1.5),
    "valgrind": Wrapping(
        "valgrind",
        (
            "valgrind",
            "--leak-check=full",
            "--errors-for-leak-kinds=definite",
            "--show-leak-kinds=definite",
            f"--error-exitcode={VALGRIND_FOUND}",
            "--log-file={artifacts}/valgrind.%p",
        ),
        {"PYTHONMALLOC": "malloc"},
        (VALGRIND_FOUND,),
        details="{artifacts}/valgrind.*",
        time_factor=40.0,
    ),
    "address-sanitizer": _sanitizer("address-sanitizer", "ASAN_OPTIONS", 4.0),
    "thread-sanitizer": _sanitizer("thread-sanitizer", "TSAN_OPTIONS", 20.0),
    "undefined-sanitizer": _sanitizer("undefined-sanitizer", "UBSAN_OPTIONS", 2.0),
}
"""The tools that there are without any setting."""

_SEPARATED: Final = ("locks", "locks-full", "memory", "timewait")


def wrapping(suite: Suite, case: Case, name: str) -> Wrapping:
    """A tool with the settings of a suite and of a case."""
    base = BUILT_IN.get(name, Wrapping(name))
    settings = suite.tools.get(name)
    given = case.tool_arguments.get(name)
    if given is None:
        given = settings.arguments if settings is not None else []
    prefix = base.prefix
    if settings is not None and settings.command is not None:
        prefix = tuple(settings.command)
    prefix = (*prefix, *given, *(["--"] if name in _SEPARATED else []))
    if settings is None:
        return replace(base, prefix=prefix)
    return replace(
        base,
        prefix=prefix,
        environment={**(base.environment or {}), **settings.environment},
        exits=(*base.exits, *settings.exits),
        findings=settings.findings or base.findings,
        time_factor=settings.time_factor or base.time_factor,
    )
