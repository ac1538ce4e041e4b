"""Write the layout of the locks' records for Python, from the library's own (`make lock-layout`).

The preloaded library defines the files that it writes in `crates/lockwatch/src/layout.rs`:
constants, enumerations, and structures that are `repr(C)`. This program reads that file and writes
`src/vespiary/prove/locks/layout.py`, by the rules of C for where a field lies. A field that is an
array of structures is passed over; any other array comes as its bytes. Constants say where the
former begin, and where the fields that are read by themselves lie.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path("crates/lockwatch/src/layout.rs")
TARGET = Path("src/vespiary/prove/locks/layout.py")

HEAD = '''"""The layout of the files that the preloaded library writes.

Written by `make lock-layout` from `crates/lockwatch/src/layout.rs`; do not edit by hand.
"""

from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple
'''

_NUMBERS = {"u8": ("B", 1), "u32": ("I", 4), "u64": ("Q", 8)}
_WIDTH = 100
_READ_ALONE = {("Thread", "waiting")}
"""Fields that are read without the rest of their structure."""


@dataclass(frozen=True)
class Field:
    """One field of a structure: its type is a number's or a structure's, `count` times."""

    name: str
    kind: str
    count: int | None
    comment: str


@dataclass(frozen=True)
class Structure:
    """A structure: its fields in order, and how large it is."""

    name: str
    comment: str
    fields: tuple[Field, ...]
    size: int
    align: int


class Layout:
    """What the library's file defines."""

    def __init__(self, text: str) -> None:
        """Read it.

        Raises:
            ValueError: there is something in it that is not understood.
        """
        self.constants: dict[str, tuple[int | bytes, str]] = {}
        self.enumerations: dict[str, tuple[str, list[tuple[str, int, str]]]] = {}
        self.structures: dict[str, Structure] = {}
        self._written: dict[str, tuple[str, str]] = {}
        self._collect(text)
        for name in self._written:
            self._structure(name)

    def _collect(self, text: str) -> None:
        for item in re.finditer(
            r"(?P<comment>(?:^ *///[^\n]*\n)*)(?:^#\[[^\n]*\]\n)*^pub\(crate\) (?:"
            r"const (?P<constant>\w+): (?:usize|u32|u64) = (?P<value>[^;]+);"
            r"|enum (?P<enumeration>\w+) \{\n(?P<variants>.*?)^\}"
            r"|struct (?P<structure>\w+) \{\n(?P<fields>.*?)^\})",
            text,
            re.MULTILINE | re.DOTALL,
        ):
            comment = _words(item["comment"])
            if item["constant"]:
                self.constants[item["constant"]] = self._value(item["value"]), comment
            elif item["enumeration"]:
                variants = [
                    (name, int(number), _words(words))
                    for words, name, number in re.findall(
                        r"((?: *///[^\n]*\n)*) *(\w+) = (\d+),", item["variants"]
                    )
                ]
                self.enumerations[item["enumeration"]] = comment, variants
            else:
                self._written[item["structure"]] = comment, item["fields"]

    def _value(self, text: str) -> int | bytes:
        """A constant: a number, a shift, or eight letters."""
        letters = re.fullmatch(r'u64::from_le_bytes\(\*b"(.*)"\)', text)
        if letters:
            return letters[1].encode().decode("unicode_escape").encode("latin-1")
        shift = re.fullmatch(r"(\d+) << (\d+)", text)
        if shift:
            return int(shift[1]) << int(shift[2])
        if re.fullmatch(r"\d+", text):
            return int(text)
        raise ValueError(f"{SOURCE}: {text!r} is not a number, a shift or eight letters")

    def _structure(self, name: str) -> Structure:
        if name in self.structures:
            return self.structures[name]
        comment, text = self._written[name]
        fields = []
        for words, field, kind in re.findall(
            r"((?: *///[^\n]*\n)*) *(?:pub\(crate\) )?(\w+): ([^\n]+),", text
        ):
            array = re.fullmatch(r"\[(\w+); (\w+)\]", kind)
            plain, count = (array[1], self._count(array[2])) if array else (kind, None)
            if plain.startswith("Atomic"):
                plain = plain.removeprefix("Atomic").lower()
            if plain not in _NUMBERS and plain not in self._written:
                raise ValueError(f"{SOURCE}: the type {kind} of {name}.{field} is not known")
            fields.append(Field(field, plain, count, _words(words)))
        offset, align = 0, 1
        for each in fields:
            size, own = self._measure(each.kind)
            offset = _up(offset, own) + size * (each.count or 1)
            align = max(align, own)
        size = _up(offset, align)
        self.structures[name] = Structure(name, comment, tuple(fields), size, align)
        return self.structures[name]

    def _count(self, text: str) -> int:
        if text.isdigit():
            return int(text)
        value = self.constants[text][0]
        assert isinstance(value, int)
        return value

    def _measure(self, kind: str) -> tuple[int, int]:
        """Size and alignment of a type."""
        if kind in _NUMBERS:
            size = _NUMBERS[kind][1]
            return size, size
        structure = self._structure(kind)
        return structure.size, structure.align

    def read_by(self, structure: Structure) -> tuple[str, list[Field], Mapping[str, int]]:
        """How `struct` reads it, the fields that come of that, and where others begin."""
        text, offset = "<", 0
        fields: list[Field] = []
        elsewhere: dict[str, int] = {}
        for field in structure.fields:
            size, align = self._measure(field.kind)
            start = _up(offset, align)
            text += _pad(start - offset)
            offset = start + size * (field.count or 1)
            if field.kind in self.structures:
                elsewhere[field.name] = start
                text += _pad(offset - start)
            elif field.name == "reserved":
                text += _pad(offset - start)
            else:
                if (structure.name, field.name) in _READ_ALONE:
                    elsewhere[field.name] = start
                text += f"{offset - start}s" if field.count else _NUMBERS[field.kind][0]
                fields.append(field)
        return text + _pad(structure.size - offset), fields, elsewhere


