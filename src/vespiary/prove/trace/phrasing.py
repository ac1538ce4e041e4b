"""Separate what a sentence says from how its specification usually says it.

A specification says many things in the same words: `A request that contains ... MUST be treated as
malformed`. Two rules that share nothing else are alike in most of their words. How far this goes
depends on the text, and the text shows it: it has other sentences, which are rules of their own. So
two wordings of one rule must be more alike than each is to some other rule of its own text. Words
that few sentences have count more.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

__all__ = ["Phrasing"]


class Phrasing:
    """The usual words of two revisions of a text, each a list of sentences as lists of words."""

    def __init__(self, old: Iterable[Sequence[str]], new: Iterable[Sequence[str]]) -> None:
        self._old = [Counter(words) for words in old]
        self._new = [Counter(words) for words in new]
        every = self._old + self._new
        having = Counter(word for sentence in every for word in sentence)
        self._weights = {word: math.log((len(every) + 1) / having[word]) for word in having}

    def explains(self, old: Sequence[str], new: Sequence[str]) -> bool:
        """Whether the usual words are all that an old and a new sentence have in common."""
        was, now = Counter(old), Counter(new)
        likeness = self._likeness(was, now)
        return (
            self._nearest(was, self._old) >= likeness and self._nearest(now, self._new) >= likeness
        )

    def _nearest(self, sentence: Counter[str], text: list[Counter[str]]) -> float:
        """How alike a sentence is to the one of its text that is most alike, and not the same."""
        others = (other for other in text if other != sentence)
        return max((self._likeness(sentence, other) for other in others), default=0.0)

    def _likeness(self, one: Counter[str], other: Counter[str]) -> float:
        """The part that the common words have of all, by weight: 0 to 1."""
        every = self._weight(one) + self._weight(other)
        return 2 * self._weight(one & other) / every if every else 1.0

    def _weight(self, words: Counter[str]) -> float:
        return sum(count * self._weights[word] for word, count in words.items())
