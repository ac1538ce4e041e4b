"""Split a paragraph into sentences.

A full stop ends a sentence unless it belongs to an abbreviation, a number, an initial, or is in
parentheses or quotation marks that opened within the sentence. A sentence that is in parentheses as
a whole, as `(These rules may change.)`, is one of its own; so are several in one pair. What follows
an end must look like a beginning: a capital, a digit, a quotation mark, or one of the signs by
which specifications set names apart (`|Host|`, `/key/`, `_Fail_`, `[RFC2119]`).
"""

import re

__all__ = ["normalised", "split", "words_alone"]

_NEVER_ENDS = re.compile(
    r"(?:^|[\s(\"'\[])(?:(?i:e\.g|i\.e|cf|vs|viz|resp|approx|incl|dr|mr|mrs|ms|prof)|[A-Z])\.$"
)
_LETTER = re.compile(r"\b(?i:an?|the) [A-Z]\.$")
"""A letter that is one, and no initial: `prefixed with an X.`"""

_COUNTS = re.compile(r"(?:^|[\s(\"'\[])(?i:sect?|secs|figs?|eqs?|nos?|vol|pp?|art|chap|app)\.$")
_NEXT_MAX = 60
"""So many characters show whether a sentence begins."""

_END = re.compile(r"[.?!][\"')\]]*(?= )")
_BEGIN = re.compile(r"[\"'(\[|/_%<*]*[A-Z0-9]|[|/_\[<\"]")


def normalised(sentence: str) -> str:
    """A sentence as it is compared: one space between words, plain quotation marks and hyphens."""
    table = {0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"', 0x2010: "-", 0x2011: "-"}
    text = sentence.translate({**table, 0x00A0: " ", 0x2013: "-", 0x2014: "-"})
    return re.sub(r"\s+", " ", text).strip()


def words_alone(sentence: str) -> str:
    """A sentence's words in small letters, without punctuation, citations and sections' numbers.

    Two specifications of one family say the same with other commas and other numbering.
    """
    text = re.sub(r"\[[A-Z][\w.-]*\]", " ", normalised(sentence))
    text = re.sub(r"\b(sections?) \d[\d.]*", r"\1", text, flags=re.IGNORECASE)
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


def split(paragraph: str) -> list[str]:
    """The sentences of a paragraph, in order, each normalised.

    The words of all together are the paragraph's: nothing is dropped.
    """
    text = normalised(paragraph)
    shut = _shut(text)
    sentences: list[str] = []
    began = 0
    for end in _END.finditer(text):
        if end.start() < began:
            continue
        rest = text[end.end() + 1 : end.end() + _NEXT_MAX]
        if not _BEGIN.match(rest) or _is_abbreviation(text[began : end.start() + 1], rest):
            continue
        if _inside(text, shut, began, end.end()):
            continue
        sentences.append(text[began : end.end()])
        began = end.end() + 1
    sentences.append(text[began:])
    return [sentence for sentence in sentences if sentence]


def _is_abbreviation(text: str, rest: str) -> bool:
    """Whether a full stop shortens a word; `Fig.` and `No.` do before a number only."""
    if _COUNTS.search(text):
        return rest[:1].isdigit() or bool(re.match(r"[A-Z]\b", rest))
    return bool(_NEVER_ENDS.search(text)) and not _LETTER.search(text)


def _shut(text: str) -> list[tuple[int, int]]:
    """The pairs of parentheses and of quotation marks, as (opening, closing); only whole pairs."""
    pairs: list[tuple[int, int]] = []
    opened: list[int] = []
    for place, character in enumerate(text):
        if character == "(":
            opened.append(place)
        elif character == ")" and opened:
            pairs.append((opened.pop(), place))
    marks = [place for place, character in enumerate(text) if character == '"']
    if len(marks) % 2 == 0:
        pairs += zip(marks[::2], marks[1::2], strict=True)
    return pairs


def _inside(text: str, shut: list[tuple[int, int]], began: int, end: int) -> bool:
    """Whether a pair that opened within the sentence, not at its beginning, is still open."""
    first = began + (text[began] == " ")
    return any(first < opening < end <= closing for opening, closing in shut)
