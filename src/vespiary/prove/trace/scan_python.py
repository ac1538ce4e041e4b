"""Find `requires`, `implements` and `pytest.mark.requirement` in Python, by its syntax tree.

A name counts where it came from `vespiary.trace`, under whichever name it was imported.
"""

import ast

from vespiary.prove.trace.marks import NEGATED, STATEMENT, Found, Mark, Problem

__all__ = ["scan_python"]

_MODULE = "vespiary.trace"
_MARKS = ("requires", "implements")


def scan_python(text: str, file: str) -> Found:
    """The marks and claims of a Python source.

    Args:
        text: The source.
        file: What marks and problems call it.
    """
    visitor = _Visitor(file)
    try:
        tree = ast.parse(text, filename=file)
    except SyntaxError as error:
        visitor.found.problems.append(
            Problem(f"{file}:{error.lineno or 1}", f"cannot be read: {error.msg}")
        )
    else:
        visitor.names = _imported(tree)
        visitor.visit(tree)
        visitor.found.marks.sort(key=lambda mark: mark.line)
    return visitor.found


def _imported(tree: ast.AST) -> dict[str, str]:
    """Dotted names by which the marks are called in this file: as they are written, and which."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == _MODULE:
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
                if alias.name == _MODULE:
                    stem = alias.asname or _MODULE
                    names |= {f"{stem}.{mark}": mark for mark in _MARKS}
                elif alias.name == "vespiary":
                    stem = f"{alias.asname or 'vespiary'}.trace"
                    names |= {f"{stem}.{mark}": mark for mark in _MARKS}
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
        self._scope: list[str] = []
        self._statements: set[ast.Call] = set()

    def _scoped(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self._scope.append(node.name)
        for decorator in node.decorator_list:
            if not isinstance(decorator, ast.Call) and self._kind(decorator) == "claim":
                self._wrong(decorator, "pytest.mark.requirement names no identifier: write one")
            if not isinstance(decorator, ast.Call) and self._kind(decorator) == "mark":
                self._wrong(decorator, "implements names no identifier: write one")
        self.generic_visit(node)
        self._scope.pop()

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
        return "claim" if dotted.endswith("mark.requirement") else ""

    def _call(self, node: ast.Call, kind: str) -> None:
        name = _dotted(node.func)
        arguments = list(node.args)
        form = "statement" if _bare(node) else "condition"
        if self.names.get(name) == "implements":
            form = "function"
        elif form == "statement" and kind == "mark" and node not in self._statements:
            self._wrong(node, STATEMENT)
        if self.names.get(name) == "requires" and arguments and not _string(arguments[-1]):
            arguments.pop()
        ids = tuple(text for argument in arguments if (text := _string(argument)))
        if not ids or len(ids) != len(arguments):
            self._wrong(node, f"{name} names no identifier: write each as a plain string")
            return
        scope = ".".join(self._scope)
        self.found.marks.append(Mark(kind, ids, self.file, node.lineno, scope, "python", form))

    def _wrong(self, node: ast.AST, words: str) -> None:
        line = getattr(node, "lineno", 1)
        self.found.problems.append(Problem(f"{self.file}:{line}", words))


def _bare(call: ast.Call) -> bool:
    """Whether a mark has no condition."""
    return bool(call.args) and bool(_string(call.args[-1]))


def _string(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
