"""Find the sentences of a specification that bind, after RFC 2119 and RFC 8174.

A sentence is normative when it has a key word in capitals that is used, not mentioned: what is in
quotation marks is a mention, as is the sentence in which a specification declares its key words.
Each normative sentence is one requirement, identified by its place: specification, section and
ordinal in that section (`rfc6455/5.1/3`); or by the identifier with which it begins, where the
specification gives its requirements some (`PAY-17`). Its hash says whether the words are still the
same; the words themselves stay in the specification.

What may bind without a key word cannot be known by a program: sentences with a small must, steps of
an algorithm, rows of a table. They are offered as candidates, to be added by hand.
"""

import hashlib
import re
from dataclasses import dataclass

from vespiary.prove.trace.blocks import Block
from vespiary.prove.trace.documents import opened
from vespiary.prove.trace.identifiers import OWN
from vespiary.prove.trace.sections import selected
from vespiary.prove.trace.sentences import normalised, split

__all__ = [
    "LEVELS",
    "Candidate",
    "Sentence",
    "candidates",
    "digest",
    "keywords",
    "level",
    "own",
    "read",
]

LEVELS = ("MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY")
"""The levels of upper-case key words; a rule without one has level `must`."""

_OWN = re.compile(rf"([(\[*_`]*)({OWN.pattern})([)\]*_`:.]*)\s(?=(\s*\S+)?)")
_WELL_KNOWN = re.compile(r"(?:AES|BCP|ISO|MD|P|RFC|SHA|STD|UCS|UTF|US)-")
"""What looks like an identifier of a specification's own and is the name of something else."""

