"""Options that ASGI and WSGI applications share, checked as they are given."""

from __future__ import annotations

from vespiary.errors import ConfigurationError

__all__ = ["check_root_path", "check_switch"]


def check_root_path(root_path: object) -> str:
    """Return a path without a slash at its end.

    Raises:
        ConfigurationError: it is not a path.
    """
    is_path = isinstance(root_path, str) and (not root_path or root_path.startswith("/"))
    if not is_path or not isinstance(root_path, str):
        raise ConfigurationError(
            f"root_path is empty, or a path that begins with a slash; got {root_path!r}",
            subject="root_path",
            value=root_path,
        )
    return root_path.rstrip("/")


def check_switch(name: str, value: object) -> bool:
    """Return a switch.

    Raises:
        ConfigurationError: it is not True or False.
    """
    if not isinstance(value, bool):
        raise ConfigurationError(
            f"{name} is True or False; got {value!r}", subject=name, value=value
        )
    return value
