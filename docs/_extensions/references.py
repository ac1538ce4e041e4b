"""Let signatures and docstrings link by the names that they use.

A signature may have a type by the name under which its module knows it (`Headers`,
`vespiary._core.Connection`), and a docstring has `Server.stop` in backquotes. The reference has
each public name once, so the last parts of the name find it. Constructors that nobody calls are
left out.
"""

from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains.python import PyObject
from sphinx.environment import BuildEnvironment
from sphinx.roles import XRefRole

_MADE_FOR_YOU = {
    "vespiary.TLSInfo",
    "vespiary.Connection",
    "vespiary.Request",
    "vespiary.Response",
    "vespiary.client.Connecting",
    "vespiary.request.Headers",
    "vespiary.request.QueryParameters",
    "vespiary.statistics.CompressionStatistics",
    "vespiary.statistics.ConnectionStatistics",
    "vespiary.statistics.EndpointStatistics",
    "vespiary.statistics.PortStatistics",
    "vespiary.statistics.ServerStatistics",
    "vespiary.statistics.ThreadStatistics",
    "vespiary.statistics.TimerStatistics",
    "vespiary.statistics.TopicStatistics",
    "vespiary.sync.Connection",
    "vespiary.testing.ServerThread",
    "vespiary.testing.TestConnection",
    "vespiary.testing.TestServer",
}
"""Classes whose objects a program gets and never makes: their constructors are not public."""

_OF_PYTHON = {
    name: f"{module}.{name}"
    for module, names in {
        "collections.abc": "AsyncIterable AsyncIterator Awaitable Buffer Callable Coroutine"
        " Iterable Mapping Sequence",
        "typing": "Any Literal Unpack",
    }.items()
    for name in names.split()
}
"""Names of Python's library, which signatures have without their modules, or from others."""


class _Quoted(XRefRole):
    """A name in backquotes: a link where the reference has it, and plain code elsewhere."""

    def process_link(
        self, env: BuildEnvironment, refnode: Any, has_explicit_title: bool, title: str, target: str
    ) -> tuple[str, str]:
        refnode["refdomain"], refnode["reftype"], refnode["quoted"] = "py", "obj", True
        return title, target.removesuffix("()")


def _found(names: list[str], target: str) -> str | None:
    """The one name that ends so; of several, the one at the top of the package."""
    names = [name for name in names if name == target or name.endswith(f".{target}")]
    top = f"vespiary.{target}"
    if len(names) == 1 or top in names:
        return top if top in names else names[0]
    return None


def _resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Element | None:
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    quoted = node.get("quoted")
    if not quoted:
        target = target.rpartition(".")[2]
        if target in _OF_PYTHON:
            node["reftarget"] = _OF_PYTHON[target]
            return None
    python = env.domains.python_domain
    found = None
    if not quoted or "." in target or target[:1].isupper():
        found = _found(sorted(python.objects), target)
    if found is None:
        return content if quoted else None
    return python.resolve_xref(env, node["refdoc"], app.builder, "obj", found, node, content)


def _without_constructor(
    app: Sphinx, what: str, name: str, found: object, options: Any, arguments: str, returns: str
) -> tuple[str, str] | None:
    del app, found, options, arguments, returns
    return ("", "") if what == "class" and name in _MADE_FOR_YOU else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect them, and call attributes attributes: Sphinx says variables."""
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"
    app.add_role("quoted", _Quoted())
    app.connect("missing-reference", _resolve, priority=400)
    app.connect("autodoc-process-signature", _without_constructor)
    return {"parallel_read_safe": True}
