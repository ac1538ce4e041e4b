"""Run the examples' suite on three hosts: network namespaces of this machine, each with sshd.

    run_hosts.py [OPTION...]     options of `vespiary prove`, such as names of cases

A suite names its hosts itself, so this runs a copy of examples/ with three of them added. It needs
root and an OpenSSH server; without them it says so and runs nothing.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from steps import CHECKOUT

sys.path.insert(0, str(CHECKOUT))

from tests.prove.machines import Machine, machines
from vespiary.prove.folders import Held

HOSTS = 3
DISK = "2G"
"""Room for what several cases write at once, such as two databases of PostgreSQL."""


def main() -> int:
    """Run it; the exit status is that of `vespiary prove`."""
    with Held("vespiary-hosts-") as held:
        try:
            with machines(held.path, HOSTS, DISK) as made:
                return run(held.path / "examples", made)
        except pytest.skip.Exception as reason:
            print(f"run_hosts.py: not run: {reason}", file=sys.stderr)
            return 0


def run(examples: Path, made: list[Machine]) -> int:
    """Run the suite from a copy of the examples."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CHECKOUT / "examples", examples, ignore=ignored)
    suite = examples / "suite.toml"
    hosts = "".join(f"\n[hosts.machine{n}]\n{machine.table()}" for n, machine in enumerate(made))
    suite.write_text(suite.read_text() + hosts)
    command = [sys.executable, "-m", "vespiary", "prove", str(suite), *sys.argv[1:]]
    return subprocess.run(command, cwd=CHECKOUT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
