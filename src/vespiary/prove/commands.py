"""Why a command cannot be run."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from vespiary.errors import ConfigurationError

__all__ = ["check_command", "why_not"]


def check_command(command: Sequence[str]) -> None:
    """Refuse what no system call takes as a command.

    Raises:
        ConfigurationError: its first word is empty.
    """
    if not command[0]:
        error = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        raise ConfigurationError(why_not("", error), subject="command") from error


def why_not(command: str, error: OSError) -> str:
    """Why a command cannot be run, and what to do."""
    if not command:
        return "cannot run '': the command's first word is empty; is a variable not set?"
    text = f"cannot run {command!r}: {error.strerror}"
    found = shutil.which(command)
    path = found or command
    if isinstance(error, FileNotFoundError):
        if "/" not in command and found is None:
            near = f"; ./{command} is in this folder" if Path(command).exists() else ""
            return f"{text} on PATH{near}"
        if Path(path).exists():
            return f"{text}: the interpreter or dynamic linker that it asks for is not there"
        return text
    if isinstance(error, PermissionError):
        if Path(path).is_dir():
            return f"{text}: it is a folder"
        return f"{text}: if it is a program, make it executable with chmod +x"
    if error.errno == errno.ENOEXEC:
        return f"{text}: not a program; a script begins with #! and its interpreter"
    return text
