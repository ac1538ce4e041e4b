"""Read a suite file; what is wrong is reported with its line, its key and what was expected."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vespiary._toml_files import (
    FileError,
    KeyPath,
    Problem,
    dotted,
    line_of,
    lines_of_keys,
    parsed,
)
from vespiary.errors import ConfigurationError
from vespiary.prove.acceptance.meaning import problems_of
from vespiary.prove.acceptance.suite import Suite

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["SuiteError", "read_suite"]

_EXPECTED = {
    "string_type": "expected a string",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "bool_type": "expected true or false",
    "list_type": "expected a list",
    "dict_type": "expected a table",
    "dataclass_type": "expected a table",
    "dataclass_exact_type": "expected a table",
}
_UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")


class SuiteError(FileError):
    """A suite file is wrong."""


def read_suite(path: Path) -> Suite:
    """Read and check a suite file.

    Raises:
        SuiteError: it cannot be read, or something in it is wrong.
        ConfigurationError: pydantic is not installed.
    """
    try:
        from pydantic import ValidationError
    except ImportError:
        raise ConfigurationError(
            "suite files are read with pydantic: pip install 'vespiary[prove]'", subject=str(path)
        ) from None
    text, data = parsed(path, SuiteError)
    found: list[Problem]
    try:
        suite = _adapter().validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        found = list(_problems(error.errors(include_url=False)))
    else:
        found = problems_of(suite, data)
        if not found:
            return suite
    lines = lines_of_keys(text)
    found.sort(key=lambda problem: line_of(lines, problem.path))
    raise SuiteError(path, [_text(path, lines, problem) for problem in found])


@cache
def _adapter() -> TypeAdapter[Suite]:
    from pydantic import TypeAdapter

    return TypeAdapter(Suite)


def _text(path: Path, lines: dict[KeyPath, int], problem: Problem) -> str:
    """A problem as a line: file, line, key, what was expected."""
    line = line_of(lines, problem.path)
    return f"{path}:{line}: {dotted(problem.path)}: {problem.text}"


def _problems(errors: Sequence[Any]) -> Iterator[Problem]:
    """What pydantic found, in our words; several complaints about one value are one.

    A key that is missing because it is misspelt is reported once.
    """
    seen = set()
    for error in sorted(errors, key=lambda error: error["type"] not in _UNKNOWN):
        path = _own_path(error["loc"])
        if path not in seen:
            seen.add(path)
            if error["type"] in _UNKNOWN and (near := _near(path)):
                seen.add((*path[:-1], near))
            yield Problem(path, _words(path, error))


def _words(path: KeyPath, error: Any) -> str:
    """What was expected."""
    kind: str = error["type"]
    if kind in _UNKNOWN:
        near, known = _near(path), _keys(_type_at(path[:-1]))
        advice = f"did you mean {near!r}?" if near else f"expected one of {', '.join(known)}"
        return f"unknown key: {advice}"
    if kind in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return "is missing: it must be given"
    if kind == "literal_error":
        return f"expected {error['ctx']['expected']}"
    if kind == "value_error":
        return f"{error['msg'].removeprefix('Value error, ')}; got {error['input']!r}"
    wanted = _type_at(path)
    if _is_name_or_list(wanted):
        return "expected a name or a number, or a list of these"
    return f"{_EXPECTED.get(kind, error['msg'])}; got {error['input']!r}"


def _near(path: KeyPath) -> str | None:
    """The known key that an unknown one is most like."""
    near = get_close_matches(str(path[-1]), _keys(_type_at(path[:-1])), n=1, cutoff=0.6)
    return near[0] if near else None


def _own_path(place: Sequence[str | int]) -> KeyPath:
    """The path without what pydantic adds to tell the members of a union apart."""
    path: KeyPath = ()
    for part in place:
        kind = _type_at(path)
        is_ours = isinstance(part, int) or is_dataclass(kind) or _origin(kind) is dict
        if not is_ours:
            break
        path = (*path, part)
    return path


def _origin(kind: Any) -> Any:
    return typing.get_origin(kind)


def _is_name_or_list(kind: Any) -> bool:
    return _origin(kind) is types.UnionType and list in map(_origin, typing.get_args(kind))


def _keys(kind: Any) -> list[str]:
    return [each.name for each in fields(kind)] if is_dataclass(kind) else []


def _type_at(path: KeyPath) -> Any:
    """The type of what stands at a path of a suite; None where nothing may."""
    kind: Any = Suite
    for part in path:
        if is_dataclass(kind) and isinstance(kind, type):
            kind = typing.get_type_hints(kind).get(str(part))
        elif _origin(kind) in (dict, list):
            kind = typing.get_args(kind)[-1]
        else:
            return None
        if _origin(kind) in (types.UnionType, typing.Union):
            others = [each for each in typing.get_args(kind) if each is not type(None)]
            kind = others[0] if len(others) == 1 else kind
    return kind
