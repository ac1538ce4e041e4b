"""Let signatures link by the names that they use, and leave out constructors that nobody calls.

A signature may have a type by the name under which its module knows it (`Headers`,
`vespiary._core.Connection`). The reference has each public type once, so the last part of the name
finds it.
"""

from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

_MADE_FOR_YOU = {
    "vespiary.Connection",
    "vespiary.Request",
    "vespiary.statistics.CompressionStatistics",
    "vespiary.statistics.ConnectionStatistics",
    "vespiary.statistics.EndpointStatistics",
    "vespiary.statistics.PortStatistics",
    "vespiary.statistics.ServerStatistics",
    "vespiary.Response",
    "vespiary.client.Connecting",
    "vespiary.request.Headers",
    "vespiary.request.QueryParameters",
    "vespiary.sync.Connection",
    "vespiary.testing.ServerThread",
    "vespiary.testing.TestConnection",
    "vespiary.testing.TestServer",
}
"""Classes whose objects a program gets and never makes: their constructors are not public."""


_OF_PYTHON = {"Buffer": "collections.abc.Buffer"}
"""Names of Python's library that are imported from elsewhere, as its older versions lack them."""


def _by_last_part(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Element | None:
    if node.get("refdomain") != "py":
        return None
    last = node["reftarget"].rpartition(".")[2]
    if last in _OF_PYTHON:
        node["reftarget"] = _OF_PYTHON[last]
        return None
    python = env.domains.python_domain
    found = sorted(name for name in python.objects if name.rpartition(".")[2] == last)
    top = f"vespiary.{last}"
    if not found or (len(found) > 1 and top not in found):
        return None
    target = top if top in found else found[0]
    return python.resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, content)


def _without_constructor(
    app: Sphinx, what: str, name: str, found: object, options: Any, arguments: str, returns: str
) -> tuple[str, str] | None:
    del app, found, options, arguments, returns
    return ("", "") if what == "class" and name in _MADE_FOR_YOU else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect both."""
    app.connect("missing-reference", _by_last_part, priority=400)
    app.connect("autodoc-process-signature", _without_constructor)
    return {"parallel_read_safe": True}
