"""Find a catalogue's requirements again in a text that may have changed since.

What has the same hash is the same sentence, wherever it stands now. Of the rest, sentences are
paired by their words, across all sections, the most alike first: a paraphrase, a role and a reason
pass on only to a sentence that says nearly the same. Where two are barely alike, the phrasing that
a text uses everywhere does not count (`phrasing`). The catalogue has no words; so the text that
it was made from must be given, or no changed sentence is paired. Where the specification gives its
requirements identifiers, these say which is which.
"""

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from vespiary.prove.trace.catalogue import Requirement
from vespiary.prove.trace.normative import Sentence
from vespiary.prove.trace.phrasing import Phrasing
from vespiary.prove.trace.sentences import words_alone

__all__ = ["ALIKE", "Revision", "compare"]

ALIKE = 0.6
"""From this likeness on, two sentences are two wordings of one requirement."""

_REORDERED = 0.65
"""From this part of common words on they are too, in whichever order the words stand."""

_REORDERED_WORDS_MIN = 12
"""Shorter sentences must have their words in the same order."""

_FIRM = 0.7
"""Below this likeness two sentences must have more in common than the text's usual phrasing."""


@dataclass(slots=True)
class Revision:
    """What happened to the requirements of a catalogue.

    Attributes:
        kept: Pairs with the same hash and identifier.
        moved: Pairs with the same hash, at another ordinal or in another section.
        changed: Pairs whose words differ: what was written of them is suspect.
        new: Sentences that the catalogue does not have.
        vanished: Requirements that the text has no longer.
        words: By hash: the sentences of the old text.
    """

    kept: list[tuple[Requirement, Sentence]] = field(default_factory=list)
    moved: list[tuple[Requirement, Sentence]] = field(default_factory=list)
    changed: list[tuple[Requirement, Sentence]] = field(default_factory=list)
    new: list[Sentence] = field(default_factory=list)
    vanished: list[Requirement] = field(default_factory=list)
    words: dict[str, str] = field(default_factory=dict)

    @property
    def pairs(self) -> list[tuple[Requirement, Sentence]]:
        """All that were found again."""
        return self.kept + self.moved + self.changed


def compare(
    known: Sequence[Requirement], found: Sequence[Sentence], old: Iterable[Sentence] = ()
) -> Revision:
    """Match a catalogue's requirements, but those added by hand, with a text's sentences.

    Args:
        known: In the order of the catalogue.
        found: In the order of the text.
        old: The sentences of the text that the catalogue was made from.
    """
    revision = Revision(words={sentence.hash: sentence.text for sentence in old})
    left = [requirement for requirement in known if not requirement.by_hand]
    new = list(found)
    # The same place first: a sentence may occur in a text more than once.
    for is_here in (_same_place, _same_section, _anywhere):
        left, new = _exactly(revision, left, new, is_here)
    own = {sentence.id: sentence for sentence in new if "/" not in sentence.id}
    same_name = [(item, own[item.id]) for item in left if item.id in own]
    for requirement, sentence in [*same_name, *_alike(left, new, revision.words, found)]:
        if requirement not in left or sentence not in new:
            continue
        revision.changed.append((requirement, sentence))
        left.remove(requirement)
        new.remove(sentence)
    revision.new, revision.vanished = new, left
    return revision


def _same_place(identifier: str) -> str:
    return identifier


def _same_section(identifier: str) -> str:
    return identifier.rpartition("/")[0]


def _anywhere(identifier: str) -> str:
    del identifier
    return ""


def _exactly(
    revision: Revision,
    known: list[Requirement],
    found: list[Sentence],
    place: Callable[[str], str],
) -> tuple[list[Requirement], list[Sentence]]:
    """Pair what has the same hash in the same place; give back the rest."""
    waiting: dict[tuple[str, str], list[Sentence]] = defaultdict(list)
    for sentence in found:
        waiting[sentence.hash, place(sentence.id)].append(sentence)
    left: list[Requirement] = []
    taken: set[str] = set()
    for requirement in known:
        there = waiting[requirement.hash, place(requirement.id)]
        if not there:
            left.append(requirement)
            continue
        sentence = there.pop(0)
        taken.add(sentence.id)
        same = requirement.id == sentence.id
        (revision.kept if same else revision.moved).append((requirement, sentence))
    return left, [sentence for sentence in found if sentence.id not in taken]


def _alike(
    known: list[Requirement],
    found: list[Sentence],
    words: Mapping[str, str],
    text: Sequence[Sentence],
) -> list[tuple[Requirement, Sentence]]:
    """Pairs of nearly the same words, the most alike first; of equals those of one section.

    What is alike in another order only (its rating is negative) comes last.

    Args:
        known: The requirements that are to be found.
        found: The sentences that are left for them.
        words: By hash: the sentences of the old text.
        text: All sentences of the new one.
    """
    phrasing = Phrasing(map(_words, words.values()), (_words(sentence.text) for sentence in text))
    before = {n: _words(words[one.hash]) for n, one in enumerate(known) if one.hash in words}
    rated: list[tuple[float, bool, int, int]] = []
    for place, sentence in enumerate(found):
        new = _words(sentence.text)
        matcher = difflib.SequenceMatcher(None, b=new, autojunk=False)
        for number, old in before.items():
            matcher.set_seq1(old)
            rating = _rating(matcher, min(len(old), len(new)))
            if rating and (rating >= _FIRM or not phrasing.explains(old, new)):
                here = _same_section(known[number].id) == _same_section(sentence.id)
                rated.append((rating, here, -number, -place))
    pairs: dict[int, int] = {}
    for _, _, number, place in sorted(rated, reverse=True):
        if -number not in pairs and -place not in pairs.values():
            pairs[-number] = -place
    return [(known[number], found[place]) for number, place in pairs.items()]


def _rating(matcher: difflib.SequenceMatcher[str], words_min: int) -> float:
    """How alike two sentences are; negative if in another order only, and 0 if they are not."""
    share = matcher.quick_ratio()
    if share < ALIKE:
        return 0
    rating = matcher.ratio()
    if rating < ALIKE:
        return share - 1 if words_min >= _REORDERED_WORDS_MIN and share >= _REORDERED else 0
    return rating


def _words(sentence: str) -> list[str]:
    return words_alone(sentence).split()
