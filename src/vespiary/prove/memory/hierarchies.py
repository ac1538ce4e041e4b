"""Where control groups are mounted, and where this process is in them (cgroups(7))."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Hierarchy", "memory_version_1", "version_2"]


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A mounted tree of control groups.

    Attributes:
        top: Where it is mounted.
        own: The folder of this process's group.
    """

    top: Path
    own: Path


def version_2(proc: Path = Path("/proc/self")) -> Hierarchy | None:
    """The unified hierarchy; None where it is not mounted."""
    return _find(proc, "cgroup2", lambda options, names: names == "")


def memory_version_1(proc: Path = Path("/proc/self")) -> Hierarchy | None:
    """The version 1 hierarchy of the memory controller; None where there is none."""
    return _find(
        proc,
        "cgroup",
        lambda options, names: "memory" in options and "memory" in names.split(","),
    )


def _find(proc: Path, kind: str, fits: Callable[[list[str], str], bool]) -> Hierarchy | None:
    groups = [line.split(":", 2) for line in (proc / "cgroup").read_text().splitlines()]
    for line in (proc / "mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        fields, (mounted, _, options) = before.split(), after.split(" ", 2)
        if mounted != kind:
            continue
        for _, names, path in groups:
            if fits(options.split(","), names):
                top = Path(fields[4])
                below = os.path.relpath(path, fields[3])
                # In a namespace the own group may lie above what is mounted.
                return Hierarchy(top, top if below.startswith("..") else top / below)
    return None
