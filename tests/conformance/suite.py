"""Autobahn|Testsuite: found a Python for, installed into the checkout's cache, and run.

The suite speaks to us as a client (`fuzzingclient`) or as a server (`fuzzingserver`) and writes its
verdict on each case into `index.json`. It runs on CPython 2.7 only. Its packages go into a folder
of their own under `.cache/`, named after the constraints, so that changed pins make a new one.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".cache" / "autobahn"
CONSTRAINTS = HERE / "constraints.txt"
REQUIREMENT = "autobahntestsuite"

AGENT = "vespiary"
"""What the suite's reports call us."""

RECORD_BYTES = 16
"""How long a case's number is in the queue, filled up with spaces."""

_PROBE = "import platform, sys, pip; print(platform.python_implementation(), sys.version_info[:2])"

# The folder is not a virtual environment: addsitedir reads the .pth files that its namespace
# packages need. The suite's server would listen on every interface. Each compression case would
# send 1,000 messages. And the suite's client would run the cases of a list, where several of them
# are to share one: each takes its next case from the pipe that is its standard input.
_LAUNCHER = """\
import os, site, sys
site.addsitedir(sys.argv[1])
messages, record_bytes = int(sys.argv[2]), int(sys.argv[3])
del sys.argv[1:4]
import autobahntestsuite.case as case
import autobahntestsuite.fuzzing as fuzzing
from autobahntestsuite.wstest import run

listen = fuzzing.listenWS
fuzzing.listenWS = lambda factory, context: listen(factory, context, interface="127.0.0.1")
for compressing in case.Case12_X_X + case.Case13_X_X:
    compressing.COUNT = messages

def take_next_case(factory):
    factory.currentCaseId = os.read(0, record_bytes).strip()
    factory.currentCaseIndex = factory.CaseSet.CasesIndices.get(factory.currentCaseId)
    return factory.currentCaseIndex is not None

fuzzing.FuzzingClientFactory.nextCase = take_next_case
run()
"""

_LISTER = """\
import site, sys
site.addsitedir(sys.argv[1])
import autobahntestsuite.case as case
for one in case.Cases:
    print(".".join(one.__name__[len(case.CaseBasename):].split("_")))
"""


@dataclass(frozen=True)
class Suite:
    """The installed suite."""

    python: Path
    packages: Path

    def cases(self) -> list[str]:
        """The numbers of all cases that it has."""
        command: list[str | Path] = [self.python, "-c", _LISTER, self.packages]
        told = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, env=_environment(), check=True
        )
        return told.stdout.split()

    def start(
        self,
        mode: str,
        folder: Path,
        spec: Mapping[str, object],
        messages: int,
        queue: int = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        """Start the suite; log.txt and, at its end, index.json lie in the folder then.

        Args:
            mode: `fuzzingclient` or `fuzzingserver`.
            folder: Where it writes; it is made.
            spec: The configuration of the suite.
            messages: How many a compression case sends.
            queue: A pipe with the cases of a fuzzing client, as `queue_of` fills it.
        """
        folder.mkdir(parents=True)
        spec_file = folder / "spec.json"
        spec_file.write_text(json.dumps({**spec, "outdir": str(folder)}))
        numbers = [str(messages), str(RECORD_BYTES)]
        arguments = ["-m", mode, "-s", str(spec_file), "--webport", "0"]
        with (folder / "log.txt").open("wb") as log:
            return subprocess.Popen(
                [self.python, "-u", "-c", _LAUNCHER, str(self.packages), *numbers, *arguments],
                stdin=queue,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(),
            )


def find_python() -> Path | None:
    """A CPython 2.7 with pip, if this machine has one; VESPIARY_PYTHON27 names it, or forbids it.

    Errors:
        RuntimeError: VESPIARY_PYTHON27 names something else.
    """
    named = os.environ.get("VESPIARY_PYTHON27")
    if named is not None:
        if not named:
            return None
        if not _is_cpython27(Path(named)):
            raise RuntimeError(f"VESPIARY_PYTHON27={named} is not a CPython 2.7 with pip")
        return Path(named)
    return next((python for python in _candidates() if _is_cpython27(python)), None)


def _candidates() -> Iterator[Path]:
    for name in ("python2.7", "python2"):
        if found := shutil.which(name):
            yield Path(found)
    roots = [os.environ.get("PYENV_ROOT"), str(Path.home() / ".pyenv")]
    if pyenv := shutil.which("pyenv"):
        told = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False)
        roots.append(told.stdout.strip())
    for root in filter(None, roots):
        yield from sorted(Path(root).glob("versions/2.7*/bin/python"), reverse=True)


def _is_cpython27(python: Path) -> bool:
    try:
        told = subprocess.run(
            [python, "-c", _PROBE], capture_output=True, text=True, env=_environment(), check=False
        )
    except OSError:
        return False
    return told.stdout.strip() == "('CPython', (2, 7))"


def _environment() -> dict[str, str]:
    """Ours, without what concerns another Python, or pip's habits at home."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON") and name not in ("VIRTUAL_ENV", "PIP_CONSTRAINT")
    }
    return {**kept, "PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0"}


def install(python: Path) -> Suite:
    """Install the suite, unless it is in the cache.

    Errors:
        RuntimeError: pip failed; the text has what it said.
    """
    key = hashlib.sha256(CONSTRAINTS.read_bytes() + str(python).encode()).hexdigest()[:12]
    packages = CACHE / key
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not packages.exists():
            fresh = CACHE / "fresh"
            shutil.rmtree(fresh, ignore_errors=True)
            _pip(python, fresh)
            fresh.rename(packages)
    return Suite(python, packages)


def _pip(python: Path, target: Path) -> None:
    command: list[str | Path] = [python, "-m", "pip", "install", "--quiet"]
    command += ["--disable-pip-version-check", "--no-warn-script-location"]
    command += ["--target", target, "--constraint", CONSTRAINTS, REQUIREMENT]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=_environment(),
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"pip of {python} could not install {REQUIREMENT}:\n{done.stdout}")


@contextlib.contextmanager
def stopping(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """End the process, whatever happens."""
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def queue_of(cases: Sequence[str]) -> Iterator[int]:
    """The read end of a pipe with the cases in it, from which several processes may take them.

    A read of a pipe is whole: no two readers get parts of one record (pipe(7)). All of them fit
    into a pipe's 64 KiB, so nobody ever waits.
    """
    records = b"".join(case.encode().ljust(RECORD_BYTES) for case in cases)
    reading, writing = os.pipe()
    try:
        os.set_blocking(writing, False)
        written = os.write(writing, records)
        os.close(writing)
        assert written == len(records)
        yield reading
    finally:
        os.close(reading)


def left_in(queue: int) -> int:
    """How many cases nobody has taken yet."""
    told = fcntl.ioctl(queue, termios.FIONREAD, b"\0" * 4)
    return int.from_bytes(told, sys.byteorder) // RECORD_BYTES


def log_end(folder: Path) -> str:
    """The last lines of the suite's log."""
    return "\n".join((folder / "log.txt").read_text(errors="replace").splitlines()[-20:])
