"""Bring a catalogue up to date with its specification's text.

The text is read, never copied: what goes into the catalogue are identifiers, hashes and key words.
"""

import dataclasses
import difflib
import re
from dataclasses import dataclass, field
from pathlib import Path

from vespiary._counted import counted
from vespiary.errors import ConfigurationError
from vespiary.prove.trace import files
from vespiary.prove.trace.catalogue import Catalogue, Requirement, load, parsed
from vespiary.prove.trace.documents import opened
from vespiary.prove.trace.normative import Sentence, digest, read
from vespiary.prove.trace.revise import Revision, compare
from vespiary.prove.trace.sentences import normalised, split, words_alone
from vespiary.prove.trace.writing import fresh_head, rewritten

__all__ = ["Extraction", "Request", "extract", "refuse_name"]

_NEAR = 0.8
_NAME = re.compile(r"[a-z][a-z0-9-]*\Z")


@dataclass(frozen=True, slots=True)
class Request:
    """What to extract.

    Attributes:
        name: The specification's, with which identifiers begin.
        text: Its whole text.
        path: Of the catalogue, which need not exist.
        sections: Patterns; those of the catalogue if empty.
        base: The name of a specification whose sentences are to be left out; empty if none.
        base_text: Its text.
        accept: Take what earlier revisions marked as read.
        old_text: The text that the catalogue was made from; empty if it is the same.
        unpaired: Pair no changed sentences, if there is no old text.
    """

    name: str
    text: str
    path: Path
    sections: tuple[str, ...] = ()
    base: str = ""
    base_text: str = ""
    accept: bool = False
    old_text: str = ""
    unpaired: bool = False


@dataclass(slots=True)
class Extraction:
    """The outcome of it.

    Attributes:
        sentences: Those that the catalogue is to have, in order.
        revision: How the catalogue's requirements were found again.
        left_out: How many sentences stand word for word in the base.
        near: By identifier: the requirement of the base that reads nearly so.
        suspect: Requirements added by hand whose place reads differently.
        reused: By identifier: the hash of a requirement that has vanished, and whose number another
            sentence has now.
        lost: Requirements added by hand whose place was not found, with what to do.
        written: The catalogue's new text.
    """

    sentences: list[Sentence]
    revision: Revision
    left_out: int = 0
    near: dict[str, str] = field(default_factory=dict)
    suspect: list[str] = field(default_factory=list)
    reused: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    written: str = ""


def extract(request: Request) -> Extraction:
    """Read the specification, compare it with its catalogue, and give the catalogue's new text.

    Raises:
        ConfigurationError: The catalogue is wrong, or is another specification's, or the base that
            it names was not given.
    """
    refuse_name(request.name)
    existing = load(request.path) if request.path.exists() else None
    sections = request.sections or (existing.sections if existing else ())
    _refuse_mismatch(request, existing)
    sentences = read(request.text, request.name, sections)
    known = existing.requirements if existing else ()
    _refuse_nothing(request, known, sentences)
    left_out = 0
    near: dict[str, str] = {}
    if request.base:
        every = len(sentences)
        sentences, near = _without(sentences, read(request.base_text, request.base))
        left_out = every - len(sentences)
        if every:
            _refuse_nothing(request, known, sentences)
    old = read(request.old_text, request.name) if request.old_text else []
    revision = compare(known, sentences, old)
    if not request.unpaired:
        _refuse_unpaired(request, revision)
    extraction = Extraction(sentences, revision, left_out, near)
    extraction.reused = _reused(existing, revision)
    if existing:
        before = files.read(request.path)
    else:
        before = fresh_head(request.name, sections, request.base)
    by_hand = _by_hand(request.text, known, extraction)
    extraction.written = rewritten(
        before,
        revision,
        near,
        by_hand,
        extraction.reused,
        accept=request.accept,
        roles=existing.roles if existing else (),
    )
    parsed(extraction.written, str(request.path), request.name)
    return extraction


def refuse_name(name: str) -> None:
    """Refuse a name with which no identifier can begin.

    Raises:
        ConfigurationError: With what a name has.
    """
    if not _NAME.match(name):
        raise ConfigurationError(
            f"{name!r} cannot begin an identifier: the name of a specification has "
            "lower-case letters (a to z), digits and hyphens, such as rfc6455"
        )


