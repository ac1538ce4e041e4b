"""Names in braces in the texts of a configuration: environment variables, secrets, folders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vespiary._toml_files import KeyPath, Problem

__all__ = ["substitute"]

_NAME = re.compile(r"\$\$\{|\$\{([^{}]*)\}")
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_FORMS = (
    "expected ${NAME} or ${NAME:-default} for an environment variable, ${file:PATH} for the"
    " contents of a file, ${credential:NAME} for a credential of systemd, ${folder} for the folder"
    " of this file, or $${ for the characters themselves"
)


class _Wrong(Exception):
    """The text in braces has no meaning here."""


def substitute(
    data: dict[str, Any], folder: Path, environment: Mapping[str, str]
) -> tuple[dict[str, Any], dict[KeyPath, str], list[Problem]]:
    """Replace `${...}` in every text of a file.

    Args:
        data: What the file says.
        folder: The folder of the file: paths are relative to it.
        environment: The environment variables.

    Returns:
        The new data; each text that was changed, as it was written; and what is wrong.
    """
    written: dict[KeyPath, str] = {}
    problems: list[Problem] = []

    def walk(value: Any, path: KeyPath) -> Any:
        if isinstance(value, dict):
            return {key: walk(inner, (*path, key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [walk(inner, (*path, number)) for number, inner in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        written[path] = value
        try:
            return _NAME.sub(lambda match: _meant(match, folder, environment), value)
        except _Wrong as error:
            problems.append(Problem(path, str(error)))
            return value

    return walk(data, ()), written, problems


def _meant(match: re.Match[str], folder: Path, environment: Mapping[str, str]) -> str:
    name = match[1]
    if name is None:
        return "${"
    kind, colon, rest = name.partition(":")
    if name == "folder":
        return str(folder)
    if colon and kind == "file":
        return _contents(folder / rest, name)
    if colon and kind == "credential":
        credentials = environment.get("CREDENTIALS_DIRECTORY")
        if credentials is None:
            raise _Wrong(
                f"${{{name}}}: systemd has passed no credentials: the unit needs"
                f" LoadCredential={rest}:PATH"
            )
        return _contents(Path(credentials) / rest, name)
    found = _VARIABLE.fullmatch(name)
    if found is None:
        raise _Wrong(f"${{{name}}} has no meaning: {_FORMS}")
    variable, default = found.groups()
    value = environment.get(variable)
    if not value and default is not None:
        return str(default)
    if value is None:
        raise _Wrong(
            f"the environment variable {variable} is not set: set it, or write"
            f" ${{{variable}:-default}}"
        )
    return value


def _contents(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise _Wrong(f"${{{name}}}: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _Wrong(f"${{{name}}}: {path} is not valid UTF-8 text") from None
