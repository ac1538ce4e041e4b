"""What takes part in the measurements of locks, and in which version."""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from benches.catalogue import HERE

SUPPORTED = ("3.11", "3.12", "3.13")


def _output(*command: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=30, cwd=HERE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout or done.stderr).strip() if done.returncode == 0 else ""


@cache
def python(executable: str) -> str:
    """The version of an interpreter, empty when there is none."""
    words = "import sys; print('CPython', '.'.join(map(str, sys.version_info[:3])))"
    return _output(executable, "-c", words)


@cache
def pythons() -> tuple[str, ...]:
    """An interpreter of each supported version: this one, those on the path, pyenv's."""
    homes = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = []
    for version in SUPPORTED:
        of_pyenv = sorted(homes.glob(f"{version}.*/bin/python"))
        on_path = shutil.which(f"python{version}")
        mine = sys.executable if sys.version.startswith(f"{version}.") else None
        for candidate in (mine, *map(str, of_pyenv), on_path):
            if candidate and python(candidate).startswith(f"CPython {version}."):
                found.append(candidate)
                break
    return tuple(found)


def _number(*command: str) -> str:
    told = re.search(r"\d+\.\d+[\w.]*", _output(*command))
    return told[0] if told is not None else ""


def found() -> dict[str, str]:
    """The versions by name; what is absent is left out."""
    commit = _output("git", "rev-parse", "--short=12", "HEAD")
    changed = _output("git", "status", "--porcelain", "--untracked-files=no", "--", "../crates")
    told = {
        "Vespiary": commit + (" with uncommitted changes" if changed else ""),
        "Valgrind (Helgrind, DRD)": _number("valgrind", "--version"),
        "gcc (ThreadSanitizer)": _output("gcc", "-dumpfullversion"),
        "glibc": _number("getconf", "GNU_LIBC_VERSION"),
        "memcached": _number("memcached", "--version"),
        "redis": _number("redis-server", "--version"),
        "CPython": ", ".join(python(it).removeprefix("CPython ") for it in pythons()),
    }
    return {name: version for name, version in told.items() if version}
