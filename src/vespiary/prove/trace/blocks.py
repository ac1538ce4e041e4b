"""Distinguish a section's paragraphs, list items, terms and figures.

Nothing in such a text says what a paragraph is but its layout: a blank line ends it, an item has a
marker and hangs from it, a term stands on a line of its own above deeper lines, and a figure is
whatever does not read like prose: art, rules of a grammar, tables. Three things are put together
again: a paragraph that a page's end has cut, a word that a line's end has cut at its hyphen, and a
sentence that continues after a figure. The comments of a grammar are prose again, each a block, as
is each row of a table with a key word.
"""

import re
from dataclasses import dataclass

from vespiary.prove.trace.healing import PAGE_BREAK

__all__ = ["RULE", "Block", "blocks"]

_COLUMNS = 72
_MARKER = re.compile(
    r"^ *((?:--|[o*+•-]|\(?(?:\d{1,2}|[a-z]|[ivx]+)[.)]|\d{1,2}(?:\.\d{1,2})+\.?) +)(?=\S)"
)
RULE = re.compile(r"^ *<?[A-Za-z][\w-]*>?(?:\([^)]*\))? += ?/? +\S")
"""The beginning of a grammar's rule, as `name = "word"`."""

_DEFINED = re.compile(r"^\S[^.:]*: +\S")
"""A term with its definition in the same line."""

_ASIDE = re.compile(r"^ *\| [^|]*$")
"""A line of an aside, which has a bar at its left and nowhere else."""

_CELL = re.compile(r"\S+(?: \S+)*")
_COMMENT = re.compile(r"^((?:[^\";]|\"[^\"]*\")*);(.*)$")
_COLUMN_GAP = re.compile(r"[^\s.?!:\"')] {3,}\S")
_PLAIN_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*[,.;:]?$")
_PROSE_PART = 0.7
"""From this part of plain words on, lines are prose."""

_IN_CAPITALS = re.compile(r"\b(?:MUST|SHALL|SHOULD|MAY|REQUIRED|RECOMMENDED|OPTIONAL)\b")
_ENDED = re.compile(r"[.:?!][\"')\]]*$")


@dataclass(slots=True)
class Block:
    """A piece of a section.

    Attributes:
        kind: `prose`, `item` (with a marker), `term` (the head of a definition), `figure`, or
            `comment` or `row` in the figure before it.
        text: In one line; of a figure its lines as they are.
        indent: The column of its marker or first character.
        body: The column of its text, right of a marker.
        marker: As `o` or `3.`; empty if there is none.
    """

    kind: str
    text: str
    indent: int
    body: int
    marker: str = ""

    @property
    def numbered(self) -> bool:
        """Whether it is a step or item with a number or letter."""
        return any(character.isalnum() for character in self.marker) and self.marker != "o"


def blocks(lines: list[str]) -> list[Block]:
    """The blocks of a section's healed lines, in their order."""
    found: list[Block] = []
    for chunk, after_page in _chunks(lines):
        parted = _parted(chunk)
        if after_page and found and _is_cut_comment(found[-1], chunk):
            _join(found[-1], parted.pop(1).text)
        for block in parted:
            if _goes_on(found, block, after_page):
                text = f"{block.marker} {block.text}" if block.marker else block.text
                _join(_last_prose(found), text)
            else:
                found.append(block)
    return found


def _chunks(lines: list[str]) -> list[tuple[list[str], bool]]:
    """Runs of lines between blank ones, each with whether a page's end stands before it."""
    chunks: list[tuple[list[str], bool]] = []
    chunk: list[str] = []
    after_page = False
    for line in [*lines, ""]:
        if line not in ("", PAGE_BREAK):
            chunk.append(line)
            continue
        if chunk:
            chunks.append((chunk, after_page))
            chunk, after_page = [], False
        after_page = after_page or line == PAGE_BREAK
    return chunks


def _parted(chunk: list[str]) -> list[Block]:
    """A chunk as blocks: a figure is one, a compact list has one for each item."""
    if all(_ASIDE.match(line) for line in chunk):
        chunk = [line.replace("|", " ", 1) for line in chunk]
    if _is_figure(chunk):
        indent = _indent(chunk[0])
        figure = Block("figure", "\n".join(chunk), indent, indent)
        return [figure, *_comments(chunk), *_rows(chunk)]
    parted: list[Block] = []
    for number, line in enumerate(chunk):
        marker = _MARKER.match(line)
        indent = _indent(line)
        if marker and (number == 0 or _starts_item(parted[-1], marker[1], indent)):
            rest = line[marker.end() :]
            parted.append(Block("item", rest, indent, marker.end(), marker[1].strip()))
        elif number == 0 or (parted[-1].kind == "term" and indent > parted[-1].indent):
            kind = "term" if _is_term(chunk, number) else "prose"
            parted.append(Block(kind, line.strip(), indent, indent))
        elif parted[-1].kind == "prose" and _is_term(chunk, number) and _ended(parted[-1]):
            parted.append(Block("term", line.strip(), indent, indent))
        else:
            _join(parted[-1], line.strip())
            if parted[-1].kind == "prose":
                parted[-1].body = indent
    return parted


