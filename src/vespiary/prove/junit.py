"""JUnit XML as text."""

from __future__ import annotations

import re
from xml.etree import ElementTree

__all__ = ["written"]


def written(suite: ElementTree.Element) -> str:
    """A suite as indented XML.

    A process, a thread or a test may have any name, and XML takes no control characters: a question
    mark stands for each.
    """
    ElementTree.indent(suite)
    text = ElementTree.tostring(suite, encoding="unicode")
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "?", text) + "\n"
