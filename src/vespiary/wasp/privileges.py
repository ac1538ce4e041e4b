"""Another user and group for a server that was started as root to bind its ports."""

from __future__ import annotations

import grp
import os
import pwd

from vespiary._suggestions import advice
from vespiary._toml_files import Problem
from vespiary.wasp.reading import Source
from vespiary.wasp.schema import ConfigurationTable

__all__ = ["check_user", "drop_privileges"]


def check_user(source: Source, table: ConfigurationTable) -> None:
    """Report a user or a group that this machine does not have, or that cannot be taken."""
    if table.user is not None:
        known = [entry.pw_name for entry in pwd.getpwall()]
        if table.user not in known:
            text = f"there is no user {table.user!r}: {_near(table.user, known)}"
            source.report(Problem(("user",), text))
    if table.group is not None:
        known = [entry.gr_name for entry in grp.getgrall()]
        if table.group not in known:
            text = f"there is no group {table.group!r}: {_near(table.group, known)}"
            source.report(Problem(("group",), text))
        if table.user is None:
            source.report(Problem(("group",), "is used with user only: write user too"))


def _near(name: str, known: list[str]) -> str:
    found = advice(name, known)
    return found if found.startswith("did you mean") else "create it, or remove the key"


def drop_privileges(table: ConfigurationTable) -> None:
    """Become the user of the configuration. There is no way back.

    Raises:
        PermissionError: this process is not root's.
    """
    if table.user is None:
        return
    user = pwd.getpwnam(table.user)
    if os.geteuid() == user.pw_uid and table.group is None:
        return
    if os.geteuid() != 0:
        raise PermissionError(
            f"only root can become the user {table.user!r}: start as root, or remove user"
        )
    group = user.pw_gid if table.group is None else grp.getgrnam(table.group).gr_gid
    os.initgroups(table.user, group)
    os.setgid(group)
    os.setuid(user.pw_uid)
