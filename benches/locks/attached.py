"""`python -m benches.locks.attached`: what `attach` says of healthy programs, and of hangs.

Real programs are run as they are, not under the detector, with a load; each is looked at a hundred
times while it works, and nothing may be reported. Every form of tests/locks/bugs that deadlocks is
looked at until the circle is found: those of C and C++ as they are; with the library preloaded
those of Python and those that hang in what keeps no owner, a read lock or a routine that is called
once. The tables become benches/results/DATE-locks-attached.md. The exit code is 1 if one was wrong.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from benches import machine
from benches.locks import bugs
from benches.locks.detectors import BARE
from benches.locks.verdicts import PROGRAMS, Program
from benches.outcome import RESULTS
from tests.locks.real.__main__ import EVERYTHING
from tests.locks.real.catalogue import Program as RealProgram
from tests.locks.real.workplace import room, until
from vespiary.errors import ConfigurationError
from vespiary.prove.locks.attach import Snapshot, snapshot
from vespiary.prove.locks.preload import environment
from vespiary.prove.locks.snapshots import as_text

LOOKS = 100
ATTEMPTS_MAX = 100
FOUND = "in the circle"
HANG_SECONDS_MAX = 60.0
BARE_SECONDS_MAX = 10.0
"""Of a hang of C and C++ as it is: later it is started again with the library preloaded."""
STOP_SECONDS = 30.0
HEALTHY = (
    "memcached",
    "redis",
    "nginx",
    "postgresql",
    "mariadb",
    "varnish",
    "unbound",
    "bind",
    "http.server",
    "gunicorn-threads",
    "gunicorn-prefork",
    "xz",
    "zstd",
    "sqlite",
    "perl",
    "chromium",
)
"""Those with threads or processes that share locks, of tests/locks/real."""


def descendants(root: int) -> list[int]:
    """A process and all that come from it."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        parents.setdefault(parent, []).append(int(path.parent.name))
    found, work = [], [root]
    while work:
        pid = work.pop()
        found.append(pid)
        work += parents.get(pid, [])
    return found


@contextmanager
def _working(program: RealProgram, seconds: float) -> Iterator[int]:
    """The number of a real program that works as long as this lasts, or until it is done."""
    with room() as here:
        command = program.start(here)
        with (here.folder / "said").open("w") as said:
            process = subprocess.Popen(
                command,
                cwd=here.folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        load = None
        try:
            if program.load is not None:
                until(lambda: program.is_ready(here), lambda: process.poll() is not None)
                load = threading.Thread(target=program.load, args=(here, seconds))
                load.start()
            yield process.pid
        finally:
            if load is not None:
                load.join()
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def look_at_healthy(program: RealProgram, looks: int) -> tuple[int, int, list[str]]:
    """How often a program was looked at, at how many waits, and what was reported.

    A command that ends by itself is started again until there were enough looks.
    """
    count = waits = attempts = 0
    reported: list[str] = []
    while count < looks:
        before = count
        attempts += 1
        with _working(program, max(5.0, looks * 0.15)) as root:
            while count < looks and Path(f"/proc/{root}").exists():
                for pid in descendants(root):
                    try:
                        seen = snapshot(pid)
                    except ConfigurationError:
                        continue  # It has ended, or was just made.
                    count += 1
                    waits += len(seen.waiting)
                    if seen.findings:
                        reported.append(as_text(seen))
                if _has_ended(root):
                    break
        if count == before and attempts >= ATTEMPTS_MAX:
            break  # It ends before it can be looked at.
    return count, waits, reported


def _has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def look_at_hang(program: Program) -> str:
    """What is seen of a program that deadlocks: the number of threads in the circle, or why not."""
    if program.path.suffix != ".py":
        command = [str(BARE.build(program.path, "-O1")), *program.arguments]
        said = _look_at_hang(command, dict(os.environ), BARE_SECONDS_MAX)
        if FOUND not in said:
            said = f"{_look_recorded(command)} (with its record)"
        return said
    return _look_recorded([sys.executable, str(program.path), *program.arguments])


def _look_recorded(command: Sequence[str]) -> str:
    with tempfile.TemporaryDirectory(prefix="vespiary-attached-") as folder:
        return _look_at_hang(command, environment(Path(folder), None), HANG_SECONDS_MAX)


def _look_at_hang(command: Sequence[str], variables: dict[str, str], seconds: float) -> str:
    process = subprocess.Popen(
        command,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return _until_found(process, seconds)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _until_found(process: subprocess.Popen[bytes], seconds: float) -> str:
    deadline = time.monotonic() + seconds
    seen: Snapshot | None = None
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return f"it ended with {process.returncode}"
        for pid in descendants(process.pid):
            try:
                seen = snapshot(pid)
            except ConfigurationError:
                continue
            if seen.findings:
                (finding, *_) = seen.findings
                return f"{len(finding.steps)} {FOUND}"
        time.sleep(0.05)
    return "nothing was found: " + (as_text(seen) if seen is not None else "not seen")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benches.locks.attached", description=__doc__)
    parser.add_argument("--looks", type=int, default=LOOKS, help=f"per program ({LOOKS})")
    parser.add_argument("--jobs", type=int, default=2, help="hangs at the same time (2)")
    parser.add_argument("--only", default="", help="programs whose name holds this text")
    parser.add_argument("--part", choices=("healthy", "hangs"), help="one of the two (both)")
    return parser.parse_args()


def _hangs(only: str) -> Sequence[Program]:
    return [
        program
        for path, forms in bugs.programs().items()
        for form, program in forms
        if form == "hang" and program.expected == "deadlock" and only in path.name
    ]


def main() -> int:
    """Look at all; 1 if a healthy program was reported, or a hang was not."""
    given = _arguments()
    os.environ["NATIVE"] = str(BARE.build(PROGRAMS / "native.c", "-shared", "-fPIC"))
    os.environ["PYTHONPATH"] = str(PROGRAMS)
    lines: list[str] = []

    def add(*more: str) -> None:
        lines.extend(more)
        print("\n".join(more), flush=True)

    wrong = looked = 0
    add("| healthy program | looks | waits seen | reported |", "|---|---:|---:|---:|")
    for program in EVERYTHING if given.part != "hangs" else ():
        if program.name not in HEALTHY or program.path is None or given.only not in program.name:
            continue
        count, waits, reported = look_at_healthy(program, given.looks)
        looked += 1
        wrong += len(reported)
        add(f"| {program.name} | {count} | {waits} | {len(reported)} |")
        sys.stderr.write("\n".join(reported[:3]))
    add("", "| hang | seen |", "|---|---|")
    hangs = _hangs(given.only) if given.part != "healthy" else ()
    with ThreadPoolExecutor(given.jobs) as pool:
        for hang, said in zip(hangs, pool.map(look_at_hang, hangs), strict=True):
            wrong += FOUND not in said
            add(f"| {hang.path.name} | {said} |")
    add("", f"{looked} healthy programs, {len(hangs)} hangs, {wrong} wrong.")
    if not given.only and given.part is None:
        head = (
            f"{time.strftime('%Y-%m-%d')}; {machine.in_words(machine.describe())}; the load of the"
            f" machine at the end was {os.getloadavg()[0]:.0f}. `python -m benches.locks.attached`"
            " writes this page."
        )
        path = RESULTS / f"{time.strftime('%Y-%m-%d')}-locks-attached.md"
        title = "# What `vespiary locks attach` says of healthy programs, and of hangs"
        path.write_text("\n".join([title, "", head, "", *lines]) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
