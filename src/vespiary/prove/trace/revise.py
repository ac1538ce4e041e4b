"""Find a catalogue's requirements again in a text that may have changed since.

Sentences are compared by their hashes, section by section, as a difference of two lists is made:
what is equal on both sides is the same sentence, wherever it stands now. What is left of both
sides between two equal neighbours is one sentence whose words changed, as far as there are as many
of both; the rest is new, or has vanished, unless the same hash turns up in another section: then
the sentence has moved there.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field

from vespiary.prove.trace.catalogue import Requirement
from vespiary.prove.trace.normative import Sentence

__all__ = ["Revision", "compare"]


@dataclass(slots=True)
class Revision:
    """What happened to the requirements of a catalogue.

    Attributes:
        kept: Pairs with the same hash and identifier.
        moved: Pairs with the same hash, at another ordinal or in another section.
        changed: Pairs whose words differ: what was written of them is suspect.
        new: Sentences that the catalogue does not have.
        vanished: Requirements that the text has no longer.
    """

    kept: list[tuple[Requirement, Sentence]] = field(default_factory=list)
    moved: list[tuple[Requirement, Sentence]] = field(default_factory=list)
    changed: list[tuple[Requirement, Sentence]] = field(default_factory=list)
    new: list[Sentence] = field(default_factory=list)
    vanished: list[Requirement] = field(default_factory=list)

    @property
    def pairs(self) -> list[tuple[Requirement, Sentence]]:
        """All that were found again."""
        return self.kept + self.moved + self.changed


_Gap = tuple[list[Requirement], list[Sentence]]


def compare(known: Sequence[Requirement], found: Sequence[Sentence]) -> Revision:
    """Match a catalogue's requirements, but those added by hand, with a text's sentences.

    Args:
        known: In the order of the catalogue.
        found: In the order of the text.
    """
    revision = Revision()
    extracted = [requirement for requirement in known if not requirement.by_hand]
    ids = [sentence.id for sentence in found] + [requirement.id for requirement in extracted]
    sections = dict.fromkeys(_section(identifier) for identifier in ids)
    gaps: list[_Gap] = []
    for section in sections:
        old = [item for item in extracted if _section(item.id) == section]
        new = [item for item in found if _section(item.id) == section]
        gaps += _aligned(revision, old, new)
    _across_sections(revision, gaps)
    for olds, news in gaps:
        both = min(len(olds), len(news))
        revision.changed += zip(olds[:both], news[:both], strict=True)
        revision.vanished += olds[both:]
        revision.new += news[both:]
    return revision


def _section(identifier: str) -> str:
    return identifier.split("/")[1]


def _aligned(revision: Revision, old: list[Requirement], new: list[Sentence]) -> list[_Gap]:
    """Pair the equal ones of a section; give back what is left between them."""
    matcher = difflib.SequenceMatcher(
        None, [item.hash for item in old], [item.hash for item in new], autojunk=False
    )
    gaps: list[_Gap] = []
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag != "equal":
            gaps.append((old[a:b], new[c:d]))
            continue
        for requirement, sentence in zip(old[a:b], new[c:d], strict=True):
            same = requirement.id == sentence.id
            (revision.kept if same else revision.moved).append((requirement, sentence))
    return gaps


def _across_sections(revision: Revision, gaps: list[_Gap]) -> None:
    """Take out of the gaps what has the same hash elsewhere."""
    for olds, _ in gaps:
        for requirement in list(olds):
            for _, news in gaps:
                same = [sentence for sentence in news if sentence.hash == requirement.hash]
                if same:
                    revision.moved.append((requirement, same[0]))
                    olds.remove(requirement)
                    news.remove(same[0])
                    break
