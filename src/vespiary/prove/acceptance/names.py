"""Names in braces for values that are known only when a case runs: `{port}`, `{folder}`.

`{{name}}` means `{name}` itself. Braces with any other content are not changed, so JSON and regular
expressions need no escaping.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

__all__ = ["NAMES", "PROGRAMS_PATH", "VESPIARY", "ports_in", "replaced", "used_in"]

NAMES: Final = {
    "artifacts": "the folder of files that reports keep",
    "driver": "the driver of the matrix",
    "folder": "an empty folder of the case, removed after it",
    "host": "the host of the matrix, or local",
    "port": "a free port; {port.NAME} is another one for each NAME",
    "python": "the Python of the matrix",
    "seed": "a number that decides what is random",
    "server.pid": "the process of the server, or of the tool that runs it",
    "suite": "the folder of the suite file",
    "tool": "the tool's name",
    "vespiary": "as a word of a command: the command `vespiary`",
    "workers": "the number of workers of the matrix",
}

VESPIARY: Final = "{vespiary}"

PROGRAMS_PATH: Final = "VESPIARY_PROVE_PYTHONPATH"
"""The variable with the PYTHONPATH of a case's programs; its own process has another."""
_NAME: Final = re.compile(r"\{(\{?)([a-z]+(?:\.[a-z0-9_-]+)?)\}(\}?)")


def used_in(text: str) -> Iterator[str]:
    """The names that a text uses, known or not."""
    for match in _NAME.finditer(text):
        if not (match[1] and match[3]):
            yield match[2]


def ports_in(text: str) -> set[str]:
    """The ports that a text uses: `port`, `port.admin`."""
    return {name for name in used_in(text) if name == "port" or name.startswith("port.")}


def replaced(text: str, value_of: Callable[[str], str]) -> str:
    """A text with the values of its names."""

    def value(match: re.Match[str]) -> str:
        if match[1] and match[3]:
            return "{" + match[2] + "}"
        return match[1] + value_of(match[2]) + match[3]

    return _NAME.sub(value, text)
