"""The page of `vespiary prove --html`."""

from vespiary.prove.acceptance.page.whole import as_html

__all__ = ["as_html"]
