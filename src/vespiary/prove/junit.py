"""JUnit XML as text."""

from __future__ import annotations

import re
from xml.etree import ElementTree

__all__ = ["written"]


def written(suite: ElementTree.Element) -> str:
    """A suite as indented XML.

    A process, a thread or a test may have any name, also one that is not UTF-8. XML does not allow
    such characters and control characters (XML 1.0, 2.2): each is replaced by a question mark.
    """
    ElementTree.indent(suite)
    text = ElementTree.tostring(suite, encoding="unicode")
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", "?", text) + "\n"
