"""When two findings count as the same, in every run, and after other code was moved.

A signature is made from the functions of the program that are part of the finding, with their
files, and from the locks: their names, and the places where they were created. Frames of the
languages' libraries are not used, because they would be the same in all findings of C++. If a name
says nothing (of a lambda, or of the outermost code of a module), the line of source is used too.
Line numbers are not used.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from vespiary.prove.locks import sources
from vespiary.prove.locks.places import Frame

__all__ = ["lock_part", "signature", "stack_part"]

_FRAMES_MAX = 3
_FILE_PARTS = 2
_NAMELESS = re.compile(r"<lambda>|<module>|\{lambda|^operator\(\)$")
_PLACE_OF_RUN = re.compile(r" L\d+| at 0x[0-9a-f]+|\+\d+$")
"""In the name of a lock: its number, its address, its place in an array."""


def stack_part(frames: Sequence[Frame]) -> str:
    """The innermost functions of a stack that are the program's own."""
    own = [frame for frame in sources.own(frames) if not sources.is_library(frame)]
    return ",".join(map(_function, own[:_FRAMES_MAX]))


def lock_part(name: str, made: Sequence[Frame]) -> str:
    """A lock: what it is called, and where it was made, if it was seen to be."""
    return f"{_PLACE_OF_RUN.sub('', name)}@{stack_part(made)}"


@cache
def _file(path: str, folder: str) -> str:
    """A file from the folder that the program was started in, or else with its folder's name."""
    try:
        return str(Path(path).relative_to(folder))
    except ValueError:
        return "/".join(Path(path).parts[-_FILE_PARTS:])


def _function(frame: Frame) -> str:
    file = _file(frame.file or "", str(Path.cwd()))
    text = f"{frame.module}:{file}:{frame.function}"
    return f"{text}:{sources.line(frame)}" if _NAMELESS.search(frame.function) else text


def signature(parts: Iterable[str]) -> str:
    """Sixteen hexadecimal digits."""
    return hashlib.sha256("\n".join(parts).encode(errors="replace")).hexdigest()[:16]
