"""The report as one page for a browser: `vespiary locks --html FILE`.

The file contains everything: its style, its script and its data; it loads nothing. Texts from the
program (names of threads, functions and files, lines of source) are escaped. In addition, the
page's own policy (Content Security Policy Level 3) allows only one script, whose hash it contains.
"""

from vespiary.prove.locks.page.whole import as_html

__all__ = ["as_html"]
