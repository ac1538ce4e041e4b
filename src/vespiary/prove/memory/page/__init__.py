"""A run as one page for a browser: `vespiary memory --html FILE`.

The file contains everything and loads nothing. Texts from the program (names, commands) are
escaped. The page's own policy (Content Security Policy Level 3) allows only one script, whose hash
it contains.
"""

from vespiary.prove.memory.page.whole import as_html

__all__ = ["as_html"]
