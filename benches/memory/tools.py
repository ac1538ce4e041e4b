"""The ways to limit a program's memory that are compared, each as words before its command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vespiary.errors import ConfigurationError
from vespiary.prove.memory.limiters import choose

_CACHE = Path(__file__).resolve().parents[1] / ".cache"
_BENCHEXEC = "benchexec==3.35"


@dataclass(frozen=True)
class Tool:
    """A way to hold a limit.

    Attributes:
        name: What it is called.
        words: The command line that runs a command under a limit of so many bytes.
    """

    name: str
    words: Callable[[int, Sequence[str]], list[str]]


def available() -> tuple[list[Tool], dict[str, str]]:
    """Those that this machine allows, and why not the others."""
    tools: list[Tool] = []
    missing: dict[str, str] = {}
    for method in ("cgroup-v2", "cgroup-v1", "systemd", "sampling"):
        try:
            choose(None, method).limiter.close()
            tools.append(_ours(method))
        except ConfigurationError as error:
            missing[f"vespiary memory, {method}"] = str(error).partition(";")[0]
    tools.append(Tool("ulimit -v", _ulimit))
    for name, find in (("systemd-run", _systemd_run), ("runexec", _runexec)):
        found = find()
        if isinstance(found, Tool):
            tools.append(found)
        else:
            missing[name] = found
    return tools, missing


def _ours(method: str) -> Tool:
    def words(limit: int, command: Sequence[str]) -> list[str]:
        ours = [sys.executable, "-m", "vespiary", "memory", "--limit", str(limit)]
        return [*ours, "--method", method, "--", *command]

    return Tool(f"vespiary memory, {method}", words)


def _ulimit(limit: int, command: Sequence[str]) -> list[str]:
    return ["/bin/sh", "-c", f'ulimit -v {limit >> 10}; exec "$@"', "sh", *command]


def _systemd_run() -> Tool | str:
    whose = [] if os.geteuid() == 0 else ["--user"]
    start = ["systemd-run", *whose, "--scope", "--quiet", "-p", "MemorySwapMax=0"]
    try:
        done = subprocess.run(
            [*start, "true"], capture_output=True, text=True, timeout=20, check=False
        )
    except OSError as error:
        return str(error)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["it fails"])[-1]
    return Tool(
        "systemd-run -p MemoryMax",
        lambda limit, command: [*start, "-p", f"MemoryMax={limit}", "--", *command],
    )


def _runexec() -> Tool | str:
    venv = _CACHE / "benchexec"
    program = venv / "bin" / "runexec"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        install = [venv / "bin" / "python", "-m", "pip", "install", "--quiet", _BENCHEXEC]
        if subprocess.run(install, check=False).returncode:
            shutil.rmtree(venv)
            return "it could not be installed"
    start = [str(program), "--no-container", "--output", "/dev/null"]
    done = subprocess.run(
        [*start, "--memlimit", "100MB", "--", "/bin/true"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or "terminationreason" in done.stdout:
        return (done.stderr.strip().splitlines() or ["it fails"])[-1]
    return Tool(
        "runexec",
        lambda limit, command: [*start, "--memlimit", f"{limit}B", "--", *command],
    )
