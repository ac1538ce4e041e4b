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
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".cache" / "autobahn"
CONSTRAINTS = HERE / "constraints.txt"
REQUIREMENT = "autobahntestsuite"

AGENT = "vespiary"

HALVES = (
    ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.1.*", "9.2.*", "10.*"),
    ("9.3.*", "9.4.*", "9.5.*", "9.6.*", "9.7.*", "9.8.*"),
)
"""The cases, cut so that both halves take about as long."""

CASE_COUNTS = {1: 16, 2: 11, 3: 7, 4: 10, 5: 20, 6: 145, 7: 37, 9: 54, 10: 1}
"""How many cases each group has in the pinned release."""

_PROBE = "import platform, sys, pip; print(platform.python_implementation(), sys.version_info[:2])"

# The folder is no virtual environment: addsitedir reads the .pth files that its namespace packages
# need. The suite's server would listen on every interface.
_LAUNCHER = """\
import site, sys
site.addsitedir(sys.argv[1])
del sys.argv[1]
import autobahntestsuite.fuzzing as fuzzing
from autobahntestsuite.wstest import run
listen = fuzzing.listenWS
fuzzing.listenWS = lambda factory, context: listen(factory, context, interface="127.0.0.1")
run()
"""


@dataclass(frozen=True)
class Verdict:
    """What the suite says of a case, and of how the connection was closed at its end."""

    behavior: str
    closing: str

    @property
    def is_ok(self) -> bool:
        """Whether nothing at all is to be said against it."""
        return self.behavior == self.closing == "OK"

    def __str__(self) -> str:
        if self.behavior == self.closing:
            return self.behavior
        return f"{self.behavior}, closing {self.closing}"


@dataclass(frozen=True)
class Suite:
    """The installed suite."""

    python: Path
    packages: Path

    def start(self, mode: str, folder: Path, spec: Mapping[str, object]) -> subprocess.Popen[bytes]:
        """Start the suite; log.txt and, at its end, index.json lie in the folder then."""
        folder.mkdir(parents=True)
        spec_file = folder / "spec.json"
        spec_file.write_text(json.dumps({**spec, "outdir": str(folder)}))
        arguments = ["-m", mode, "-s", str(spec_file), "--webport", "0"]
        with (folder / "log.txt").open("wb") as log:
            return subprocess.Popen(
                [self.python, "-u", "-c", _LAUNCHER, str(self.packages), *arguments],
                stdin=subprocess.DEVNULL,
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
            raise RuntimeError(f"VESPIARY_PYTHON27={named} is no CPython 2.7 with pip")
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


def free_port() -> int:
    """A port of the loopback interface that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


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


def read_verdicts(folders: Sequence[Path]) -> dict[str, Verdict]:
    """The verdicts in the reports, by the case's number."""
    verdicts = {}
    for folder in folders:
        index = folder / "index.json"
        assert index.exists(), f"no report; the log ends with\n{log_end(folder)}"
        for case, entry in json.loads(index.read_text()).get(AGENT, {}).items():
            verdicts[case] = Verdict(entry["behavior"], entry["behaviorClose"])
    return verdicts


def log_end(folder: Path) -> str:
    """The last lines of the suite's log."""
    return "\n".join((folder / "log.txt").read_text(errors="replace").splitlines()[-20:])


def objections(
    verdicts: Mapping[str, Verdict], exceptions: Mapping[str, tuple[str, str]]
) -> list[str]:
    """What is wrong: cases that were not run, verdicts not expected, exceptions not needed.

    `exceptions` has, for each case that is not strictly OK, the verdict and the reason for it.
    """
    found = []
    counts = dict.fromkeys(CASE_COUNTS, 0)
    for case in verdicts:
        group = int(case.partition(".")[0])
        counts[group] = counts.get(group, 0) + 1
    for group in sorted(CASE_COUNTS.keys() | counts.keys()):
        wanted = CASE_COUNTS.get(group, 0)
        if counts[group] != wanted:
            found.append(f"group {group}: {counts[group]} cases were run, not {wanted}")
    for case in sorted(verdicts.keys() | exceptions.keys(), key=_by_number):
        verdict = verdicts.get(case)
        expected, _ = exceptions.get(case, ("OK", ""))
        if verdict is None or str(verdict) != expected:
            found.append(f"case {case}: {verdict or 'not run'}, expected {expected}")
    return found


def _by_number(case: str) -> list[int]:
    return [int(part) for part in case.split(".")]