def _refuse_nothing(
    request: Request, known: tuple[Requirement, ...], sentences: list[Sentence]
) -> None:
    """Refuse a text of which nothing is left: everything would vanish from the catalogue.

    A catalogue whose requirements were all added by hand needs no sentence with a key word.
    """
    extracted = sum(not requirement.by_hand for requirement in known)
    if sentences or (known and not extracted):
        return
    if request.base and read(request.text, request.name, request.sections):
        found = f"every sentence of {request.name} with a key word is in its base {request.base}"
    elif request.sections and read(request.text, request.name):
        sections = ",".join(request.sections)
        found = f"no sentence of {request.name} with a key word is in --sections {sections}"
    else:
        found = f"no sentence of {request.name} has a key word in capitals (MUST, SHOULD, MAY, ...)"
    if extracted:
        lost = counted(extracted, "requirement of the catalogue", "requirements of the catalogue")
        advice = (
            f"{request.path} stays as it is, because {lost} would vanish: check that --text names"
            " the specification, or remove the file"
        )
    else:
        advice = (
            "vespiary trace extract --candidates lists sentences that may be requirements; add"
            f" requirements to {request.path} by hand"
        )
    raise ConfigurationError(f"{found}: {advice}")


def _reused(existing: Catalogue | None, revision: Revision) -> dict[str, str]:
    """The numbers that another sentence takes over from a requirement that has vanished."""
    gone = {**existing.vanished} if existing else {}
    gone |= {requirement.id: requirement.hash for requirement in revision.vanished}
    arrived = [*revision.new, *(one for old, one in revision.pairs if old.id != one.id)]
    return {one.id: gone[one.id] for one in arrived if one.id in gone and gone[one.id] != one.hash}


def _refuse_unpaired(request: Request, revision: Revision) -> None:
    """Refuse to guess which new sentence is which old one: the catalogue has hashes only."""
    unknown = [item for item in revision.vanished if item.hash not in revision.words]
    if not unknown or not revision.new:
        return
    what = counted(len(unknown), "sentence of the catalogue is", "sentences of the catalogue are")
    raise ConfigurationError(
        f"{request.path}: {what} not in this text, for example the sentence of {unknown[0].id}: "
        "to find which sentences have changed, pass the previous text with --old FILE; to report "
        "them as vanished, add --unpaired"
    )


def _refuse_mismatch(request: Request, existing: Catalogue | None) -> None:
    if existing is None:
        return
    if existing.name != request.name:
        raise ConfigurationError(
            f"{request.path} is the catalogue of {existing.name}, not of {request.name}:"
            " choose another file with --catalogue"
        )
    if existing.base and not request.base:
        raise ConfigurationError(
            f"{request.path} omits the sentences of {existing.base}:"
            f" pass its text with --base {existing.base}=FILE"
        )


def _without(
    sentences: list[Sentence], base: list[Sentence]
) -> tuple[list[Sentence], dict[str, str]]:
    """Drop sentences that the base has word for word; of the others, name the nearest there."""
    there = {words_alone(sentence.text) for sentence in base}
    kept = [sentence for sentence in sentences if words_alone(sentence.text) not in there]
    near: dict[str, str] = {}
    for sentence in kept:
        best = _NEAR
        matcher = difflib.SequenceMatcher(autojunk=False)
        matcher.set_seq2(sentence.text.split())
        for other in base:
            matcher.set_seq1(other.text.split())
            if matcher.quick_ratio() > best and matcher.ratio() > best:
                best, near[sentence.id] = matcher.ratio(), other.id
    return kept, near


def _by_hand(
    text: str, known: tuple[Requirement, ...], extraction: Extraction
) -> list[Requirement]:
    """The requirements with an anchor, with the hash of what it finds now."""
    found: list[Requirement] = []
    places: dict[str, list[str]] = {}
    for section, parts in opened(text):
        pieces = places.setdefault(section.number, [])
        for block in parts:
            if block.kind == "figure":
                pieces += [normalised(line) for line in block.text.split("\n")]
            else:
                pieces += split(block.text)
                pieces.append(normalised(block.text))
    for requirement in known:
        if not requirement.anchor:
            continue
        anchor = normalised(requirement.anchor)
        here = {piece for piece in places.get(requirement.section, []) if piece.startswith(anchor)}
        # A block begins with its first sentence: the shorter of the two is what was meant.
        hashes = {
            digest(piece)
            for piece in here
            if not any(piece != other and piece.startswith(other) for other in here)
        }
        if len(hashes) != 1:
            extraction.lost.append(_lost(requirement, len(hashes)))
        elif hashes == {requirement.hash}:
            continue
        else:
            changed = bool(requirement.hash)
            if changed:
                extraction.suspect.append(requirement.id)
            found.append(
                dataclasses.replace(
                    requirement,
                    hash=hashes.pop(),
                    suspect=changed,
                    was=(requirement.was or requirement.hash) if changed else "",
                )
            )
    return found


def _lost(requirement: Requirement, count: int) -> str:
    where = f"{requirement.file}:{requirement.line}: {requirement.id}:"
    advice = "nothing there begins with its anchor: see --candidates, or take the requirement out"
    if count:
        advice = f"{count} places there begin with its anchor: add words to it"
    return f"{where} section {requirement.section}: {advice}"
