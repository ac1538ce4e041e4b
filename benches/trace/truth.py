"""Find the demands of a specification without the tracer's code, to compare it with.

The tracer reads a text's layout: indentation, markers, figures. Here the table of contents says
which sections there are and in which order, a paragraph is what stands between blank lines, and
every key word in capitals that is not in quotation marks is a demand, wherever it stands. A demand
is known by its section and by the words next to it in its sentence.

Neither way is right by definition. Where they differ, a person reads the sentence.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["Demand", "demands", "key_words", "words"]

KEY_WORD = re.compile(r"(?<![\w-])(?:MUST|SHALL|SHOULD|MAY|REQUIRED|RECOMMENDED|OPTIONAL)(?![\w-])")
NEXT_TO = 2
"""How many words on each side of a key word tell it from others of its section."""

_SKIPPED = re.compile(
    r"(?:(?:non-)?normative |informative )?references|acknowledge?ments?|contributors"
    r"|authors?'? add|(?:key ?word )?index|abstract|status of|copyright|table of contents"
    r"|full copyright|intellectual property|disclaimer|editors?'? add",
    re.IGNORECASE,
)
_ENTRY = re.compile(
    r"^ *(?:appendix )?((?:\d+|[A-Z])(?:\.\d+)*)(?:\.|:)? +(\S.*?)[ .]*(?:\d+)?$", re.IGNORECASE
)
"""A line of a table of contents."""

_MARKER = re.compile(r"^\s*(?:[o*+•-]|\(?(?:\d{1,2}|[a-z]|[ivx]+)[.)])\s+\S")
_ABBREVIATED = re.compile(r"(?:\b(?:e\.g|i\.e|cf|vs|etc|Sec|Fig|No|resp|incl)|\b[A-Z])\.$")


@dataclass(frozen=True, slots=True)
class Demand:
    """A key word in capitals.

    Attributes:
        section: The number of its section, or its title in kebab case.
        near: The key word with the words next to it.
        sentence: All words of its sentence.
    """

    section: str
    near: tuple[str, ...]
    sentence: tuple[str, ...]


def words(text: str) -> tuple[str, ...]:
    """Letters and digits alone: two readings of a text differ in signs and spaces."""
    return tuple(word for one in re.findall(r"\w+", text) if (word := one.strip("_")))


def key_words(sentence: str) -> list[tuple[str, ...]]:
    """Each key word of a sentence with the words next to it; what is quoted is a mention."""
    plain = re.sub(r"[\"“][^\"”]{0,40}[\"”]", _mentioned, sentence)
    every = words(plain)
    places = [place for place, word in enumerate(every) if KEY_WORD.fullmatch(word)]
    return [every[max(0, place - NEXT_TO) : place + NEXT_TO + 1] for place in places]


def _mentioned(quoted: re.Match[str]) -> str:
    return quoted[0].lower() if KEY_WORD.search(quoted[0]) else quoted[0]


def demands(text: str, *, markdown: bool) -> list[Demand]:
    """All demands of a specification, in the order of the text."""
    found = []
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    for section, paragraph in _markdown(text) if markdown else _published(text):
        if re.match(r"the key ?words\b", paragraph, re.IGNORECASE):
            continue
        for sentence in _sentences(paragraph):
            every = words(sentence)
            found += [Demand(section, near, every) for near in key_words(sentence)]
    return found


def _sentences(paragraph: str) -> Iterator[str]:
    """A paragraph, cut where a full stop is followed by a capital outside of parentheses."""
    began = depth = 0
    quoted = False
    for place, character in enumerate(paragraph):
        depth = max(0, depth + (character == "(") - (character == ")"))
        quoted ^= character == '"'
        rest = paragraph[place + 1 :]
        ends = character in ".?!" and re.match(r"[\"')\]]* +[\"'(\[|<_/]*[A-Z0-9]", rest)
        if ends and not _ABBREVIATED.search(paragraph[began : place + 1]):
            inside = depth - (rest[:1] == ")") > (paragraph[began : began + 1] == "(")
            if not inside and not (quoted and rest[:1] != '"'):
                yield paragraph[began : place + 1]
                began, depth, quoted = place + 1, 0, False
                began += len(rest) - len(rest.lstrip(" \"')]"))
    yield paragraph[began:]


def _published(text: str) -> Iterator[tuple[str, str]]:
    """The paragraphs of an RFC or draft, each with the number of its section."""
    lines = list(_without_pages(text))
    contents, ends = _contents(lines)
    listed = {number for number, _ in contents}
    section, skipped, waiting = "", True, contents
    chunk: list[str] = []
    for line in [*lines[ends:], ""]:
        heading = _heading(line, waiting)
        deeper = None if heading is not None else _deeper(line, section, listed)
        if heading is not None:
            yield from _cut(section, chunk, skipped)
            number, title = waiting[heading]
            section, waiting, chunk = number, waiting[heading + 1 :], []
            skipped = bool(_SKIPPED.match(title)) or not number
        elif deeper:
            yield from _cut(section, chunk, skipped)
            section, chunk = deeper, []
        elif line.strip():
            chunk.append(line)
        elif chunk:
            yield from _cut(section, chunk, skipped)
            chunk = []


def _without_pages(text: str) -> Iterator[str]:
    """Lines without running footers and headers; a paragraph that a page cut is whole again."""
    lines = [line.rstrip() for line in text.replace("\f", "\n").split("\n")]
    kept: list[str] = []
    cut = False
    for line in lines:
        if re.search(r"\[Page [\dxvi]+\]$", line):
            cut = True
        elif cut and (not line.strip() or _is_header(line)):
            continue
        elif cut:
            while kept and not kept[-1].strip():
                kept.pop()
            goes_on = kept and not kept[-1].endswith((".", ":", ";", "?", "!", '."', ".)"))
            goes_on = goes_on and _indent(kept[-1]) == _indent(line) and not _MARKER.match(line)
            kept += [line] if goes_on else ["", line]
            cut = False
        else:
            kept.append(line)
    return iter(kept)


def _is_header(line: str) -> bool:
    return bool(re.match(r"^(?:RFC \d+|Internet-Draft)\b.*\d{4}$", line, re.IGNORECASE))


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _contents(lines: list[str]) -> tuple[list[tuple[str, str]], int]:
    """The entries of the table of contents, as `3.2` and `Header Fields`, and where it ends."""
    starts = [n for n, line in enumerate(lines) if re.match(r"^ *table of contents$", line, re.I)]
    begin = starts[0] + 1 if starts else 0
    found: list[tuple[str, str]] = []
    for place, line in enumerate(lines[begin:], begin):
        entry = _ENTRY.match(line)
        plain = re.match(r"^ {1,3}([A-Z][A-Za-z' ]+?)[ .]*(?:\d+)?$", line)
        if found and entry and line == line.lstrip() and entry[1] == found[0][0]:
            return found, place  # Here begins the first section itself.
        if entry:
            found.append((entry[1], entry[2]))
        elif plain and found:
            found.append(("", plain[1]))
    return found, len(lines)


def _deeper(line: str, section: str, listed: set[str]) -> str:
    """The number of a heading that is too deep for the table of contents; empty if it is none."""
    found = re.match(r"^((?:\d+|[A-Z])(?:\.\d+)+)\.? +[A-Z\"]", line)
    if not found or found[1] in listed:
        return ""
    parent = found[1].rpartition(".")[0]
    return found[1] if section == parent or section.startswith(parent + ".") else ""


def _heading(line: str, waiting: list[tuple[str, str]]) -> int | None:
    """Which of the next entries of the contents a line is the heading of; None if of none."""
    if not line or _indent(line) > 4 or re.search(r"\. ?\. ?\.|\.{4}", line):
        return None
    told = words(re.sub(r"^ *appendix ", "", line, flags=re.IGNORECASE))
    for place, (number, title) in enumerate(waiting[:4]):
        wanted = (*words(number), *words(title)[:3])
        if wanted and tuple(word.lower() for word in told[: len(wanted)]) == tuple(
            word.lower() for word in wanted
        ):
            return place if number or len(told) == len(words(title)) else None
    return None


def _cut(section: str, chunk: list[str], skipped: bool) -> Iterator[tuple[str, str]]:
    """A chunk's paragraphs: an item of a list and a term are each one."""
    if skipped:
        return
    gaps = sum(1 for line in chunk if re.search(r"[^\s.?!:] {3,}\S", line.strip()))
    if gaps * 3 >= len(chunk) and not any(line.lstrip().startswith(";") for line in chunk):
        for line in chunk:  # A table: which words belong together its columns say.
            words_alone = (part[0] for part in KEY_WORD.finditer(line))
            yield from ((section, word) for word in words_alone)
        return
    paragraph: list[str] = []
    for place, line in enumerate(chunk):
        below = chunk[place + 1] if place + 1 < len(chunk) else ""
        is_term = below and _indent(below) > _indent(line) and len(line.rstrip()) < 50
        is_comment = line.lstrip().startswith(";")
        if paragraph and (
            is_comment != paragraph[-1].lstrip().startswith(";")
            or line.strip() == ";"
            or (_MARKER.match(line) and _indent(line) <= _indent(chunk[0]))
        ):
            yield section, _joined(paragraph)
            paragraph = []
        paragraph.append(line)
        if is_term and len(paragraph) == 1 and not _MARKER.match(line) and ": " not in line.strip():
            yield section, _joined(paragraph)
            paragraph = []
    if paragraph:
        yield section, _joined(paragraph)


