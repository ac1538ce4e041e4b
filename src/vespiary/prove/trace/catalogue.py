"""Catalogues: what a project knows of a specification's requirements, in files of TOML.

A catalogue holds identifiers, hashes, levels, roles and the project's own words; never the
specification's. `load` reads one and says of everything that is wrong where it stands and what to
do. Errata are applied on reading: one that is verified may change a requirement's level.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vespiary import _toml as toml
from vespiary.errors import ConfigurationError
from vespiary.prove.trace import files
from vespiary.prove.trace.identifiers import OURS, OWN
from vespiary.prove.trace.normative import LEVELS

__all__ = ["ROLES", "Catalogue", "Erratum", "Requirement", "load", "parsed"]

ROLES = ("server", "client", "endpoint", "intermediary", "user", "extension", "author")
"""On whom a requirement falls; `endpoint` is server and client. A catalogue may declare others."""

_LINK = re.compile(r"https?://\S+")
_STATUSES = ("verified", "reported", "held", "rejected")
_ANCHOR_WORDS_MAX = 8

_KEYS: dict[str, type] = {
    "id": str, "hash": str, "level": str, "keywords": list, "role": list, "says": str, "why": str,
    "source": str, "excluded": str, "erratum": int, "items": int, "anchor": str, "near": str,
    "same_as": str, "suspect": bool, "was": str, "moved_from": str, "todo": str,
}  # fmt: skip
_ERRATUM_KEYS: dict[str, type] = {
    "number": int, "status": str, "requirement": str, "level": str, "note": str
}  # fmt: skip
_SPECIFICATION_KEYS: dict[str, type] = {
    "name": str, "title": str, "url": str, "sections": list, "base": str, "roles": list
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement, as its catalogue has it.

    Attributes:
        id: Specification, section, ordinal (with `h` if it was added by hand); or the one that the
            specification gives it.
        specification: The name of its specification.
        hash: Of the sentence, or of what `anchor` finds; empty if nothing is to be compared.
        level: `MUST`, `MUST NOT`, `SHOULD`, `SHOULD NOT` or `MAY`; `must` of a rule without one.
        keywords: As the sentence has them.
        role: On whom it falls, of `ROLES`.
        says: The project's own short words for it.
        why: The use case or reason; empty when not known.
        source: Where the reason stands.
        excluded: Why it is not this project's, or cannot be checked; empty if it counts.
        todo: The address of the issue in which it is going to be met; empty if nothing is open.
        erratum: The number of the erratum that concerns it; 0 if none.
        items: The number of items in the list that it introduces.
        anchor: By hand: the first few words of the place in the specification.
        near: The requirement of the base specification that reads nearly so.
        same_as: The requirement that says the same and is traced instead.
        suspect: The words have changed since `says` was written.
        was: The hash before that.
        moved_from: Its identifier before the last revision.
        file: The catalogue.
        line: Where it begins there.
    """

    id: str
    specification: str
    hash: str = ""
    level: str = "must"
    keywords: tuple[str, ...] = ()
    role: tuple[str, ...] = ()
    says: str = ""
    why: str = ""
    source: str = ""
    excluded: str = ""
    todo: str = ""
    erratum: int = 0
    items: int = 0
    anchor: str = ""
    near: str = ""
    same_as: str = ""
    suspect: bool = False
    was: str = ""
    moved_from: str = ""
    file: str = ""
    line: int = 0

    @property
    def section(self) -> str:
        """The section's number; empty if the identifier does not have it."""
        return self.id.split("/")[1] if "/" in self.id else ""

    @property
    def by_hand(self) -> bool:
        """Whether a person added it: no key word says that it binds."""
        return self.id.rpartition("/")[2].startswith("h")


