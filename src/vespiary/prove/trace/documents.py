"""Read a specification of any form as sections of blocks.

Plain text has no structure but its layout, which `healing`, `sections` and `blocks` read. Markdown,
HTML and the XML of RFCs (xml2rfc, version 3) have elements: the first and the last are made into
HTML, and that is read. The form is seen from the text itself.
"""

import re
import unicodedata
from html import escape, unescape
from html.parser import HTMLParser
from xml.etree import ElementTree

from markdown_it import MarkdownIt

from vespiary.errors import ConfigurationError
from vespiary.prove.trace.blocks import Block, blocks
from vespiary.prove.trace.healing import heal
from vespiary.prove.trace.sections import Section, cut, is_prose, numbered

__all__ = ["opened"]

_DOCTYPE = r"<!DOCTYPE rfc(?:[^\[>]*\[.*?\]\s*|[^\[>]*)>"
_XML = re.compile(rf"^\ufeff?\s*(?:<\?.*?\?>\s*|<!--.*?-->\s*|{_DOCTYPE}\s*)*<rfc\b", re.DOTALL)
_HTML = re.compile(r"^\ufeff?\s*(?:<!--.*?-->\s*)*<(?:!DOCTYPE html|html)\b", re.DOTALL | re.I)
_MARKDOWN = re.compile(r"^#{1,6} +\S", re.MULTILINE)
_RFC = re.compile(
    r"^(?:Request for Comments:|Internet-Draft\b|Network Working Group)", re.MULTILINE
)
_STEP = 3
"""Columns between a list and the list around it."""


def opened(text: str) -> list[tuple[Section, list[Block]]]:
    """The sections of a specification, each with its blocks.

    Raises:
        ConfigurationError: It begins like XML, and is not; or it is nested too deeply.
    """
    try:
        return _opened(text)
    except RecursionError as error:
        raise ConfigurationError(
            "the elements of the text are nested too deeply: give it in another form"
        ) from error


def _opened(text: str) -> list[tuple[Section, list[Block]]]:
    if _XML.match(text):
        return _read_html(_xml_as_html(text))
    if _HTML.match(text):
        return _read_html(text)
    if _MARKDOWN.search(text) and not _RFC.search(text[:2000]):
        return _read_html(MarkdownIt("commonmark").enable("table").render(text))
    return [(section, blocks(section.lines)) for section in cut(heal(text))]


def _read_html(text: str) -> list[tuple[Section, list[Block]]]:
    reader = _Reader()
    reader.feed(text)
    reader.close()
    reader.flush()
    return reader.sections


