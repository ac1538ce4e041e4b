"""The detectors that stand side by side: how each gets at a program, and what its output means.

The peers speak of data races too, which Vespiary does not look for: what they say of locks is what
is compared. They are given their defaults. ThreadSanitizer wants the program compiled for it, and
its shadow memory where it expects it, so that it runs without randomised addresses (setarch(8)).
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benches.provision import CACHE

FOLDER = CACHE / "locks"
COMPILER = shutil.which("gcc") or "cc"
CPP_COMPILER = shutil.which("g++") or "c++"


class DetectorError(Exception):
    """A program could not be compiled, or a detector is not installed."""


@dataclass(frozen=True)
class Detector:
    """A way to run a program.

    Attributes:
        name: As the tables have it.
        options: Of the compiler, beside the common ones.
        prefix: Words before the program's own.
        wants: A program without which there is no such detector.
        signs: For each kind of finding, what the output then holds.
        seconds_max: A small program that takes longer, and does not compute any more, hangs.
        turns: The share of the bare program's turns that is enough to measure it.
    """

    name: str
    options: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()
    wants: str = ""
    signs: Mapping[str, str] = field(default_factory=dict)
    seconds_max: float = 3.0
    turns: float = 1.0

    def kinds(self, output: str) -> set[str]:
        """What the detector has said of locks."""
        return {kind for kind, sign in self.signs.items() if re.search(sign, output)}

    def build(self, source: Path, *options: str) -> Path:
        """Compile a program for this detector.

        Raises:
            DetectorError: the compiler refuses it.
        """
        FOLDER.mkdir(parents=True, exist_ok=True)
        kind = "tsan" if self.options else "plain"
        target = FOLDER / f"{source.parent.name}-{source.stem}-{kind}"
        compiler = [COMPILER] if source.suffix == ".c" else [CPP_COMPILER, "-std=c++17"]
        words = [*compiler, "-g", "-pthread", *options, *self.options, str(source), "-o"]
        done = subprocess.run([*words, str(target)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise DetectorError(f"{source.name}: {done.stderr.strip()}")
        return target


BARE = Detector("bare")
VESPIARY = Detector(
    "Vespiary",
    prefix=(sys.executable, "-m", "vespiary", "locks", "--"),
    seconds_max=40.0,
)
TSAN = Detector(
    "ThreadSanitizer",
    options=("-fsanitize=thread",),
    prefix=("setarch", "-R"),
    wants="setarch",
    signs={
        "inversion": r"ThreadSanitizer: lock-order-inversion",
        "misuse": r"ThreadSanitizer: (double lock|unlock of an unlocked|destroy of a locked"
        r"|read lock of a write|read unlock of a write|use of an invalid mutex)",
    },
    turns=0.1,
)
HELGRIND = Detector(
    "Helgrind",
    prefix=("valgrind", "--tool=helgrind"),
    wants="valgrind",
    signs={
        "inversion": r"lock order \S+ before \S+ violated",
        "misuse": r"Exiting thread still holds|unlocked a|unlocked lock|[Rr]e-lock a"
        r"|of a locked mutex|pthread_\w+ with invalid arg|associated lock is not"
        r"|called with (un-held|a? ?mutex)|currently held by",
    },
    seconds_max=8.0,
    turns=0.005,
)
DRD = Detector(
    "DRD",
    prefix=("valgrind", "--tool=drd"),
    wants="valgrind",
    signs={
        "misuse": r"Recursive locking not allowed|Destroying locked|still locked at thread exit"
        r"|Mutex not locked|not locked by calling thread|Reader-writer lock not"
        r"|The impossible happened|Attempt to use a|not a mutex|Invalid (mutex|semaphore)",
    },
    seconds_max=8.0,
    turns=0.005,
)
PEERS = (HELGRIND, DRD, TSAN)


def missing(detector: Detector) -> str:
    """Why a detector cannot be used here; empty when it can."""
    if detector.wants and shutil.which(detector.wants) is None:
        return f"{detector.wants} is not installed (Debian: apt-get install {detector.wants})"
    return ""


_WORKING_SECONDS_MAX = 60.0
_LOOK_SECONDS = 0.5


def _wait(process: subprocess.Popen[bytes], seconds_max: float) -> int | None:
    """Wait for the end: for so long, and for as long as the program still computes."""
    deadline = time.monotonic() + seconds_max
    last = time.monotonic() + _WORKING_SECONDS_MAX
    used = 0.0
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(_LOOK_SECONDS)
        before, used = used, _processor_seconds(process.pid)
        now = time.monotonic()
        if now > deadline and (used - before < _LOOK_SECONDS / 2 or now > last):
            return None


def _processor_seconds(session: int) -> float:
    """What the living processes of a session have computed (proc(5))."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def run(
    command: Sequence[str], seconds_max: float, environment: Mapping[str, str] | None = None
) -> tuple[int | None, str]:
    """Run a command, and end what it leaves behind.

    Returns:
        Its exit code, None when it had to be ended, and what it wrote.
    """
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        status = _wait(process, seconds_max)
        # Not asked first: at a request to end, Valgrind reports what is held as never released.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        told.seek(0)
        return status, told.read().decode(errors="replace")
