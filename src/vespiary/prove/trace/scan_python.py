"""Find `requires`, `implements` and `pytest.mark.requirement` in Python, by its syntax tree.

A name counts where it came from `vespiary_trace` or `vespiary.trace`, under whichever name it was
imported. A claim may have a name, too: after `req = pytest.mark.requirement`, `@req("a/1/1")` is
one, also in files that import the name.
"""

import ast
from collections.abc import Mapping

from vespiary.prove.trace.digests import python_digest
from vespiary.prove.trace.marks import CONSTANT, NEGATED, STATEMENT, Found, Mark, Problem

__all__ = ["claim_names", "scan_python"]

_MODULES = ("vespiary.trace", "vespiary_trace")
_MARKS = ("requires", "implements")
_TOO_DEEP = (MemoryError, RecursionError)
"""What Python's parser raises for a source that is nested too deeply."""


ClaimNames = Mapping[str, tuple[str, ...]]
"""Names that stand for a claim, each with the identifiers that it has already."""


def claim_names(text: str) -> dict[str, tuple[str, ...]]:
    """The names that a source gives to claims at its top level."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, *_TOO_DEEP):
        return {}
    names: dict[str, tuple[str, ...]] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], node.value
            call = value if isinstance(value, ast.Call) else None
            function = call.func if call else value
            known = names.get(_dotted(function), ())
            is_claim = _dotted(function) in names or _dotted(function).endswith("mark.requirement")
            if is_claim and isinstance(target, ast.Name) and target.id != "pytestmark":
                names[target.id] = (*known, *map(_string, call.args)) if call else known
    return names


def scan_python(text: str, file: str, others: Mapping[str, ClaimNames] | None = None) -> Found:
    """The marks and claims of a Python source.

    Args:
        text: The source.
        file: What marks and problems call it.
        others: By the last part of a module's name: the names that it gives to claims.
    """
    visitor = _Visitor(file)
    try:
        tree = ast.parse(text, filename=file)
        visitor.names = _imported(tree)
        visitor.claims = {**_imported_claims(tree, others or {}), **claim_names(text)}
        visitor.visit(tree)
    except SyntaxError as error:
        words = f"not valid Python: {error.msg}"
        return Found(problems=[Problem(f"{file}:{error.lineno or 1}", words)])
    except _TOO_DEEP:
        words = "nested too deeply to be read: add it to sources.exclude in trace.toml"
        return Found(problems=[Problem(f"{file}:1", words)])
    visitor.found.marks.sort(key=lambda mark: mark.line)
    return visitor.found


def _imported(tree: ast.AST) -> dict[str, str]:
    """Dotted names by which the marks are called in this file: as they are written, and which."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in _MODULES:
            for alias in node.names:
                if alias.name in _MARKS:
                    names[alias.asname or alias.name] = alias.name
        elif isinstance(node, ast.ImportFrom) and node.module == "vespiary":
            for alias in node.names:
                if alias.name == "trace":
                    stem = alias.asname or "trace"
                    names |= {f"{stem}.{mark}": mark for mark in _MARKS}
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in _MODULES:
                    stem = alias.asname or alias.name
                    names |= {f"{stem}.{mark}": mark for mark in _MARKS}
                elif alias.name == "vespiary":
                    stem = f"{alias.asname or 'vespiary'}.trace"
                    names |= {f"{stem}.{mark}": mark for mark in _MARKS}
    return names


