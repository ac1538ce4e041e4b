"""The library that is preloaded into programs, and the environment that does it."""

from __future__ import annotations

import os
from pathlib import Path

from vespiary.errors import ConfigurationError

__all__ = ["LIBRARY", "environment", "library", "room"]

LIBRARY = "_lockwatch.so"
"""The file's name: what is loaded under it is ours."""


_MEMORY_FILES = Path("/dev/shm")
_ROOM_BYTES = 2 << 30


def library() -> Path:
    """The library that is preloaded.

    Raises:
        ConfigurationError: it is not there.
    """
    path = Path(__file__).resolve().parents[2] / LIBRARY
    if not path.exists():
        raise ConfigurationError(
            f"{path} is missing: it is part of the wheel; in a checkout `make build` builds it",
            subject="library",
        )
    return path


def environment(folder: Path, perturb: int | None) -> dict[str, str]:
    """The environment of a program that is watched: the library, where it writes, its delays.

    As root's program may become another user, as servers do, the folder is opened to all then.
    """
    path = library()
    notes = folder / "notes"
    notes.touch(0o600)
    if os.geteuid() == 0:
        notes.chmod(0o622)
        # Anybody may make a file, and nobody may see, change or remove another's.
        folder.chmod(0o1733)
        may_execute = not os.statvfs(folder).f_flag & os.ST_NOEXEC
        if may_execute and not _is_open_to_all(path):
            import shutil

            path = Path(shutil.copy(path, folder))
    variables = dict(os.environ)
    preloaded = variables.get("LD_PRELOAD", "")
    variables["LD_PRELOAD"] = " ".join(filter(None, [str(path), preloaded]))
    variables["VESPIARY_LOCKS"] = str(folder)
    if perturb is not None:
        variables["VESPIARY_LOCKS_PERTURB"] = str(perturb)
    return variables


def _is_open_to_all(path: Path) -> bool:
    """Whether every user can come to a file and read it."""
    return bool(path.stat().st_mode & 0o004) and all(
        parent.stat().st_mode & 0o001 for parent in path.parents
    )


def room() -> Path | None:
    """Where a run's folder goes: in memory if there is much room, else None, as temporary files do.

    On a disk a process would wait for it at the first write to each page of its record.
    """
    try:
        seen = os.statvfs(_MEMORY_FILES)
    except OSError:
        return None
    has_room = seen.f_bavail * seen.f_frsize > _ROOM_BYTES and os.access(_MEMORY_FILES, os.W_OK)
    return _MEMORY_FILES if has_room else None