def _up(offset: int, align: int) -> int:
    return -(-offset // align) * align


def _pad(count: int) -> str:
    return f"{count}x" if count else ""


def _words(comment: str) -> str:
    """The words of a comment, without what links to Rust."""
    words = " ".join(line.strip().removeprefix("///").strip() for line in comment.splitlines())
    return re.sub(r"\[(`[^`]*`)\]", r"\1", words)


def _constant_name(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()


def _wrapped(prefix: str, words: str) -> Iterator[str]:
    line = prefix
    for word in words.split():
        if len(line) + len(word) + 1 > _WIDTH and line.strip() != prefix.strip():
            yield line
            line = prefix
        line += word if line == prefix else f" {word}"
    yield line


def _docstring(indent: str, words: str) -> Iterator[str]:
    yield from _wrapped(indent, f'"""{words or "As it lies in the file."}"""')


def written(layout: Layout) -> str:
    """The module's text."""
    lines = [HEAD]
    for name, (value, comment) in layout.constants.items():
        if comment:
            lines += _wrapped("# ", comment)
        lines.append(f"{name}: Final = {value!r}".replace("'", '"'))
    for name, (comment, variants) in layout.enumerations.items():
        lines += ["", "", f"class {name}(IntEnum):", *_docstring("    ", comment), ""]
        for variant, number, words in variants:
            if words:
                lines += _wrapped("    # ", words)
            lines.append(f"    {_constant_name(variant)} = {number}")
    for structure in layout.structures.values():
        text, fields, elsewhere = layout.read_by(structure)
        name = structure.name
        lines += ["", "", f"class {name}(NamedTuple):", *_docstring("    ", structure.comment), ""]
        for field in fields:
            if field.comment:
                lines += _wrapped("    # ", field.comment)
            lines.append(f"    {_python(field.name)}: {'bytes' if field.count else 'int'}")
        constant = _constant_name(name)
        lines += ["", "", f'{constant}_STRUCT: Final = Struct("{text}")']
        lines += [
            f"{constant}_{_constant_name(field)}_OFFSET: Final = {offset}"
            for field, offset in elsewhere.items()
        ]
    return "\n".join(lines) + "\n"


def _python(name: str) -> str:
    """A field's name, where Python has a word of its own for it."""
    return {"from": "first"}.get(name, name)


def main() -> int:
    """Write the module; with `--check` say whether it is as it would be written."""
    text = written(Layout(SOURCE.read_text()))
    if "--check" in sys.argv[1:]:
        if TARGET.read_text() != text:
            print(f"{TARGET} is not what {SOURCE} says: make lock-layout")
            return 1
        return 0
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