def _imported_claims(tree: ast.AST, others: Mapping[str, ClaimNames]) -> dict[str, tuple[str, ...]]:
    """The names of claims that this file has from other files."""
    names: dict[str, tuple[str, ...]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            given = others.get((node.module or "").rpartition(".")[2], {})
            names |= {a.asname or a.name: given[a.name] for a in node.names if a.name in given}
        elif isinstance(node, ast.Import):
            for alias in node.names:
                stem = alias.asname or alias.name
                given = others.get(alias.name.rpartition(".")[2], {})
                names |= {f"{stem}.{name}": ids for name, ids in given.items()}
    return names


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return ""


class _Visitor(ast.NodeVisitor):
    """Walks a file, knowing in which function it is."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.found = Found()
        self.names: dict[str, str] = {}
        self.claims: dict[str, tuple[str, ...]] = {}
        self._scope: list[str] = []
        self._around: list[ast.AST] = []
        self._digests: dict[ast.AST, str] = {}
        self._statements: set[ast.Call] = set()

    def _scoped(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self._scope.append(node.name)
        self._around.append(node)
        for decorator in node.decorator_list:
            named = self.claims.get(_dotted(decorator), ())
            if named:
                self._add("claim", named, decorator)
            elif not isinstance(decorator, ast.Call) and self._kind(decorator) == "claim":
                self._wrong(decorator, "pytest.mark.requirement names no identifier: write one")
            if not isinstance(decorator, ast.Call) and self._kind(decorator) == "mark":
                self._wrong(decorator, "implements names no identifier: write one")
        self.generic_visit(node)
        self._scope.pop()
        self._around.pop()

    def visit_Module(self, node: ast.Module) -> None:
        """What stands in no function or class stands in the module."""
        self._around.append(node)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """A function is a scope."""
        self._scoped(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        """So is a coroutine."""
        self._scoped(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """So is a class."""
        self._scoped(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        """A statement that is a mark has no condition."""
        call = node.value
        if isinstance(call, ast.Call) and self._kind(call.func) == "mark" and _bare(call):
            self._statements.add(call)
        elif isinstance(call, ast.Call) and self._kind(call.func) == "mark":
            self._wrong(
                node, "the value of the mark is dropped: it marks nothing; let it guard code"
            )
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        """A mark is not negated."""
        call = node.operand
        if (
            isinstance(node.op, ast.Not)
            and isinstance(call, ast.Call)
            and self._kind(call.func) == "mark"
            and not _bare(call)
        ):
            self._wrong(node, NEGATED)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Every mark is a call."""
        kind = self._kind(node.func)
        if kind:
            self._call(node, kind)
        self.generic_visit(node)

    def _kind(self, function: ast.expr) -> str:
        dotted = _dotted(function)
        if dotted in self.names:
            return "mark"
        if dotted in self.claims or dotted.endswith("mark.requirement"):
            return "claim"
        return ""

    def _call(self, node: ast.Call, kind: str) -> None:
        name = _dotted(node.func)
        arguments = list(node.args)
        if self._is_naming(node):
            return
        form = "statement" if _bare(node) else "condition"
        if self.names.get(name) == "implements":
            form = "function"
        elif form == "statement" and kind == "mark" and node not in self._statements:
            self._wrong(node, STATEMENT)
        if self.names.get(name) == "requires" and arguments and not _string(arguments[-1]):
            condition = arguments.pop()
            if isinstance(condition, ast.Constant):
                self._wrong(node, CONSTANT)
        ids = tuple(text for argument in arguments if (text := _string(argument)))
        if not ids or len(ids) != len(arguments):
            self._wrong(node, f"{name} names no identifier: write each as a plain string")
            return
        self._add(kind, (*self.claims.get(name, ()), *ids), node, form)

    def _is_naming(self, node: ast.Call) -> bool:
        """Whether a call gives a claim its name, and claims nothing itself."""
        module = self._around[0]
        assert isinstance(module, ast.Module)
        return any(
            isinstance(statement, ast.Assign)
            and statement.value is node
            and isinstance(statement.targets[0], ast.Name)
            and statement.targets[0].id in self.claims
            for statement in module.body
        )

    def _add(self, kind: str, ids: tuple[str, ...], node: ast.expr, form: str = "") -> None:
        around = self._around[-1]
        if around not in self._digests:
            self._digests[around] = python_digest(around)
        scope = ".".join(self._scope)
        form = form or "condition"
        self.found.marks.append(
            Mark(kind, ids, self.file, node.lineno, scope, "python", form, self._digests[around])
        )

    def _wrong(self, node: ast.AST, words: str) -> None:
        line = getattr(node, "lineno", 1)
        self.found.problems.append(Problem(f"{self.file}:{line}", words))


def _bare(call: ast.Call) -> bool:
    """Whether a mark has no condition."""
    return bool(call.args) and bool(_string(call.args[-1]))


def _string(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
