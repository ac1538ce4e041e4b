"""What a result was measured on and with: machine, kernel, versions."""

import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from benches.catalogue import HERE
from benches.provision import BOOST_HEADER, Toolbox

PACKAGES = (
    "aiofastnet",
    "aiohttp",
    "granian",
    "picows",
    "rloop",
    "socketify",
    "uvloop",
    "websockets",
)
_ASK = (
    "import json, sys, importlib.metadata as m\n"
    "found = {}\n"
    "for name in sys.argv[1:]:\n"
    "    try: found[name] = m.version(name)\n"
    "    except m.PackageNotFoundError: pass\n"
    "print(json.dumps(found))"
)


def _output(*command: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=30, cwd=HERE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _boost() -> str:
    if not BOOST_HEADER.exists():
        return ""
    found = re.search(r'BOOST_LIB_VERSION "([0-9_]+)"', BOOST_HEADER.read_text())
    return found.group(1).replace("_", ".") if found else ""


def describe() -> dict[str, object]:
    """The machine: processor, cores, memory, kernel."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": memory,
        "kernel": platform.release(),
        "distribution": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
    }


def in_words(facts: Mapping[str, object]) -> str:
    """What `describe` found as a phrase for a report; without the distribution."""
    memory = int(str(facts["memory_bytes"])) >> 30
    return f"{facts['processor']}, {facts['cores']} cores, {memory} GiB, Linux {facts['kernel']}"


def versions(toolbox: Toolbox) -> dict[str, str]:
    """The versions of everything measured, ours by its commit; what is absent is left out."""
    python = toolbox.words["python"]
    found: dict[str, str] = json.loads(_output(python, "-c", _ASK, *PACKAGES) or "{}")
    found["Python"] = _output(python, "-c", "import platform; print(platform.python_version())")
    found["Node"] = _output("node", "--version").removeprefix("v")
    found["Bun"] = _output(toolbox.words["bun"], "--version")
    package = Path(toolbox.words["modules"], "ws", "package.json")
    if package.exists():
        found["ws"] = json.loads(package.read_text())["version"]
    found["Boost"] = _boost()
    found["g++"] = _output("g++", "-dumpfullversion")
    found["rustc"] = _output("rustc", "--version").removeprefix("rustc ")
    commit = _output("git", "rev-parse", "--short=12", "HEAD")
    dirty = _output("git", "status", "--porcelain", "--untracked-files=no", "--", "..")
    found["vespiary"] = commit + (" with uncommitted changes" if dirty else "")
    return {name: version for name, version in sorted(found.items()) if version}
