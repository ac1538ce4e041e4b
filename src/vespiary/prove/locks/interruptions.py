"""Code that interrupts a thread which holds a lock: a signal handler, a finalizer or a callback.

Such code runs at any moment, and therefore also while the thread holds the locks that the
interrupted code has taken. You cannot see this in its source or in that of the interrupted code.

The kernel marks the frame of a native handler. Python's frames have no mark. But if the line of the
frame below does not call a function, the interpreter itself has called it. The reason is found from
the function's name (`__del__`), or from the place where its module registers it (for a `lambda`,
the line of that place).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

from vespiary.prove.locks import sources
from vespiary.prove.locks.findings import Finding, Step
from vespiary.prove.locks.places import SIGNAL_FRAME, Frame

__all__ = ["Interruption", "explained", "interruption"]

_REGISTERS = {
    "signal handler": r"\b(?:signal|add_signal_handler|sigaction)\(",
    "finalizer": r"\b(?:ref|proxy|finalize|WeakMethod|WeakRef)\(",
}
"""Calls that have a function called at any moment later."""

_ARGUMENTS_MAX = 400
"""Characters of such a call that are checked."""

_WHAT_TO_DO = {
    "signal handler": "let a handler only set a flag or write to a pipe"
    " (signal.set_wakeup_fd, signalfd(2)), or block the signal while the lock is held",
    "finalizer": "take no lock in a finalizer: it runs wherever the last reference is dropped or"
    " garbage is collected; put the work on a queue (queue.SimpleQueue is made for that)",
    "callback": "release the lock before functions of others are called",
}


@dataclass(frozen=True, slots=True)
class Interruption:
    """Code that ran in between.

    Attributes:
        kind: `signal handler`, `finalizer` or `callback`.
        frame: The outermost frame of it.
    """

    kind: str
    frame: Frame


def interruption(stack: Sequence[Frame]) -> Interruption | None:
    """The code at the inner end of a stack that a signal or a finalization has started."""
    for inner, outer in pairwise(stack):
        if outer.function == SIGNAL_FRAME:
            return Interruption("signal handler", inner)
        if inner.module or outer.module:
            continue
        kind = _kind(inner)
        if kind is not None and not _calls(outer, inner):
            return Interruption(kind, inner)
    return None


def _kind(frame: Frame) -> str | None:
    """What a function of Python is registered for."""
    name = frame.function.rpartition(".")[2]
    if name == "__del__":
        return "finalizer"
    if name == "<lambda>":
        return _lambdas(sources.text(frame)).get(frame.line or 0)
    return _registered(sources.text(frame)).get(name)


@lru_cache(maxsize=64)
def _registered(text: str) -> dict[str, str]:
    """Names that a module has among the arguments of such calls, and what for."""
    found: dict[str, str] = {}
    for kind, call in _REGISTERS.items():
        for match in re.finditer(call, text):
            arguments = _arguments(text[match.end() : match.end() + _ARGUMENTS_MAX])
            for name in re.findall(r"\w+", arguments):
                found.setdefault(name, kind)
    return found


@lru_cache(maxsize=64)
def _lambdas(text: str) -> dict[int, str]:
    """The lines of such calls that have a lambda among their arguments, and what it is for."""
    found: dict[int, str] = {}
    for kind, call in _REGISTERS.items():
        for match in re.finditer(call, text):
            arguments = _arguments(text[match.end() : match.end() + _ARGUMENTS_MAX])
            if re.search(r"\blambda\b", arguments):
                first = text.count("\n", 0, match.end()) + 1
                lines = range(first, first + arguments.count("\n") + 1)
                found.update(dict.fromkeys(lines, kind))
    return found


def _arguments(text: str) -> str:
    """The text up to the parenthesis that ends a call."""
    depth = 1
    for at, letter in enumerate(text):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth == 0:
            return text[:at]
    return text


def _calls(outer: Frame, inner: Frame) -> bool:
    """Whether a line says that it calls a function."""
    name = inner.function.rpartition(".")[2]
    return re.search(rf"\b{re.escape(name)}\(", sources.line(outer)) is not None


def _callback(step: Step) -> Interruption | None:
    """The code that a library calls for the one who holds the lock."""
    holders = {frame.function for frame in step.held_since}
    stack = step.wanted_at
    for at, (inner, outer) in enumerate(pairwise(stack)):
        is_called = sources.is_library(outer) and not sources.is_library(inner)
        if is_called and holders & {frame.function for frame in stack[at + 2 :]}:
            return Interruption("callback", inner)
    return None


def explained(finding: Finding) -> Finding:
    """The finding, with advice about the code that ran in between if there was any.

    What is for information only stays as it is: there may be thousands.
    """
    if not finding.is_told:
        return finding
    for step in finding.steps:
        found = interruption(step.wanted_at)
        if found is None and len(finding.steps) == 1:
            found = _callback(step)
        if found is not None:
            text = (
                f"a {found.kind} ({found.frame.function}) ran in between, while {step.thread} held"
                f" the lock: {_WHAT_TO_DO[found.kind]}"
            )
            return replace(finding, advice=text)
    return finding
