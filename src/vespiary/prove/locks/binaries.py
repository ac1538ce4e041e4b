"""What kind of program a file is, as far as this decides whether its locks can be watched.

Only the file is read (ELF, elf(5)): the dynamic linker that it requests, the machine, and traces of
its compiler. Go's toolchain writes a section `.go.buildinfo`. Rust's writes its version into
`.comment`. The source paths of panics in Rust's standard library are among the constants, even if
the file is stripped.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
from functools import cache
from pathlib import Path
from typing import NamedTuple

__all__ = ["Binary", "code_at", "inspect"]

_MACHINES = {62: "x86_64", 183: "aarch64", 3: "i686", 40: "arm", 243: "riscv64"}
_PT_LOAD, _PT_INTERP = 1, 3
_SCRIPT_DEPTH = 4

_ATOMIC_WAITS = (
    b"15__platform_wait",
    b"13__waiter_base",
    b"18__waiter_pool_base",
    b"18__atomic_semaphore",
    b"__wait_impl",
    b"__libcpp_atomic_wait",
)
"""Parts of the mangled names of functions: of GCC's library until 14 and from 15 on, and LLVM's."""

_BOOST_LOCK = b"N5boost12shared_mutex"
"""The same of `boost::shared_mutex`, whose functions are templates' or inline."""


class Binary(NamedTuple):
    """A program or a shared object.

    Attributes:
        path: The file; of a script, its interpreter's.
        machine: For which processor, as uname(2) names it; empty for what is not an ELF file.
        bits: 32 or 64.
        interpreter: The dynamic linker that it asks for; empty if it asks for none.
        is_go: Whether Go's toolchain made it.
        is_rust: Whether it has Rust's standard library in it.
        is_privileged: Whether executing it may change the user, group or capabilities.
        waits_on_atomics: Whether it has what C++20's latches, barriers, semaphores and waits on
            atomics are made of, as far as its symbols tell.
        has_boost_locks: Whether it has functions of Boost's read-write lock, as far as its symbols
            tell.
        imports: Functions that it takes from elsewhere, of those that are of interest.
    """

    path: str
    machine: str = ""
    bits: int = 0
    interpreter: str = ""
    is_go: bool = False
    is_rust: bool = False
    is_privileged: bool = False
    waits_on_atomics: bool = False
    has_boost_locks: bool = False
    imports: frozenset[str] = frozenset()


@cache
def inspect(path: str, depth: int = 0) -> Binary:
    """Look at a file; what cannot be read is reported as no ELF file."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(256)
            if head[:2] == b"#!" and depth < _SCRIPT_DEPTH:
                words = head[2:].partition(b"\n")[0].split()
                return inspect(os.fsdecode(words[0]), depth + 1) if words else Binary(path)
            if head[:4] != b"\x7fELF":
                return Binary(path)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _elf(path, data)
    except (OSError, struct.error, ValueError):
        return Binary(path)


def _elf(path: str, data: mmap.mmap) -> Binary:
    is_64 = data[4] == 2
    order = "<" if data[5] == 1 else ">"
    (machine,) = struct.unpack_from(order + "H", data, 18)
    sections = _sections(data, order, is_64)

    def has(section: str, text: bytes) -> bool:
        start, length = sections.get(section, (0, 0 if sections else len(data)))
        return data.find(text, start, start + length) >= 0

    return Binary(
        path,
        _MACHINES.get(machine, f"machine {machine}"),
        64 if is_64 else 32,
        _interpreter(data, order, is_64),
        is_go=".go.buildinfo" in sections or ".note.go.buildid" in sections,
        is_rust=has(".comment", b"rustc version") or has(".rodata", b"library/std/src/"),
        is_privileged=_is_privileged(path),
        waits_on_atomics=any(
            has(section, text) for section in (".strtab", ".dynstr") for text in _ATOMIC_WAITS
        ),
        has_boost_locks=any(has(section, _BOOST_LOCK) for section in (".strtab", ".dynstr")),
        imports=frozenset({"PyMutex_Lock"} if has(".dynstr", b"\0PyMutex_Lock\0") else ()),
    )


def _interpreter(data: mmap.mmap, order: str, is_64: bool) -> str:
    if is_64:
        (table,) = struct.unpack_from(order + "Q", data, 32)
        size, count = struct.unpack_from(order + "HH", data, 54)
    else:
        (table,) = struct.unpack_from(order + "I", data, 28)
        size, count = struct.unpack_from(order + "HH", data, 42)
    for number in range(count):
        at = table + number * size
        (kind,) = struct.unpack_from(order + "I", data, at)
        if kind == _PT_INTERP:
            if is_64:
                offset, length = struct.unpack_from(order + "Q16xQ", data, at + 8)
            else:
                offset, length = struct.unpack_from(order + "I8xI", data, at + 4)
            return os.fsdecode(data[offset : offset + length].partition(b"\0")[0])
    return ""


def _sections(data: mmap.mmap, order: str, is_64: bool) -> dict[str, tuple[int, int]]:
    """Where each section lies, by name."""
    if is_64:
        (table,) = struct.unpack_from(order + "Q", data, 40)
        size, count, names_number = struct.unpack_from(order + "HHH", data, 58)
        form = order + "I20xQQ"
    else:
        (table,) = struct.unpack_from(order + "I", data, 32)
        size, count, names_number = struct.unpack_from(order + "HHH", data, 46)
        form = order + "I12xII"
    if not table or not count or table + count * size > len(data):
        return {}
    entries = [struct.unpack_from(form, data, table + number * size) for number in range(count)]
    names = entries[names_number][1]
    found = {}
    for name, offset, length in entries:
        text = data[names + name : names + name + 64].partition(b"\0")[0]
        found[text.decode(errors="replace")] = (offset, length)
    return found


def code_at(path: str, address: int, length: int) -> bytes:
    """What a 64-bit file has at an address, before it is loaded; empty where it has nothing."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(64)
            if head[:6] != b"\x7fELF\x02\x01":
                return b""
            (table,) = struct.unpack_from("<Q", head, 32)
            size, count = struct.unpack_from("<HH", head, 54)
            file.seek(table)
            entries = file.read(size * count)
            for number in range(count):
                kind, _, offset, start, _, held = struct.unpack_from(
                    "<IIQQQQ", entries, number * size
                )
                if kind == _PT_LOAD and start <= address < start + held:
                    file.seek(offset + address - start)
                    return file.read(length)
    except (OSError, struct.error):
        pass
    return b""


def _is_privileged(path: str) -> bool:
    if Path(path).stat().st_mode & (stat.S_ISUID | stat.S_ISGID):
        return True
    try:
        return bool(os.getxattr(path, "security.capability"))
    except OSError:
        return False