class _Reader(HTMLParser):
    """Gathers headings, paragraphs, items, terms, rows and figures."""

    _HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
    _SKIPPED = ("script", "style", "head", "nav", "template")
    _CONTAINERS = (
        "div",
        "section",
        "blockquote",
        "ul",
        "ol",
        "dl",
        "table",
        "thead",
        "tbody",
        "body",
        "article",
        "main",
        "aside",
        "figure",
        "figcaption",
        "address",
        "footer",
        "header",
    )
    _BLOCKS = ("p", "li", "dt", "dd", "tr", "pre", "hr", *_CONTAINERS, *_HEADINGS)  # fmt: skip

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.sections: list[tuple[Section, list[Block]]] = []
        self._words: list[str] = []
        self._tags: list[str] = []
        self._marker = ""
        self._numbers: list[int] = []
        self._slugs: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A block ends the one before it."""
        del attrs
        if tag in self._BLOCKS:
            self.flush()
        if tag in ("br", "td", "th"):
            self._words.append(" ")
        if tag in ("ul", "ol"):
            self._numbers.append(0)
        if tag == "li":
            ordered = "ol" in self._tags and self._innermost("ul", "ol") == "ol"
            if self._numbers:
                self._numbers[-1] += 1
            self._marker = f"{self._numbers[-1]}." if ordered and self._numbers else "o"
        if tag in self._BLOCKS or tag in self._SKIPPED:
            if tag in ("p", "li", "dt", "dd", "tr") and self._tags and self._tags[-1] in ("p", tag):
                self._tags.pop()
            if tag != "hr":
                self._tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """The end of a block ends its words."""
        if tag not in self._BLOCKS and tag not in self._SKIPPED:
            return
        self.flush()
        if tag in ("ul", "ol") and self._numbers:
            self._numbers.pop()
        if tag in self._tags:
            while self._tags.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        """Words of a block."""
        if not any(tag in self._SKIPPED for tag in self._tags):
            self._words.append(data)

    def flush(self) -> None:
        """End the block whose words were gathered."""
        raw, self._words = "".join(self._words), []
        text = " ".join(raw.split())
        if not text:
            return
        kind = self._innermost(*self._HEADINGS, "pre", "tr", "dt", "dd", "li")
        if kind in self._HEADINGS:
            self.sections.append((self._section(text), []))
        elif self.sections:
            self.sections[-1][1].append(self._block(kind, text, raw))

    def _block(self, kind: str, text: str, raw: str) -> Block:
        depth = sum(tag in ("ul", "ol", "dl", "blockquote") for tag in self._tags)
        indent = _STEP * depth
        if kind == "pre":
            return Block("figure", raw.strip("\n"), indent, indent)
        if kind == "tr":
            return Block("row", text, indent, indent)
        if kind == "dt":
            return Block("term", text, indent, indent)
        if kind == "li" and self._marker:
            marker, self._marker = self._marker, ""
            return Block("item", text, indent, indent + _STEP, marker)
        within = _STEP if kind in ("li", "dd") else 0
        return Block("prose", text, indent + within, indent + within)

    def _section(self, title: str) -> Section:
        found = numbered(title)
        if found:
            return Section(found[0], found[1], prose=is_prose(found[1]))
        plain = unicodedata.normalize("NFKD", title.casefold()).encode("ascii", "ignore").decode()
        slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "untitled"
        count = self._slugs[slug] = self._slugs.get(slug, 0) + 1
        return Section(slug if count == 1 else f"{slug}-{count - 1}", title, prose=is_prose(title))

    def _innermost(self, *tags: str) -> str:
        return next((tag for tag in reversed(self._tags) if tag in tags), "")


_XML_BLOCKS = {
    "t": "p", "li": "li", "ul": "ul", "ol": "ol", "dl": "dl", "dt": "dt", "dd": "dd", "tr": "tr",
    "td": "td", "th": "th", "table": "table", "blockquote": "blockquote", "aside": "blockquote",
    "artwork": "pre", "sourcecode": "pre", "figure": "figure",
}  # fmt: skip
_ENTITY = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#\d+|#x[0-9a-fA-F]+);)(\w+);")


def _xml_as_html(text: str) -> str:
    """The sections of an RFC in XML as HTML, with the numbers that its text has."""
    bare = re.sub(_DOCTYPE, "", text, count=1, flags=re.DOTALL)
    bare = _ENTITY.sub(lambda entity: escape(unescape(entity[0]).strip("&;")), bare)
    try:
        root = ElementTree.fromstring(bare.lstrip("\ufeff").encode())
    except ElementTree.ParseError as error:
        raise ConfigurationError(
            f"the text begins like an RFC in XML, but is not valid XML: {error}"
        ) from error
    pieces: list[str] = []
    middle, back = root.find("middle"), root.find("back")
    count = 0
    for element in (middle, back):
        if element is None:
            continue
        appendix = 0
        for section in element:
            if section.tag == "section" and element is back and section.get("numbered") != "false":
                appendix += 1
                _section_as_html(section, chr(ord("A") + appendix - 1), pieces)
            elif section.tag in ("section", "references"):
                count += 1
                _section_as_html(section, str(count), pieces)
    return "".join(pieces)


def _section_as_html(section: ElementTree.Element, number: str, pieces: list[str]) -> None:
    printed = re.fullmatch(r"section-(?:appendix\.)?([\w.]+)", section.get("pn", ""))
    if printed:
        is_appendix = printed[1][:1].isalpha()
        number = printed[1].upper() if is_appendix else printed[1]
    name = section.find("name")
    title = "".join(name.itertext()) if name is not None else section.get("title", "")
    label = title if section.get("numbered") == "false" else f"{number}. {title}"
    pieces.append(f"<h2>{escape(' '.join(label.split()))}</h2>")
    count = 0
    for element in section:
        if element.tag in ("section", "references"):
            count += 1
            _section_as_html(element, f"{number}.{count}", pieces)
        elif element.tag != "name" and section.tag != "references":
            _element_as_html(element, pieces)


def _element_as_html(element: ElementTree.Element, pieces: list[str]) -> None:
    """An element as HTML; a reference to another document or section has its name."""
    tag = _XML_BLOCKS.get(element.tag, "")
    pieces.append(f"<{tag}>" if tag else "")
    if element.tag in ("xref", "relref", "eref") and not "".join(element.itertext()).strip():
        where = element.get("section")
        target = element.get("derivedContent") or element.get("target", "")
        pieces.append(escape(f"Section {where} of [{target}]" if where else f"[{target}]"))
    pieces.append(escape(element.text or ""))
    for inner in element:
        if inner.tag not in ("name", "iref", "cref"):
            _element_as_html(inner, pieces)
        pieces.append(escape(inner.tail or ""))
    pieces.append(f"</{tag}>" if tag else "")
