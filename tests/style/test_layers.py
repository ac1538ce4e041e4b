"""The crates' layers point one way, and only three of them may contain `unsafe`."""

import re
import tomllib
from pathlib import Path

import pytest

CRATES = Path(__file__).resolve().parents[2] / "crates"

MAY_USE: dict[str, set[str]] = {
    "trace": set(),
    "wire": {"trace"},
    "port": set(),
    "lockwatch": set(),
    "engine": {"trace", "wire", "port"},
    "load": {"wire", "port"},
    "tls": {"engine"},
    "python": {"trace", "wire", "port", "engine", "load", "tls"},
}
"""Crate: which of ours it may name. A lower layer never names a higher one."""

UNSAFE_ALLOWED = {"port", "python", "trace", "lockwatch"}
"""Who knows the kernel, who knows Python, and who maps a file that others share."""

crates = sorted(path.parent.name for path in CRATES.glob("*/Cargo.toml"))


def used(crate: str) -> set[str]:
    """The crates of ours that a crate depends on, for building or for its tests."""
    manifest = tomllib.loads((CRATES / crate / "Cargo.toml").read_text())
    tables = ("dependencies", "dev-dependencies", "build-dependencies")
    names = {name for table in tables for name in manifest.get(table, {})}
    prefix = "vespiary-"
    return {name.removeprefix(prefix) for name in names if name.startswith(prefix)}


def test_every_crate_has_its_place_in_the_layers() -> None:
    assert set(crates) == set(MAY_USE)


@pytest.mark.parametrize("crate", crates)
def test_a_crate_names_only_the_layers_below_it(crate: str) -> None:
    assert used(crate) <= MAY_USE[crate]


@pytest.mark.parametrize("crate", [name for name in crates if name not in UNSAFE_ALLOWED])
def test_a_crate_without_need_for_unsafe_forbids_it(crate: str) -> None:
    assert "#![forbid(unsafe_code)]" in (CRATES / crate / "src" / "lib.rs").read_text()


@pytest.mark.parametrize("crate", crates)
def test_a_crate_takes_the_lints_of_the_workspace(crate: str) -> None:
    manifest = tomllib.loads((CRATES / crate / "Cargo.toml").read_text())
    assert manifest["lints"] == {"workspace": True}


def test_the_marks_have_no_dependency_and_no_unsafe_in_a_normal_build() -> None:
    manifest = tomllib.loads((CRATES / "trace" / "Cargo.toml").read_text())
    assert all(entry["optional"] for entry in manifest["dependencies"].values())
    assert "default" not in manifest["features"]
    assert (
        '#![cfg_attr(not(feature = "probes"), forbid(unsafe_code))]'
        in (CRATES / "trace" / "src" / "lib.rs").read_text()
    )


ABOVE_PYTHON = (
    "c11 execs frees handovers loader mutexes once processes read_write_locks semaphores spin_locks"
    " start streams thread_calls"
)
"""Modules of lockwatch that stand before the C library's functions, and its beginning."""


def _used_by(module: str) -> set[str]:
    """The modules of lockwatch that one of them names."""
    folder = CRATES / "lockwatch" / "src"
    files = [folder / f"{module}.rs", *(folder / module).rglob("*.rs")]
    found: set[str] = set()
    for file in filter(Path.exists, files):
        text = re.sub(r"//.*", "", file.read_text())
        found |= set(re.findall(r"\bcrate::(\w+)", text))
        for listed in re.findall(r"\bcrate::\{([^}]*)\}", text):
            found |= {each.strip().partition("::")[0] for each in listed.split(",")}
    return found


lockwatch = sorted(
    path.stem
    for path in (CRATES / "lockwatch" / "src").iterdir()
    if path.stem not in ("lib", *ABOVE_PYTHON.split())
)


@pytest.mark.parametrize("module", lockwatch)
def test_what_records_locks_names_no_interpreter_and_no_function_of_c(module: str) -> None:
    above = set(ABOVE_PYTHON.split()) | {"python"} - {module}
    assert len(lockwatch) > 20
    assert _used_by(module) & above == set()
