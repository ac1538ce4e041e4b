"""The report as one page for a browser: `vespiary locks --html FILE`.

The file has everything within itself: its style, its script and its data; it loads nothing. What
comes from the program (names of threads, functions, files, lines of source) is text and is escaped
as such; besides, the page's own policy (Content Security Policy Level 3) lets no other script run
than the one that is reported by its hash.
"""

from vespiary.prove.locks.page.whole import as_html

__all__ = ["as_html"]
