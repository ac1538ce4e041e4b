"""What is imported is what is used: nobody waits for the rest."""

import subprocess
import sys

import pytest

SLOW = {"asyncio", "concurrent.futures", "difflib", "json", "socket", "ssl", "tomllib", "xml"}
"""Modules of the standard library that take long, or bring many others."""


def loaded(script: str, *arguments: str) -> set[str]:
    """The modules that a new interpreter has loaded when a script has ended."""
    ending = (
        "import atexit, sys\n"
        "def tell(): print('loaded:', *sys.modules)\n"
        "atexit.register(tell)\n"
        "sys.argv = ['vespiary', *sys.argv[1:]]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", ending + script, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.stdout, done.stderr
    return set(done.stdout.rpartition("loaded: ")[2].split())


def ours(modules: set[str]) -> set[str]:
    return {name for name in modules if name.startswith("vespiary.")}


def test_the_package_imports_nothing_before_a_name_is_used() -> None:
    modules = loaded("import vespiary")
    assert ours(modules) == set()
    assert not SLOW & modules


def test_a_name_brings_what_it_needs_alone() -> None:
    modules = loaded("import vespiary; vespiary.CloseCode.NORMAL")
    assert ours(modules) == {"vespiary.close_code"}


COMMAND = "from vespiary.cli.main import main; main()"


def test_the_version_is_shown_without_any_command() -> None:
    modules = loaded(COMMAND, "--version")
    assert ours(modules) == {
        "vespiary._core",
        "vespiary._counted",
        "vespiary._credentials",
        "vespiary._printable",
        "vespiary.cli",
        "vespiary.cli.main",
        "vespiary.close_code",
        "vespiary.errors",
        "vespiary.headers",
    }


LOCKS = {
    "vespiary._counted",
    "vespiary._credentials",
    "vespiary._printable",
    "vespiary.cli",
    "vespiary.cli._files",
    "vespiary.cli._help",
    "vespiary.cli._quantities",
    "vespiary.cli._starting",
    "vespiary.cli.locks",
    "vespiary.cli.main",
    "vespiary.close_code",
    "vespiary.errors",
    "vespiary.headers",
    "vespiary.prove",
    "vespiary.prove.commands",
    "vespiary.prove.exits",
    "vespiary.prove.folders",
    "vespiary.prove.locks",
    "vespiary.prove.locks.binaries",
    "vespiary.prove.locks.exits",
    "vespiary.prove.locks.gaps",
    "vespiary.prove.locks.known",
    "vespiary.prove.locks.notes",
    "vespiary.prove.locks.outcome",
    "vespiary.prove.locks.paint",
    "vespiary.prove.locks.preload",
    "vespiary.prove.locks.report",
    "vespiary.prove.locks.run",
    "vespiary.prove.locks.survivors",
    "vespiary.prove.locks.tree",
    "vespiary.prove.program",
    "vespiary.prove.quantities",
    "vespiary.prove.signals",
}
"""What `vespiary locks` needs for a program that takes no lock."""


def test_locks_imports_what_reads_records_only_for_a_program_that_makes_one() -> None:
    modules = loaded(COMMAND, "locks", "--", "true")
    assert ours(modules) == LOCKS
    assert not SLOW & modules


@pytest.mark.parametrize("command", ["load", "memory", "timewait", "cert"])
def test_a_command_that_serves_nothing_imports_no_server_and_no_client(command: str) -> None:
    modules = ours(loaded(COMMAND, command, "--help"))
    assert f"vespiary.cli.{command}" in modules
    assert not {"vespiary.server", "vespiary.client", "vespiary.sync", "vespiary.loop"} & modules
