"""Lines of source, if the files from which the program was built still exist."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path

from vespiary.prove.locks.places import Frame

__all__ = [
    "around",
    "first_own",
    "is_cpp_library",
    "is_folded",
    "is_generic",
    "is_library",
    "line",
    "own",
    "text",
]

_BYTES_MAX = 4 << 20
_BENEATH = {
    "Thread.run",
    "Thread._bootstrap",
    "Thread._bootstrap_inner",
    "_start",
    "__libc_start_main",
    "__libc_start_call_main",
    "__libc_init_first",
    "start_thread",
    "clone",
    "clone3",
}
"""Functions that every thread begins with, and no program has written."""


_LIBRARY_FILE = re.compile(
    r"^<frozen |/lib(?:64)?/python3\.\d+t?/(?!site-packages/|dist-packages/)"
)
_LIBRARY_MODULE = re.compile(
    r"^(?:lib(?:c|pthread|stdc\+\+|c\+\+|gcc_s|glib-2\.0|uv|apr-1|python3[.\d]*)\.so|ld-linux"
    r"|python3)"
)
_LIBRARY_HEADER = re.compile(r"^/usr/(?:local/)?(?:include|lib)/")
_LIBRARY_FUNCTION = re.compile(r"[*&]*(?:std::|__gthread_|__gnu_cxx::|boost::|__cxxabiv1::)")
_CPP_MODULE = re.compile(r"^lib(?:stdc\+\+|c\+\+|c\+\+abi|boost_\w+)\.so")
_TEMPLATE = re.compile(r"<[^<>]*>")
_VERB = "(?:init|new|make|create|alloc)"
_MAKER = re.compile(rf"(?:mutex|lock)\w*{_VERB}|{_VERB}\w*(?:mutex|lock)", re.IGNORECASE)


@lru_cache(maxsize=64)
def _lines(path: str) -> list[str]:
    try:
        file = Path(path)
        if not file.is_file() or file.stat().st_size > _BYTES_MAX:
            return []
        return file.read_text(errors="replace").splitlines()
    except (OSError, ValueError):
        return []


def line(frame: Frame) -> str:
    """The line itself, without its indentation; empty where it cannot be read."""
    found = around(frame, 0)
    return found[0][1].strip() if found else ""


def text(frame: Frame) -> str:
    """The whole file; empty where it cannot be read."""
    return "\n".join(_lines(frame.file)) if frame.file is not None else ""


def around(frame: Frame, context: int) -> list[tuple[int, str]]:
    """The line and those around it, each with its number; empty where they cannot be read."""
    if frame.file is None or not frame.line:
        return []
    lines = _lines(frame.file)
    if frame.line > len(lines):
        return []
    first = max(1, frame.line - context)
    last = min(len(lines), frame.line + context)
    return [(number, lines[number - 1]) for number in range(first, last + 1)]


def own(frames: Sequence[Frame]) -> Sequence[Frame]:
    """A stack without what lies beneath a program's own functions."""
    count = len(frames)
    while count > 1 and (frames[count - 1].function in _BENEATH or _is_bare(frames[count - 1])):
        count -= 1
    return frames[:count]


def _is_bare(frame: Frame) -> bool:
    """Whether nothing is known of a frame but its address, in the C library."""
    return frame.function.startswith("+0x") and frame.module.startswith("libc.so")


def is_library(frame: Frame) -> bool:
    """Whether a frame is of the languages' own libraries, a template's of C++ included."""
    file = frame.file or ""
    if not frame.module:
        return _LIBRARY_FILE.search(file) is not None
    return _LIBRARY_MODULE.match(frame.module) is not None or is_cpp_library(frame)


def is_cpp_library(frame: Frame) -> bool:
    """Whether a native frame is of a template or an inline function of C++'s libraries."""
    return (
        _LIBRARY_HEADER.match(frame.file or "") is not None
        or _CPP_MODULE.match(frame.module) is not None
        or _LIBRARY_FUNCTION.match(_unparameterized(frame.function)) is not None
    )


def is_folded(frame: Frame) -> bool:
    """Whether a frame is the C++ library's, which a program calls without writing so."""
    return bool(frame.module) and is_cpp_library(frame)


@cache
def _unparameterized(function: str) -> str:
    """A demangled name without parameters, those of its templates too, and what it returns."""
    before = ""
    while before != function:
        before, function = function, _TEMPLATE.sub("", function)
    return function.partition("(")[0].rpartition(" ")[2]


def is_generic(frame: Frame) -> bool:
    """Whether a frame is a library's, or of a function whose name says that it makes locks."""
    return is_library(frame) or _MAKER.search(frame.function.rpartition("::")[2]) is not None


def first_own(frames: Sequence[Frame]) -> Frame | None:
    """The innermost frame that is a program's own; of a stack without one, the innermost."""
    return next((frame for frame in frames if not is_generic(frame)), next(iter(frames), None))