def _comments(chunk: list[str]) -> list[Block]:
    """The comments of a grammar: from a semicolon on, over all lines that are comment alone."""
    found: list[Block] = []
    goes_on = False
    for line in chunk if _has_comments(chunk) else []:
        if goes_on and ";" not in line and _indent(line) == found[-1].indent:
            _join(found[-1], line.strip())  # A line of it that has lost its semicolon.
            continue
        comment = _COMMENT.match(line)
        words = comment[2].strip(" ;") if comment else ""
        if comment and words and not comment[1].strip() and goes_on:
            _join(found[-1], words)
        elif comment and words:
            found.append(Block("comment", words, len(comment[1]), len(comment[1])))
        # A bare semicolon is a blank line of the comment.
        goes_on = bool(words)
    return found


def _has_comments(chunk: list[str]) -> bool:
    """Whether a figure is a grammar, in which a semicolon begins a comment."""
    return any(RULE.match(line) or line.lstrip().startswith(";") for line in chunk)


def _rows(chunk: list[str]) -> list[Block]:
    """The rows of a table that have a key word, each with the lines that continue below it."""
    if _has_comments(chunk):
        return []
    rows: list[list[str]] = []
    least = min(_indent(line) for line in chunk)
    for line in chunk:
        if rows and _indent(line) > least:
            rows[-1].append(line)
        else:
            rows.append([line])
    found = []
    for row in rows:
        text = " ".join(_across(row).replace("|", " ").split())
        if _IN_CAPITALS.search(text) and _COLUMN_GAP.search(row[0].strip().strip("|")):
            found.append(Block("row", text, _indent(row[0]), _indent(row[0])))
    return found


def _across(row: list[str]) -> str:
    """The words of a row, cell by cell, if each line's cells are below those of the first."""
    cells = {cell.start(): [cell[0]] for cell in _CELL.finditer(row[0])}
    for line in row[1:]:
        for cell in _CELL.finditer(line):
            if cell.start() not in cells:
                return " ".join(row)
            cells[cell.start()].append(cell[0])
    return " ".join(word for words in cells.values() for word in words)


def _starts_item(last: Block, marker: str, indent: int) -> bool:
    """Whether a line within a chunk opens another item, rather than beginning with, say, `- `."""
    if last.kind == "item" and indent <= last.indent:
        return True
    # A line may begin with the `0.` that ends a sentence.
    return last.text.endswith(":") or (_ended(last) and len(marker) > len(marker.strip()) + 1)


def _is_term(chunk: list[str], number: int) -> bool:
    """Whether a line ends early, with deeper lines below it: they define what it names."""
    if number + 1 >= len(chunk):
        return False
    line, below = chunk[number], chunk[number + 1]
    if _IN_CAPITALS.search(line) or _DEFINED.match(line.strip()):
        return False
    deeper = _indent(below) > _indent(line)
    return deeper and len(line) + 1 + len(below.split()[0]) <= _COLUMNS


def _is_figure(chunk: list[str]) -> bool:
    text = "".join(chunk)
    solid = text.replace(" ", "")
    art = sum(solid.count(character) for character in "-+|=<>^~#:;*_\\/")
    if art > 0.3 * len(solid) and art > 4:
        return True
    comments = sum(1 for line in chunk if line.lstrip().startswith(";"))
    if _is_grammar(chunk) or comments * 2 >= len(chunk):
        return True
    if _MARKER.match(chunk[0]):
        return False
    gaps = sum(1 for line in chunk if _COLUMN_GAP.search(line.strip()))
    return gaps * 2 >= len(chunk)


def _is_grammar(chunk: list[str]) -> bool:
    """Whether lines are rules; a line of prose may begin with `n = 0`, too."""
    rules = sum(1 for line in chunk if RULE.match(line))
    if not rules:
        return False
    words = " ".join(chunk).split()
    plain = sum(1 for word in words if _PLAIN_WORD.match(word))
    is_level = len({_indent(line) for line in chunk[1:]}) < 2
    is_prose = is_level and len(words) > 7 and plain >= _PROSE_PART * len(words)
    return not is_prose or rules * 2 > len(chunk) > 1


def _is_cut_comment(last: Block, chunk: list[str]) -> bool:
    """Whether a page has ended within a grammar's comment, which continues in the next lines."""
    goes_on = chunk[0].lstrip().startswith(";") and chunk[0].strip(" ;") != ""
    return goes_on and _is_figure(chunk) and last.kind == "comment" and not _ended(last)


def _goes_on(found: list[Block], block: Block, after_page: bool) -> bool:
    """Whether a block is the rest of the last prose: a page's end or a figure stood between."""
    last = _last_prose(found)
    if last is None or block.indent != last.body:
        return False
    if block.kind == "item":
        # A page begins with the `3.2` of `Section 3.2`.
        return after_page and last is found[-1] and block.numbered and not _ended(last)
    if block.kind != "prose":
        return False
    lower = block.text[:1].islower()
    if last is found[-1]:
        is_new = _ended(last) and _DEFINED.match(block.text)
        return after_page and (lower or not _ended(last)) and not is_new
    return lower and (not _ended(last) or last.text.endswith(":"))


def _last_prose(found: list[Block]) -> Block | None:
    """The last block that has sentences, if only figures follow it."""
    for block in reversed(found):
        if block.kind in ("prose", "item"):
            return block
        if block.kind not in ("figure", "comment", "row"):
            return None
    return None


def _join(block: Block | None, more: str) -> None:
    assert block is not None
    cut_word = re.search(r"[A-Za-z0-9]-$", block.text) and more[:1].isalnum()
    block.text += more if cut_word else " " + more


def _ended(block: Block) -> bool:
    return bool(_ENDED.search(block.text))


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