@dataclass(frozen=True, slots=True)
class Erratum:
    """A correction to the specification.

    Attributes:
        number: As the RFC editor counts them.
        status: `verified`, `reported`, `held` or `rejected`; only a verified one changes a level.
        requirement: The identifier that it concerns; empty if none.
        level: The level that the requirement has by it; empty if unchanged.
        note: What it says, in the project's words.
    """

    number: int
    status: str
    requirement: str = ""
    level: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A specification's requirements.

    Attributes:
        name: What identifiers begin with.
        title: Of the specification.
        url: Where it can be read.
        sections: The patterns of the sections that are traced; all if empty.
        base: The specification whose sentences are omitted here.
        roles: Those that it has besides `ROLES`.
        requirements: In the order of the file.
        errata: In the order of the file.
        vanished: By identifier: the hashes of what the specification's text has no longer.
    """

    name: str
    title: str = ""
    url: str = ""
    sections: tuple[str, ...] = ()
    base: str = ""
    roles: tuple[str, ...] = ()
    requirements: tuple[Requirement, ...] = ()
    errata: tuple[Erratum, ...] = ()
    vanished: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Reader:
    """Checks tables of one file, and gathers what is wrong."""

    file: str
    lines: list[int]
    wrong: list[str] = field(default_factory=list)
    roles: tuple[str, ...] = ()

    def complain(self, line: int, words: str) -> None:
        self.wrong.append(f"{self.file}:{line}: {words}")

    def check(self, table: Mapping[str, Any], keys: Mapping[str, type], line: int) -> bool:
        before = len(self.wrong)
        for key, value in table.items():
            if key not in keys:
                near = difflib.get_close_matches(key, keys, n=1)
                there = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(keys)}"
                self.complain(line, f"unknown key {key!r}: {there}")
            elif type(value) is not keys[key]:
                self.complain(line, f"{key} must be of type {keys[key].__name__}; got {value!r}")
            elif isinstance(value, list) and not all(isinstance(item, str) for item in value):
                self.complain(line, f"{key} must be a list of strings; got {value!r}")
        return len(self.wrong) == before


def load(path: Path) -> Catalogue:
    """Read a catalogue.

    Raises:
        ConfigurationError: Something in it is wrong; the text has every fault with its line.
    """
    return parsed(files.read(path), str(path), path.stem)


def parsed(text: str, file: str, name: str) -> Catalogue:
    """The catalogue that a TOML text is.

    Args:
        text: The file's content.
        file: What errors call it.
        name: The specification's, if the text does not say.
    """
    try:
        data = toml.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{file}: not valid TOML: {error}") from error
    reader = _Reader(file, _table_lines(text, "requirement"))
    _refuse_other_shapes(reader, data, text)
    head = data.get("specification", {})
    if not reader.check(head, _SPECIFICATION_KEYS, 1):
        raise ConfigurationError("\n".join(reader.wrong))
    name = str(head.get("name", name))
    reader.roles = tuple(map(str, head.get("roles", ())))
    if any(not role or re.search(r"\s", role) for role in reader.roles):
        reader.complain(1, f"roles must be single words; got {list(reader.roles)!r}")
    errata = _errata(reader, data.get("erratum", []), _table_lines(text, "erratum"))
    requirements = _requirements(reader, data.get("requirement", []), name, errata)
    if reader.wrong:
        raise ConfigurationError("\n".join(reader.wrong))
    return Catalogue(
        name=name,
        title=head.get("title", ""),
        url=head.get("url", ""),
        sections=tuple(head.get("sections", ())),
        base=head.get("base", ""),
        roles=reader.roles,
        requirements=tuple(requirements),
        errata=tuple(errata),
        vanished={
            str(table.get("id", "")): str(table.get("hash", ""))
            for table in data.get("vanished", [])
        },
    )


def _refuse_other_shapes(reader: _Reader, data: Mapping[str, Any], text: str) -> None:
    """Refuse what is not `[specification]` or a number of `[[requirement]]` and so on.

    Raises:
        ConfigurationError: With the table and how it is written.
    """
    lists = ("requirement", "erratum", "vanished")
    for key, value in data.items():
        if key not in ("specification", *lists):
            known = ", ".join(("specification", *lists))
            reader.complain(1, f"unknown table {key!r}: there are {known}")
        elif key == "specification" and not isinstance(value, dict):
            reader.complain(1, "specification must be a table: write it as [specification]")
        elif key in lists:
            count = len(value) if isinstance(value, list) else -1
            if count != len(_table_lines(text, key)):
                reader.complain(1, f"{key} must be tables: begin each with a line [[{key}]]")
    if reader.wrong:
        raise ConfigurationError("\n".join(reader.wrong))


def _table_lines(text: str, name: str) -> list[int]:
    """The lines on which tables `[[name]]` begin."""
    wanted = re.compile(rf"^\s*\[\[\s*{name}\s*\]\]")
    return [number for number, line in enumerate(text.split("\n"), 1) if wanted.match(line)]


def _requirements(
    reader: _Reader, tables: list[dict[str, Any]], name: str, errata: list[Erratum]
) -> list[Requirement]:
    found: list[Requirement] = []
    first: dict[str, int] = {}
    changed = {e.requirement: e for e in errata if e.status == "verified" and e.requirement}
    concerned = {e.requirement: e.number for e in errata if e.requirement}
    for table, line in zip(tables, reader.lines, strict=True):
        if not reader.check(table, _KEYS, line) or not _sound(reader, table, line, name):
            continue
        if table["id"] in first:
            reader.complain(
                line, f"{table['id']} is there twice: first on line {first[table['id']]}"
            )
        first.setdefault(table["id"], line)
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in table.items()
        }
        erratum = changed.get(table["id"])
        if erratum and erratum.level:
            values["level"] = erratum.level
        values.setdefault("erratum", concerned.get(table["id"], 0))
        found.append(Requirement(**values, specification=name, file=reader.file, line=line))
    for erratum in errata:
        if erratum.requirement and erratum.requirement not in first:
            reader.complain(1, f"erratum {erratum.number} concerns {erratum.requirement},"
                            " which is not in this catalogue")  # fmt: skip
    return found


def _sound(reader: _Reader, table: dict[str, Any], line: int, name: str) -> bool:
    """Check the values of one requirement."""
    before = len(reader.wrong)
    identifier = table.get("id", "")
    is_ours = OURS.fullmatch(identifier) and identifier.startswith(name + "/")
    if not is_ours and not OWN.fullmatch(identifier):
        reader.complain(line, f"id must be {name}/SECTION/ORDINAL, or one of the specification's"
                        f" own such as PAY-17; got {identifier!r}")  # fmt: skip
    if table.get("level", "must") not in (*LEVELS, "must"):
        reader.complain(line, f"level must be one of {', '.join(LEVELS)}, must;"
                        f" got {table['level']!r}")  # fmt: skip
    for role in table.get("role", ()):
        if role not in (*ROLES, *reader.roles):
            known = ", ".join((*ROLES, *reader.roles))
            reader.complain(line, f"role must be one of {known}; got {role!r}: another is declared"
                            " by roles = [...] below [specification]")  # fmt: skip
    for key in ("excluded", "todo"):
        if key in table and not table[key].strip():
            wanted = "say why" if key == "excluded" else "name the issue"
            reader.complain(line, f"{key} is blank: {wanted}, or take the line out")
            return False
    if table.get("todo") and not _LINK.fullmatch(table["todo"]):
        reader.complain(line, f"todo must be the address of an issue, https://...; got"
                        f" {table['todo']!r}")  # fmt: skip
    if table.get("todo") and table.get("excluded"):
        reader.complain(line, "it is both excluded and todo: choose one")
    if len(table.get("anchor", "").split()) > _ANCHOR_WORDS_MAX:
        reader.complain(line, f"anchor has more than {_ANCHOR_WORDS_MAX} words: the first few that"
                        " no other sentence of the section begins with are enough")  # fmt: skip
    return len(reader.wrong) == before


def _errata(reader: _Reader, tables: list[dict[str, Any]], lines: list[int]) -> list[Erratum]:
    found: list[Erratum] = []
    for table, line in zip(tables, lines, strict=True):
        if not reader.check(table, _ERRATUM_KEYS, line):
            continue
        if "number" not in table or table.get("status") not in _STATUSES:
            reader.complain(line, f"an erratum has a number and a status of {', '.join(_STATUSES)}")
        elif table.get("level", "must") not in (*LEVELS, "must"):
            reader.complain(line, f"level must be one of {', '.join(LEVELS)}, must")
        else:
            found.append(Erratum(**table))
    return found