def _joined(lines: Iterable[str]) -> str:
    text = " ".join(line.strip().lstrip("; ") for line in lines)
    text = text[len(found[0]) - 1 :] if (found := _MARKER.match(text)) else text
    return " ".join(re.sub(r"(?<=[A-Za-z])- (?=[a-z])", "-", text).split())


def _markdown(text: str) -> Iterator[tuple[str, str]]:
    """The paragraphs, items and rows of a Markdown text, each with its heading in kebab case."""
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    section, paragraph, fenced = "", [""], False
    counts: Counter[str] = Counter()
    for line in [*text.split("\n"), "# end"]:
        if re.match(r"^\s*(?:```|~~~)", line):
            fenced = not fenced
            continue
        heading = None if fenced else re.match(r"^#{1,6} +(.*?)#*$", line)
        new = heading or not line.strip() or re.match(r"^\s*(?:[-*+]|\d+\.) +\S|^\s*\|", line)
        if new and any(paragraph):
            yield section, _plain(" ".join(paragraph))
            paragraph = []
        if heading:
            title = "-".join(words(_plain(heading[1]).lower()))
            section = f"{title}-{counts[title]}" if counts[title] else title
            counts[title] += 1
        elif not fenced:
            paragraph.append(line.strip())


def _plain(text: str) -> str:
    """A line of Markdown without its signs."""
    text = re.sub(r"\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])", r"\1", text)
    text = re.sub(
        r"^\s*(?:[-*+]|\d+\.) +|[*`|]|(?<!\w)_|_(?!\w)|</?(?:a|b|br|i|sup)\b[^>]*>", " ", text
    )
    return " ".join(text.split())
