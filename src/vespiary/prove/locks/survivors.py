"""Which processes of a run are still running."""

from __future__ import annotations

import contextlib
from pathlib import Path

__all__ = ["lives", "survivors"]


def survivors(folder: Path) -> list[int]:
    """The processes of the run that writes into a folder, whether they have a record or not."""
    mark = f"\0VESPIARY_LOCKS={folder}\0".encode()
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError), (path / "environ").open("rb", 0) as file:
                if mark in b"\0" + file.read():
                    found.append(int(path.name))
    return found


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"
