"""From tables of a file to msgspec's structs, with every mistake that is in them.

`msgspec.convert` stops at the first mistake. So tables are followed here, and it converts what is
in them. A text that was substituted (`"${PORT}"`) is also taken for a number or a truth value.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Union, cast, get_args, get_origin

import msgspec
from msgspec import UNSET, UnsetType

from vespiary._suggestions import advice
from vespiary._toml_files import KeyPath, Problem
from vespiary.wasp.reading import Source
from vespiary.wasp.schema import OTHER_KEYS

__all__ = ["WRONG", "decode"]


class _Wrong:
    """The type of `WRONG`."""


WRONG: Final = _Wrong()
"""What stands for a value that is wrong, which has been reported."""

_PLAIN: dict[Any, str] = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}
_AT = re.compile(r" - at `\$(.*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\[\.\.\.\]")


def decode(source: Source, kind: Any, value: object, path: KeyPath) -> Any:
    """Return a value as the type that it must have.

    Args:
        source: The files: mistakes are reported to it.
        kind: A type that msgspec knows.
        value: What the file says.
        path: Where.

    Returns:
        The value, or `WRONG`. A key that is not known is reported and ignored, so that the rest of
        its table is checked too.
    """
    members = _members(kind)
    struct = next((one for one in members if _is_struct(one)), None)
    if struct is not None and isinstance(value, dict):
        return _table(source, struct, value, path)
    for one in members:
        origin, arguments = get_origin(one), get_args(one)
        if origin is dict and isinstance(value, dict) and _is_struct(arguments[1]):
            return _tables(source, arguments[1], value, path)
        if origin is list and isinstance(value, list):
            found = [
                decode(source, arguments[0], item, (*path, number))
                for number, item in enumerate(value)
            ]
            return WRONG if WRONG in found else found
    return _plain(source, kind, value, path)


def _members(kind: Any) -> tuple[Any, ...]:
    """The types of a union; what `Annotated` adds is removed."""
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return tuple(inner for one in get_args(kind) for inner in _members(one))
    return (kind,)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _tables(source: Source, kind: Any, value: Mapping[str, Any], path: KeyPath) -> Any:
    found = {name: decode(source, kind, inner, (*path, name)) for name, inner in value.items()}
    return WRONG if WRONG in found.values() else found


def _table(source: Source, kind: Any, value: Mapping[str, Any], path: KeyPath) -> Any:
    fields = {item.encode_name: item for item in msgspec.structs.fields(kind)}
    misspelt: set[str] = set()
    is_right = True
    for key in value:
        if key not in fields and kind.__struct_config__.forbid_unknown_fields:
            text = advice(key, fields, OTHER_KEYS.get(kind, {}))
            misspelt.update(name for name in fields if f"{name!r}" in text)
            source.report(Problem((*path, key), f"unknown key: {text}"))
    found = {}
    for key, item in fields.items():
        if key in value:
            found[item.name] = decode(source, item.type, value[key], (*path, key))
            is_right = is_right and found[item.name] is not WRONG
        elif item.required:
            is_right = False
            if key not in misspelt:
                source.report(Problem((*path, key), f"is missing: expected {_words(item.type)}"))
    if not is_right:
        return WRONG
    try:
        return kind(**found)
    except (ValueError, TypeError) as error:
        # Raised by the `__post_init__` of a plug-in's class.
        source.report(Problem(path, str(error)))
        return WRONG


def _plain(source: Source, kind: Any, value: object, path: KeyPath) -> Any:
    is_written = path in source.written
    try:
        return msgspec.convert(value, kind, strict=not is_written)
    except msgspec.ValidationError as error:
        inner = _AT.search(str(error))
        steps = _path(inner[1]) if inner else ()
        if steps:
            # The mistake is inside of a plug-in's type that only msgspec can look into.
            source.report(Problem((*path, *steps), _AT.sub("", str(error))))
        else:
            shown = source.shown(path, value)
            near = _near(kind, value)
            source.report(Problem(path, f"expected {_words(kind)}; got {shown}{near}"))
        return WRONG


def _path(text: str) -> KeyPath:
    steps = _STEP.finditer(text)
    return tuple(step[1] or int(step[2]) for step in steps if step[1] or step[2])


def _near(kind: Any, value: object) -> str:
    """What was meant by a text that is not one of those that are allowed."""
    texts = [
        text
        for one in _members(kind)
        if get_origin(one) is Literal
        for text in get_args(one)
        if isinstance(text, str)
    ]
    if not isinstance(value, str) or not texts:
        return ""
    found = advice(value, texts)
    return f": {found}" if found.startswith("did you mean") else ""


def _words(kind: Any) -> str:
    """What a type takes."""
    noted = _noted(kind)
    if noted is not None:
        return noted.removeprefix("expected ")
    words: list[str] = []
    for one in _members(kind):
        if one in (type(None), UnsetType, UNSET):
            continue
        words += _words_of(one)
    return ", or ".join(dict.fromkeys(words)) or "another value"


def _words_of(kind: Any) -> list[str]:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in _PLAIN:
        return [_PLAIN[kind]]
    if origin is Literal:
        return [f"one of {', '.join(map(repr, arguments))}"]
    if origin is list:
        inner = _PLAIN.get(arguments[0], "value").removeprefix("a ")
        return [f"a list of {inner}s"]
    if origin is dict or kind is dict or _is_struct(kind):
        return ["a table"]
    return [f"a value of the type {getattr(kind, '__name__', kind)}"]


def _noted(kind: Any) -> str | None:
    """The words that a type has of its own (`extra`)."""
    if get_origin(kind) is Annotated:
        for note in get_args(kind)[1:]:
            extra = cast("dict[str, str]", getattr(note, "extra", None) or {})
            if "expected" in extra:
                return extra["expected"]
        return _noted(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        found = [_noted(one) for one in get_args(kind)]
        return next((one for one in found if one is not None), None)
    return None
