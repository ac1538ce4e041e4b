"""The stacks of a process's threads, read from outside and without stopping it.

A native stack is searched for words that look like the return address of a call, so it may contain
frames of functions that have returned. Only its interpreter knows what a Python thread executes.
py-spy, a separate program (MIT licence), can read this, and is used if it is installed.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from vespiary import _core
from vespiary.errors import ConfigurationError
from vespiary.prove.locks.activity import Activity, activity
from vespiary.prove.locks.facts import Module
from vespiary.prove.locks.places import Frame, resolve
from vespiary.prove.locks.preload import LIBRARY
from vespiary.prove.locks.target import Target, opened, task

__all__ = ["doing", "loaded_code", "native_stack", "py_spy", "python_stacks", "variable"]

_SCAN_BYTES = 2048
_FRAMES_MAX = 12
_PY_SPY_SECONDS = 10.0


def loaded_code(target: Target) -> list[Module]:
    """The executable parts of the process's files."""
    first: dict[str, int] = {}
    found = []
    try:
        lines = Path(f"/proc/{target.pid}/maps").read_text(errors="replace").splitlines()
    except OSError:
        return []
    for line in lines:
        span, access, offset, _, _, *path = line.split(None, 5)
        if not path or not path[0].startswith("/"):
            continue
        start, _, end = span.partition("-")
        first.setdefault(path[0], int(start, 16) - int(offset, 16))
        if "x" in access:
            bias = first[path[0]] if _is_relocated(path[0]) else 0
            found.append(Module(bias, int(start, 16), int(end, 16), path[0]))
    return found


def variable(target: Target, address: int) -> str:
    """The variable of a program or library that an address lies in; empty where it is in none."""
    try:
        lines = Path(f"/proc/{target.pid}/maps").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    first, last, end = 0, "", 0
    for line in lines:
        span, _, offset, _, _, *path = line.split(None, 5)
        low, high = (int(each, 16) for each in span.split("-"))
        file = path[0] if path else ""
        if file.startswith("/") and (file != last or low < first):
            first, last = low - int(offset, 16), file
        elif file or low != end:
            # What has no name and follows a file's memory is that file's: its data without a value.
            last = file if file == last else ""
        end = high
        if low <= address < high:
            return _variable(last, address - (first if _is_relocated(last) else 0)) if last else ""
    return ""


def _variable(path: str, address: int) -> str:
    try:
        found = _core.variable(path, address)
    except OSError:
        return ""
    if found is None:
        return ""
    name, offset = found
    return f"{name}+{offset}" if offset else name


def _is_relocated(path: str) -> bool:
    """Whether an ELF file is loaded anywhere (ET_DYN), not where it says (ET_EXEC)."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(18)
    except OSError:
        return True
    return head[16:18] != b"\x02\x00"


def native_stack(
    target: Target, modules: Sequence[Module], call: tuple[int, ...]
) -> tuple[Frame, ...]:
    """The frames whose return addresses the top of a thread's stack holds.

    Args:
        target: The process.
        modules: Its code.
        call: The system call that the thread is in, as `Task` has it.
    """
    stack_pointer, counter = call[-2:]
    frames = _frames(modules, counter)
    data = target.read(stack_pointer, _SCAN_BYTES) or target.read(stack_pointer, 256) or b""
    for (word,) in struct.iter_unpack("<Q", data):
        if len(frames) >= _FRAMES_MAX:
            break
        is_code = any(module.start <= word < module.end for module in modules)
        if is_code and _follows_a_call(target, word):
            frames += _frames(modules, word)
    # A watched thread begins in the library that watches.
    ours = next((at for at, frame in enumerate(frames) if at and frame.module == LIBRARY), None)
    return tuple(frames[:ours])


def _follows_a_call(target: Target, address: int) -> bool:
    if os.uname().machine != "x86_64":
        return True
    code = target.read(address - 7, 7)
    if code is None:
        return False
    # call rel32, or call through a register or memory (opcode FF /2).
    return code[2] == 0xE8 or any(
        code[at] == 0xFF and (code[at + 1] >> 3 & 7) == 2 for at in range(6)
    )


def _frames(modules: Sequence[Module], address: int) -> list[Frame]:
    for module in modules:
        if module.start <= address < module.end:
            return resolve(module, address)
    return []


def doing(pid: int, tid: int) -> tuple[Activity, tuple[Frame, ...]]:
    """What a thread does now, and where: in Python code if that is known, else its native stack."""
    try:
        with opened(pid) as target:
            now = task(pid, tid)
            found = activity(pid, now)
            program = py_spy() if target.is_python else None
            frames = python_stacks(program, pid).get(tid, ()) if program else ()
            if not frames and now.call:
                frames = native_stack(target, loaded_code(target), now.call)
            return found, frames
    except (OSError, ConfigurationError):
        return Activity("cannot be looked at", "call", True), ()


def py_spy() -> str | None:
    """Where py-spy is: next to this Python, or on PATH."""
    beside = Path(sys.executable).parent / "py-spy"
    return str(beside) if beside.exists() else shutil.which("py-spy")


def python_stacks(program: str, pid: int) -> dict[int, tuple[Frame, ...]]:
    """The Python code that each thread executes, innermost first, by the thread's number.

    Args:
        program: py-spy.
        pid: The process.
    """
    try:
        done = subprocess.run(
            [program, "dump", "--json", "--nonblocking", "--pid", str(pid)],
            capture_output=True,
            timeout=_PY_SPY_SECONDS,
            check=True,
        )
        threads = json.loads(done.stdout)
        return {
            int(thread["os_thread_id"]): tuple(
                Frame(str(frame["name"]), "", str(frame["filename"]), int(frame["line"]))
                for frame in thread["frames"]
            )
            for thread in threads
            if thread.get("os_thread_id")
        }
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return {}
