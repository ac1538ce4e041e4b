"""Write catalogues, keeping what people wrote in them, comments and order of keys included.

A catalogue is not parsed and printed again. Its text is cut at the lines where tables begin. In
each piece only the lines of the keys that belong to the tool are replaced. Pieces of new
requirements go where the order of the text puts them.
"""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vespiary.prove.trace.catalogue import Requirement
from vespiary.prove.trace.normative import Sentence
from vespiary.prove.trace.revise import Revision
from vespiary.prove.trace.sections import number_key

__all__ = ["fresh_head", "guessed_roles", "rewritten"]

_TABLE = re.compile(r"^\s*\[")
_ROLE_WORDS = {
    "server": r"servers?|origin server",
    "client": r"clients?|user agents?|browsers?",
    "intermediary": r"intermediar(?:y|ies)|prox(?:y|ies)|gateways?|tunnels?",
    "endpoint": r"endpoints?|peers?|implementations?|sender|recipients?",
}
"""The words by which a sentence names a role; other roles are named by their own word."""


@dataclass(slots=True)
class _Piece:
    """The lines of a table, with the comments above it."""

    table: str
    lines: list[str]
    id: str = ""


def fresh_head(name: str, sections: tuple[str, ...], base: str) -> str:
    """The beginning of a catalogue that did not exist."""
    lines = ["[specification]", f"name = {_toml(name)}"]
    if sections:
        lines.append(f"sections = {_toml(list(sections))}")
    if base:
        lines.append(f"base = {_toml(base)}")
    return "\n".join(lines) + "\n"


def rewritten(
    text: str,
    revision: Revision,
    near: dict[str, str],
    by_hand: Sequence[Requirement] = (),
    reused: Mapping[str, str] | None = None,
    *,
    accept: bool = False,
    roles: Sequence[str] = (),
) -> str:
    """A catalogue's text after a revision.

    Args:
        text: The catalogue as it is.
        revision: What was found in the specification.
        near: For new sentences, by identifier: the requirement of the base that reads nearly so.
        by_hand: Requirements added by hand whose hash is to be written.
        reused: By identifier: the hash of the vanished requirement that had it before.
        accept: Take away the marks `suspect`, `was` and `moved_from` of revisions before.
        roles: Those that the catalogue declares.
    """
    pieces = _cut(text)
    by_id = {piece.id: piece for piece in pieces if piece.table == "requirement"}
    for piece in by_id.values():
        if accept:
            _set(piece, {"suspect": None, "was": None, "moved_from": None})
    gone = {requirement.id for requirement in revision.vanished}
    for identifier in gone:
        by_id[identifier].table = "vanished"
        by_id[identifier].lines = [
            line.replace("[[requirement]]", "[[vanished]]") for line in by_id[identifier].lines
        ]
    changed = {id(requirement) for requirement, _ in revision.changed}
    for requirement, sentence in revision.pairs:
        piece = by_id[requirement.id]
        _set(piece, _found_again(requirement, sentence, changed=id(requirement) in changed))
        piece.id = sentence.id
    for requirement in by_hand:
        suspect = {"suspect": True, "was": requirement.was} if requirement.suspect else {}
        _set(by_id[requirement.id], {"hash": requirement.hash, **suspect})
    pieces += [_fresh(sentence, near.get(sentence.id, ""), roles) for sentence in revision.new]
    for piece in pieces:
        if piece.table == "requirement" and piece.id in (reused or {}):
            _set(piece, {"suspect": True, "was": (reused or {})[piece.id] or None})
    return _put_together(pieces)


def _found_again(
    requirement: Requirement, sentence: Sentence, *, changed: bool
) -> dict[str, object]:
    """The keys that a requirement gets when its sentence was found."""
    values: dict[str, object] = {
        "id": sentence.id,
        "hash": sentence.hash,
        "keywords": list(sentence.keywords),
        "items": sentence.items or None,
    }
    if not requirement.keywords:
        values["level"] = sentence.level
    if changed and requirement.hash:
        values |= {"suspect": True, "was": requirement.was or requirement.hash}
        values["level"] = sentence.level
    if requirement.id != sentence.id:
        values["moved_from"] = requirement.id
    return values


def _fresh(sentence: Sentence, near: str, roles: Sequence[str]) -> _Piece:
    lines = [
        "[[requirement]]",
        f"id = {_toml(sentence.id)}",
        f"hash = {_toml(sentence.hash)}",
        f"level = {_toml(sentence.level)}",
        f"keywords = {_toml(list(sentence.keywords))}",
        f"role = {_toml(guessed_roles(sentence.text, roles))}",
    ]
    if sentence.items:
        lines.append(f"items = {sentence.items}")
    if near:
        lines.append(f"near = {_toml(near)}")
    return _Piece("requirement", [*lines, 'says = ""', 'why = ""', 'source = ""'], sentence.id)


