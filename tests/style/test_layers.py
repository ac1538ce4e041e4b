"""The crates' layers point one way, and only two of them may contain `unsafe`."""

import tomllib
from pathlib import Path

import pytest

CRATES = Path(__file__).resolve().parents[2] / "crates"

MAY_USE: dict[str, set[str]] = {
    "wire": set(),
    "port": set(),
    "engine": {"wire", "port"},
    "load": {"wire", "port"},
    "python": {"wire", "port", "engine", "load"},
}
"""Crate: which of ours it may name. A lower layer never names a higher one."""

UNSAFE_ALLOWED = {"port", "python"}
"""Who knows the kernel and who knows Python; nobody else needs `unsafe`."""

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
