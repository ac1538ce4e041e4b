"""A missing tool is named in one sentence, and the Makefile's help is complete."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
TOOLS = ("bash", "cut", "uname", "cargo", "rustc", "cc")


def need(folder: Path, without: str, python: str = sys.executable) -> tuple[int, str]:
    """Run tools/need.sh on a PATH that lacks one tool; its exit status and what it says."""
    for name in TOOLS:
        found = shutil.which(name)
        assert found, name
        # A script of its own keeps rustup's proxies working, which go by the name they are called.
        if name != without:
            script = folder / name
            script.write_text(f'#!/bin/sh\nexec {found} "$@"\n')
            script.chmod(0o755)
    done = subprocess.run(
        [str(shutil.which("bash")), "tools/need.sh", python],
        cwd=CHECKOUT,
        env={"PATH": str(folder), "HOME": str(Path.home())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_nothing_is_said_when_nothing_is_missing(tmp_path: Path) -> None:
    assert need(tmp_path, without="nothing") == (0, "")


@pytest.mark.parametrize(
    ("without", "words"),
    [("cargo", "cargo is missing: install Rust"), ("cc", "a C compiler (cc)")],
)
def test_a_missing_tool_is_named_in_one_sentence(tmp_path: Path, without: str, words: str) -> None:
    status, said = need(tmp_path, without)
    assert status == 1
    assert words in said
    assert "install" in said
    assert said.count("\n") == 1


def test_a_missing_python_is_named_in_one_sentence(tmp_path: Path) -> None:
    status, said = need(tmp_path, without="nothing", python="")
    assert status == 1
    assert said.startswith("make: CPython 3.11 to 3.14 is missing: install one")
    assert said.count("\n") == 1


def test_what_is_not_a_python_is_named_in_one_sentence(tmp_path: Path) -> None:
    status, said = need(tmp_path, without="nothing", python="/bin/false")
    assert status == 1
    assert said.startswith("make: /bin/false is not a CPython 3.11 or newer that runs")


def test_the_python_that_runs_this_is_found_by_its_version() -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    done = subprocess.run(
        ["tools/find_python.sh", version], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    found = subprocess.run(
        [done.stdout.strip(), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == version


def test_a_version_that_does_not_exist_is_not_found() -> None:
    done = subprocess.run(["tools/find_python.sh", "3.99"], cwd=CHECKOUT, check=False)
    assert done.returncode == 1


def test_help_lists_every_target_for_people() -> None:
    makefile = (CHECKOUT / "Makefile").read_text()
    helped = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    wanted = {
        "run",
        "test",
        "test-all",
        "test-everything",
        "check",
        "bench",
        "wheel",
        "docs",
        "system-deps",
        "conformance",
    }
    assert wanted <= helped
    done = subprocess.run(
        ["make", "help"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert all(f"  {target} " in done.stdout for target in helped)


def test_ci_forbids_skipping_and_runs_packages_checks_and_tests() -> None:
    script = (CHECKOUT / ".ci" / "run").read_text()
    assert "VESPIARY_FORBID_SKIPS=1" in script
    assert "make --keep-going system-deps check test test-all" in script


def test_every_system_package_has_a_reason() -> None:
    lines = (CHECKOUT / "tools" / "system-packages.txt").read_text().splitlines()
    packages = [line for line in lines if line and not line.startswith("#")]
    assert packages
    assert all(re.fullmatch(r"[a-z0-9.+-]+ {2,}\S.{15,}", line) for line in packages)