def guessed_roles(sentence: str, roles: Sequence[str] = ()) -> list[str]:
    """On whom a sentence seems to fall: who is named nearest before its key words."""
    found: list[str] = []
    named = {**_ROLE_WORDS, **{role: rf"{re.escape(role)}s?" for role in roles}}
    for word in re.finditer(r"\b(?:MUST|SHALL|SHOULD|MAY|REQUIRED|RECOMMENDED)\b", sentence):
        before = sentence[: word.start()]
        places = {
            role: max(
                (m.start() for m in re.finditer(rf"\b(?:{words})\b", before, re.I)), default=-1
            )
            for role, words in named.items()
        }
        role = max(places, key=lambda name: places[name])
        if places[role] >= 0 and role not in found:
            found.append(role)
    return sorted(found)


def _cut(text: str) -> list[_Piece]:
    """The text's tables; what stands above the first is a piece without a table."""
    pieces = [_Piece("", [])]
    comments: list[str] = []
    quoted = ""
    for line in text.rstrip("\n").split("\n"):
        if not quoted and _TABLE.match(line) and not _is_array_line(pieces[-1]):
            pieces.append(_Piece(re.sub(r"[^\w].*$", "", line.strip().strip("[ ")), comments))
            comments = []
        elif not quoted and (not line.strip() or line.lstrip().startswith("#")):
            comments.append(line)
            continue
        pieces[-1].lines += comments
        comments = []
        pieces[-1].lines.append(line)
        for mark in ('"""', "'''"):
            if quoted in ("", mark) and line.count(mark) % 2:
                quoted = "" if quoted else mark
    pieces[-1].lines += comments
    for piece in pieces:
        piece.lines = _stripped(piece.lines)
        for line in piece.lines:
            identifier = re.match(r"""^\s*id\s*=\s*["']([^"']*)["']""", line)
            if identifier:
                piece.id = identifier[1]
    return [piece for piece in pieces if piece.lines]


def _is_array_line(piece: _Piece) -> bool:
    """Whether the last key's array is still open, so that `[` begins no table."""
    text = "\n".join(line for line in piece.lines if not line.lstrip().startswith("#"))
    bare = re.sub(r'"[^"\n]*"', "", re.sub(r"^\s*\[\[?[\w.]+\]\]?\s*$", "", text, flags=re.M))
    return bare.count("[") > bare.count("]")


def _stripped(lines: list[str]) -> list[str]:
    while lines and not lines[0].strip():
        lines = lines[1:]
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    return lines


def _set(piece: _Piece, values: dict[str, object]) -> None:
    """Replace the lines of keys; new ones go below `hash`, or else last; None takes one away."""
    for key, value in values.items():
        place = next(
            (n for n, line in enumerate(piece.lines) if re.match(rf"^\s*{key}\s*=", line)), None
        )
        line = f"{key} = {_toml(value)}"
        if place is not None and value is None:
            del piece.lines[place]
        elif place is not None:
            if _value(piece.lines[place]) != value:
                _drop_rest_of_array(piece.lines, place)
                piece.lines[place] = line
        elif value is not None:
            below = [n for n, old in enumerate(piece.lines) if re.match(r"^\s*(id|hash)\s*=", old)]
            piece.lines.insert(max(below, default=len(piece.lines) - 1) + 1, line)


def _value(line: str) -> object:
    """What a line assigns, if it is whole by itself."""
    try:
        return next(iter(tomllib.loads(line).values()))
    except tomllib.TOMLDecodeError:
        return None


def _drop_rest_of_array(lines: list[str], place: int) -> None:
    """An array over several lines goes with its key."""
    while lines[place].count("[") > lines[place].count("]") and place + 1 < len(lines):
        lines[place] += lines.pop(place + 1)


def _put_together(pieces: list[_Piece]) -> str:
    """The pieces in order: head, requirements by section and ordinal, vanished, the rest."""
    rest = {"": 0, "specification": 1, "erratum": 2, "requirement": 3, "vanished": 4}

    def place(piece: _Piece) -> tuple[int, tuple[tuple[int, int, str], ...], bool, int]:
        rank = rest.get(piece.table, 2)
        parts = piece.id.split("/")
        if rank < 3 or len(parts) != 3:
            return (rank, (), False, 0)
        number = parts[2].removeprefix("h")
        ordinal = int(number) if number.isdigit() else 0
        return (rank, number_key(parts[1]), parts[2].startswith("h"), ordinal)

    return "\n\n".join("\n".join(piece.lines) for piece in sorted(pieces, key=place)) + "\n"


def _toml(value: object) -> str:
    """A value as TOML; JSON's strings, numbers, truths and arrays are TOML's too."""
    return json.dumps(value, ensure_ascii=False)
