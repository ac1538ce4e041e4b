"""A run as one page for a browser: `vespiary memory --html FILE`.

The file has everything within itself and loads nothing. What comes from the program (names,
commands) is text and is escaped as such; the page's own policy (Content Security Policy Level 3)
lets no other script run than the one that is reported by its hash.
"""

from vespiary.prove.memory.page.whole import as_html

__all__ = ["as_html"]
