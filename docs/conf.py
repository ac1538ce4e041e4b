"""How the documents are built: `make docs`."""

import sys
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

_folder = Path(__file__).resolve().parent
_checkout = _folder.parent
_workspace = tomllib.loads((_checkout / "Cargo.toml").read_text())
sys.path.insert(0, str(_folder / "_extensions"))

project = "Vespiary"
author = copyright = "The Vespiary authors"
version = release = _workspace["workspace"]["package"]["version"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "native_types",
    "references",
]
exclude_patterns = ["_build", "_extensions"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["tables.css", "headings.css"]
html_title = f"Vespiary {version}"
html_theme_options = {"top_of_page_buttons": []}
html_show_sourcelink = False
html_copy_source = False
pygments_dark_style = "github-dark"
maximum_signature_line_length = 80

nitpicky = True
nitpick_ignore_regex = [
    (r"py:(class|obj)", r"(\w+\.)*(M|_M_co|P|T)"),  # Type variables.
    (r"py:class", r"(trace|metrics|opentelemetry)\..*"),  # There is nothing to link to.
]
# The names of Python's library that the reference links to: the build needs no network.
intersphinx_mapping = {"python": ("https://docs.python.org/3/", "python-names.inv")}

default_role = "quoted"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_use_ivar = True
napoleon_custom_sections = [("Resource handling", "Resource handling"), "Cancellation"]
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
suppress_warnings = ["ref.python"]


# The texts at the top of the checkout link to each other by their names there.
_TEXTS = {
    "](ARCHITECTURE.md)": "](architecture.md)",
    "](CONTRIBUTING.md)": "](contributing.md)",
    "](CHANGELOG.md)": "](changelog.md)",
    "](SECURITY.md)": "](security.md)",
    "](tests/README.md)": "](test-map.md)",
    "](docs/": "](../",
}


def _relink(app: Sphinx, path: Path, name: str, content: list[str]) -> None:
    del app, path, name
    for there, here in _TEXTS.items():
        content[0] = content[0].replace(there, here)


def setup(app: Sphinx) -> None:
    app.connect("include-read", _relink)
