"""Where Python programs allocate their memory: memray, attached while they run.

memray (an extra, `vespiary[allocations]`) must be installed for the program's interpreter too. It
attaches through gdb or lldb, or from CPython 3.14 on with the interpreter's own interface. The
program is not changed, but runs slower from then on. Earlier allocations are not known. Its file
stays readable if the program is killed.
"""

from __future__ import annotations

import importlib
import re
import signal
import subprocess
import sys
from pathlib import Path

from vespiary.errors import ConfigurationError
from vespiary.prove.folders import Held
from vespiary.prove.memory.reading import Limiter
from vespiary.prove.memory.record import ProcessRecord, Record
from vespiary.prove.quantities import size_text

__all__ = ["Allocations"]

_AGE_SECONDS = 0.5
"""An interpreter has started up by then, and can be attached to."""

_PROCESSES_MAX = 4
_PLACES = 5
_FRAMES = 3
_ATTACH_SECONDS = 30.0


class Allocations:
    """Attaches to the Python processes of a run as they are seen.

    Attributes:
        folder: Where memray writes.
    """

    def __init__(self) -> None:
        """Find memray.

        Raises:
            ConfigurationError: it is not installed.
        """
        try:
            importlib.import_module("memray")
        except ImportError:
            raise ConfigurationError(
                "--allocations needs memray: pip install 'vespiary[allocations]'",
                subject="--allocations",
            ) from None
        self._held = Held("vespiary-allocations-")
        self.folder = self._held.path
        self._attached: dict[int, tuple[ProcessRecord, subprocess.Popen[str]]] = {}

    def look(self, record: Record, limiter: Limiter) -> None:
        """Attach to what is new."""
        del limiter
        for process in record.biggest(_PROCESSES_MAX):
            is_old = process.ended - process.began >= _AGE_SECONDS
            is_new = process.pid not in self._attached
            if is_old and is_new and len(self._attached) < _PROCESSES_MAX and _is_python(process):
                self._attached[process.pid] = (process, self._attach(process.pid))

    def _attach(self, pid: int) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "memray", "attach", "-o", str(self._file(pid)), str(pid)]
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # This thread has signals blocked that a debugger waits for.
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, []),
        )

    def _file(self, pid: int) -> Path:
        return self.folder / f"{pid}.bin"

    def lines(self) -> list[str]:
        """What was allocated and not freed when each process used most; removes the files."""
        lines = []
        for process, attaching in self._attached.values():
            try:
                said, _ = attaching.communicate(timeout=_ATTACH_SECONDS)
            except subprocess.TimeoutExpired:
                attaching.kill()
                said, _ = attaching.communicate()
            lines.append(f"  allocated by {process.pid} {process.command[:60]}, at its peak:")
            found = self._places(process.pid)
            lines += found or [f"    not known: {_reason(said)}"]
        self._held.close()
        return lines or ["  allocations: no Python process lived for half a second"]

    def _places(self, pid: int) -> list[str]:
        from memray import FileReader

        try:
            reader = FileReader(str(self._file(pid)))
            records = list(reader.get_high_watermark_allocation_records(merge_threads=True))
        except (OSError, ValueError):
            return []
        records.sort(key=lambda each: each.size, reverse=True)
        lines = []
        for each in records[:_PLACES]:
            frames = each.stack_trace(max_stacks=_FRAMES)
            called = " < ".join(f"{name} ({Path(file).name}:{line})" for name, file, line in frames)
            lines.append(f"    {size_text(each.size):>10}  {called or 'no Python code'}")
        return lines


def _is_python(process: ProcessRecord) -> bool:
    """Whether a process's program is an interpreter, by its file."""
    try:
        program = Path(f"/proc/{process.pid}/exe").readlink().name
    except OSError:
        return False
    return re.match(r"python", program) is not None


def _reason(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else "the program ended first"
