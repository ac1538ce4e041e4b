"""What addresses mean: functions, files and lines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vespiary import _core
from vespiary.prove.locks.binaries import code_at
from vespiary.prove.locks.facts import Module
from vespiary.prove.locks.preload import LIBRARY
from vespiary.prove.locks.record import Record

__all__ = ["SIGNAL_FRAME", "Frame", "Places", "resolve"]

"""The library that watches."""

SIGNAL_FRAME = "<signal handler called>"
"""Stands for the kernel, which calls a handler between two functions."""

_SIGNAL_RETURN = bytes.fromhex("48c7c00f0000000f05")

_INNER = re.compile(r"(lib)?python\d|libffi\.|_ctypes\.")
"""The objects of an interpreter, and of ctypes' calls: between Python code they tell nothing."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A place in a program.

    Attributes:
        function: Its name; an address where none is known.
        module: The loaded object's file name; for Python code empty.
        file: The source file, if the debugging information or the interpreter tells it.
        line: The line in it, from 1.
    """

    function: str
    module: str
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        if self.file is not None:
            return f"{self.function} ({self.file}:{self.line})"
        return f"{self.function} ({self.module})" if self.module else self.function

    @property
    def name(self) -> str:
        """What stays the same when other code moves: for signatures."""
        module = self.module or Path(self.file or "").name
        return f"{module}:{self.function}"

    @property
    def is_inner(self) -> bool:
        """Whether it is the interpreter's own."""
        return _INNER.match(self.module) is not None

    def as_json(self) -> dict[str, Any]:
        """The frame as an object of a report."""
        return {
            "function": self.function,
            "module": self.module,
            "file": self.file,
            "line": self.line,
        }


class Places:
    """The frames of a record's stacks."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._modules: list[Module] = []

    def stack(self, place: int | None, site: int = 0) -> list[Frame]:
        """A kept stack as frames, innermost first; inlined functions are frames too.

        A thread begins in the library that watches: from there on nothing is the program's. Where
        there is Python code, the interpreter's own frames are omitted.
        """
        words = self._record.stack(place, site)
        has_python = any(word >> 63 for word in words)
        frames: list[Frame] = []
        is_over = False
        for word in words:
            met = self.frames(word)
            if any(frame.module == LIBRARY for frame in met):
                is_over = bool(frames)
            elif word >> 63 or not is_over:
                frames += [frame for frame in met if not has_python or not frame.is_inner]
        return frames

    def frames(self, address: int) -> list[Frame]:
        """The frames of one return address, or of one word that is a frame of Python code."""
        if address >> 63:
            function, file = self._record.text((address >> 24) & 0xFFFFFFFF)
            return [Frame(function, "", file, address & 0xFFFFFF)]
        if address == 0:
            return []
        module = self.module(address)
        if module is None:
            return [Frame(f"{address:#x}", "")]
        return resolve(module, address)

    def module(self, address: int) -> Module | None:
        """The loaded object that an address belongs to; None for the heap and for stacks."""
        for attempt in range(2):
            for module in self._modules:
                if module.start <= address < module.end:
                    return module
            if attempt == 0 and self._record.module_count == len(self._modules):
                return None
            self._modules = self._record.modules()
        return None


def resolve(module: Module, address: int) -> list[Frame]:
    """The frames of a return address in a loaded object."""
    name = Path(module.path).name
    if _is_signal_return(module.path, address - module.bias):
        return [Frame(SIGNAL_FRAME, name)]
    # The call is the instruction before the one that it returns to.
    resolved = _resolve(module.path, address - 1 - module.bias)
    if not resolved:
        return [Frame(f"+{address - module.bias:#x}", name)]
    return [Frame(function, name, file, line) for function, file, line in resolved]


@cache
def _is_signal_return(path: str, address: int) -> bool:
    """Whether a handler of a signal returns there: `mov $15, %rax; syscall`, on x86-64."""
    return code_at(path, address, len(_SIGNAL_RETURN)) == _SIGNAL_RETURN


@cache
def _resolve(path: str, address: int) -> list[tuple[str, str | None, int | None]]:
    try:
        return _core.symbolize(path, address)
    except (OSError, ValueError):
        return []