_SAME = {
    "SHALL": "MUST",
    "SHALL NOT": "MUST NOT",
    "REQUIRED": "MUST",
    "RECOMMENDED": "SHOULD",
    "NOT RECOMMENDED": "SHOULD NOT",
    "OPTIONAL": "MAY",
}
_STRENGTH = {"MUST": 3, "MUST NOT": 3, "SHOULD": 2, "SHOULD NOT": 2, "MAY": 1}
_KEYWORD = re.compile(
    r"(?<![\w-])(MUST NOT|MUST|SHALL NOT|SHALL|SHOULD NOT|SHOULD|NOT RECOMMENDED|RECOMMENDED"
    r"|REQUIRED|MAY|OPTIONAL)(?![\w-])"
)
_KEYWORD_ALONE = re.compile(r"(?:REQUIRED|RECOMMENDED|NOT RECOMMENDED|OPTIONAL)\.?$")
_QUOTED = re.compile(r'"[^"]{0,40}"')
_DECLARATION = re.compile(r"^The key ?words\b", re.IGNORECASE)
# A list follows a colon, an announcement, or a sentence that has no end yet.
_INTRODUCES = re.compile(
    r":$|[^.?!:\"')\]]$|\b(following|follows|below|steps?|conditions|rules)\b[^.]*\.$",
    re.IGNORECASE,
)
_SMALL = re.compile(
    r"\b(must|shall|should|(?:is|are) (?:required|not allowed|forbidden)|(?:has|have|needs?) to"
    r"|cannot|can ?not)\b"
)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A normative sentence.

    Attributes:
        id: Specification, section, ordinal.
        text: Its words, for the eye only: they are never written to a project.
        hash: Of the normalised words.
        level: Of the strongest key word.
        keywords: All, in order, as the text has them.
        items: The number of items in the list that it introduces; 0 if none.
    """

    id: str
    text: str
    hash: str
    level: str
    keywords: tuple[str, ...]
    items: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """What may be a requirement without saying so: see `candidates`.

    Attributes:
        section: Its number.
        kind: `small` (a must in small letters), `step`, `item` of a list that a normative sentence
            introduces, or `row` of a table.
        text: Its words.
        hash: Of the normalised words.
    """

    section: str
    kind: str
    text: str
    hash: str


def digest(text: str) -> str:
    """The hash of a sentence: 16 hexadecimal digits of SHA-256 over the normalised words."""
    return hashlib.sha256(normalised(text).encode()).hexdigest()[:16]


def keywords(sentence: str) -> tuple[str, ...]:
    """The key words that a sentence uses, in order; those in quotation marks are mentions."""
    if _DECLARATION.match(sentence):
        return ()
    return tuple(_KEYWORD.findall(_QUOTED.sub('""', normalised(sentence))))


def own(sentence: str) -> str:
    """The identifier of the specification's own with which a sentence begins; empty if none.

    It is set off by a sign, as `PAY-17:`, or a new sentence follows it: `SHA-1 is deprecated` has
    none. What looks like a well-known name is one only if a new sentence follows.
    """
    found = _OWN.match(sentence + " ")
    if not found:
        return ""
    begins = bool(re.match(r"\s*(?:$|[A-Z](?:[a-z]|$))", found[4] or ""))
    if _WELL_KNOWN.match(found[2]):
        return found[2] if begins and found[4] and not found[1] and not found[3] else ""
    return found[2] if found[1] or found[3] or begins else ""


def level(words: tuple[str, ...]) -> str:
    """The level of the strongest key word, the first of equals."""
    plain = [_SAME.get(word, word) for word in words]
    return max(plain, key=lambda word: _STRENGTH[word])


def read(text: str, name: str, sections: tuple[str, ...] = ()) -> list[Sentence]:
    """The normative sentences of a specification.

    Args:
        text: The specification as published.
        name: What identifiers begin with, as `rfc6455`.
        sections: Patterns, as `3`, `3.2.*`; all sections if empty.
    """
    found: list[Sentence] = []
    ordinals: dict[str, int] = {}
    named: set[str] = set()
    for section, parts in opened(text):
        if not section.prose or not selected(section.number, sections):
            continue
        for place, block in enumerate(parts):
            if block.kind == "figure":
                continue
            pieces = _complete(parts, place, section.title)
            for piece in pieces:
                words = keywords(piece)
                if not words:
                    continue
                items = _items(parts, place) if piece is pieces[-1] else 0
                name_here = own(piece) or own(section.title)
                if name_here and name_here not in named:
                    identifier = name_here
                    named.add(identifier)
                else:
                    ordinal = ordinals[section.number] = ordinals.get(section.number, 0) + 1
                    identifier = f"{name}/{section.number}/{ordinal}"
                found.append(Sentence(identifier, piece, digest(piece), level(words), words, items))
    return found


def _complete(parts: list[Block], place: int, title: str) -> list[str]:
    """The sentences of a block; a key word alone gets what it is of, as in `code: REQUIRED.`."""
    block = parts[place]
    pieces = split(block.text)
    if not any(_KEYWORD_ALONE.match(piece) for piece in pieces):
        return pieces
    above = (other for other in reversed(parts[:place]) if other.indent < block.indent)
    head = next(above, None)
    named = block.marker if block.numbered else title
    term = head.text if head and head.kind == "term" else named
    return [f"{term}: {piece}" if _KEYWORD_ALONE.match(piece) else piece for piece in pieces]


def _items(parts: list[Block], place: int) -> int:
    """How many items the block at `place` introduces: those of the list that follows it."""
    if not _INTRODUCES.search(parts[place].text):
        return 0
    rest = parts[place + 1 :]
    least = parts[place].indent + (parts[place].kind == "item")
    if not rest or rest[0].kind != "item" or rest[0].indent < least:
        return 0
    count = 0
    for block in rest:
        if block.indent < rest[0].indent:
            break
        if block.indent == rest[0].indent:
            if block.kind == "prose":
                break
            count += block.kind == "item"
    return count


def candidates(text: str, sections: tuple[str, ...] = ()) -> list[Candidate]:
    """What may bind though no sentence with a key word says so, in order of the text.

    Args:
        text: The specification as published.
        sections: As for `read`.
    """
    found: list[Candidate] = []
    for section, parts in opened(text):
        if not section.prose or not selected(section.number, sections):
            continue
        introduced = _introduced(parts)
        for place, block in enumerate(parts):
            found += _offered(section.number, block, introduced=place in introduced)
    return found


def _introduced(parts: list[Block]) -> set[int]:
    """The places of the items that a normative sentence introduces."""
    places: set[int] = set()
    for place, block in enumerate(parts):
        if block.kind == "figure" or not keywords(split(block.text)[-1]):
            continue
        count = _items(parts, place)
        for number in range(place + 1, len(parts)):
            if not count:
                break
            if parts[number].kind == "item" and parts[number].indent == parts[place + 1].indent:
                places.add(number)
                count -= 1
    return places


def _offered(section: str, block: Block, *, introduced: bool) -> list[Candidate]:
    if block.kind == "figure":
        return _offered_rows(section, block)
    pieces = split(block.text)
    plain = [piece for piece in pieces if not keywords(piece)]
    if block.kind == "item" and len(plain) == len(pieces) and (introduced or block.numbered):
        kind = "item" if introduced else "step"
        return [Candidate(section, kind, block.text, digest(block.text))]
    return [
        Candidate(section, "small", piece, digest(piece)) for piece in plain if _SMALL.search(piece)
    ]


def _offered_rows(section: str, block: Block) -> list[Candidate]:
    lines = [line.strip() for line in block.text.split("\n")]
    rows = [line for line in lines if line.startswith("|") and line.count("|") > 2]
    if len(rows) < 2:
        return []
    return [Candidate(section, "row", row, digest(row)) for row in rows]
