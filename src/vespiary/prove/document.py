"""A report of a tool as one HTML document, which loads nothing and runs its own script only."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from html import escape
from pathlib import Path

__all__ = ["as_document"]

_BASE = Path(__file__).with_name("document.css")
"""What the pages of all tools have in common: colours, text, the verdict."""


def as_document(title: str, body: Iterable[str], *folders: Path) -> str:
    """The document.

    Args:
        title: As text.
        body: The parts of the body, as markup.
        folders: Where `report.css`, which is added to the common style, and `report.js` are; each
            may have one of them only.
    """
    style = _BASE.read_text(encoding="utf-8") + _joined(folders, "report.css")
    script = _joined(folders, "report.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}';"
        " base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n"
        f"<body>\n{chr(10).join(body)}\n<script>{script}</script>\n</body>\n</html>\n"
    )


def _joined(folders: Iterable[Path], name: str) -> str:
    paths = [folder / name for folder in folders]
    return "".join(path.read_text(encoding="utf-8") for path in paths if path.exists())


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
