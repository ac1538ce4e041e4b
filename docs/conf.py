"""How the documents are built: `make docs`."""

import tomllib
from pathlib import Path

from sphinx.application import Sphinx

_checkout = Path(__file__).resolve().parents[1]
_workspace = tomllib.loads((_checkout / "Cargo.toml").read_text())

project = "Vespiary"
author = copyright = "The Vespiary authors"
version = release = _workspace["workspace"]["package"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"Vespiary {version}"

nitpicky = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_use_ivar = True
napoleon_custom_sections = [
    ("Errors", "Raises"),
    "Limits",
    "Cancellation",
    ("Resource handling", "Resource handling"),
]
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
suppress_warnings = ["ref.python"]


# The texts at the top of the checkout link to each other by their names there.
_TEXTS = {
    "](ARCHITECTURE.md)": "](architecture.md)",
    "](CONTRIBUTING.md)": "](contributing.md)",
    "](CHANGELOG.md)": "](changelog.md)",
}


def _relink(app: Sphinx, path: Path, name: str, content: list[str]) -> None:
    del app, path, name
    for there, here in _TEXTS.items():
        content[0] = content[0].replace(there, here)


def setup(app: Sphinx) -> None:
    app.connect("include-read", _relink)
