"""Find `requires`, `implements` and `pytest.mark.requirement` in Python, by its syntax tree.

Under which names a file calls them is found by `python_names`.
"""

import ast
import itertools

from vespiary.prove.trace.digests import claim_digest, mark_digest
from vespiary.prove.trace.forms import (
    ABOVE,
    IDLE,
    INVERTED,
    form_of_function,
    forms_of_conditions,
    is_constant,
    is_idle,
    misuse,
    stands_above,
)
from vespiary.prove.trace.helpers import Helpers
from vespiary.prove.trace.marks import (
    ASSERTED,
    COMPARED,
    CONSTANT,
    NEGATED,
    STATEMENT,
    Found,
    Mark,
    Problem,
)
from vespiary.prove.trace.python_names import TOO_DEEP, Names, dotted, names_of, string

__all__ = ["scan_python"]


def scan_python(
    text: str, file: str, names: Names | None = None, helpers: Helpers | None = None
) -> Found:
    """The marks and claims of a Python source.

    Args:
        text: The source.
        file: What marks and problems call it.
        names: Of marks and claims, in this file; those that the source itself shows, if None.
        helpers: The project's files of tests, which its tests may use.
    """
    visitor = _Visitor(file, helpers)
    try:
        tree = ast.parse(text, filename=file)
        known = names or names_of(tree, file)
        visitor.names, visitor.claims = known.marks, known.claims
        visitor.visit(tree)
    except SyntaxError as error:
        words = f"not valid Python: {error.msg}"
        return Found(problems=[Problem(f"{file}:{error.lineno or 1}", words)])
    except TOO_DEEP:
        words = "nested too deeply to be read: add it to sources.exclude in trace.toml"
        return Found(problems=[Problem(f"{file}:1", words)])
    visitor.found.marks.sort(key=lambda mark: mark.line)
    return visitor.found


class _Visitor(ast.NodeVisitor):
    """Walks a file, knowing in which function it is."""

    def __init__(self, file: str, helpers: Helpers | None) -> None:
        self.file = file
        self._helpers = helpers
        self.found = Found()
        self.names: dict[str, str] = {}
        self.claims: dict[str, tuple[str, ...]] = {}
        self._scope: list[str] = []
        self._around: list[ast.AST] = []
        self._digests: dict[tuple[str, ast.AST], str] = {}
        self._statements: set[ast.Call] = set()
        self._forms: dict[ast.Call, str] = {}
        self._naming: set[ast.expr] = set()
        """What gives a claim its name, and claims nothing itself."""
        self._following: dict[ast.AST, ast.AST] = {}
        self._values: list[set[str]] = [set()]

    def _scoped(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self._scope.append(node.name)
        self._around.append(node)
        self._values.append(set())
        for decorator in node.decorator_list:
            named = self.claims.get(dotted(decorator), ())
            if named:
                self._add("claim", named, decorator)
            elif not isinstance(decorator, ast.Call) and self._kind(decorator) == "claim":
                self._wrong(decorator, "pytest.mark.requirement has no identifier: write one")
            if not isinstance(decorator, ast.Call) and self._kind(decorator) == "mark":
                self._wrong(decorator, "implements has no identifier: write one")
        self.generic_visit(node)
        self._scope.pop()
        self._around.pop()
        self._values.pop()

    def visit_Module(self, node: ast.Module) -> None:
        """What is in no function or class is in the module."""
        self._around.append(node)
        self._forms = forms_of_conditions(node)
        self._naming = {
            statement.value
            for statement in node.body
            if isinstance(statement, ast.Assign)
            and isinstance(statement.targets[0], ast.Name)
            and statement.targets[0].id in self.claims
        }
        self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> None:
        """What comes after a statement may be what a mark in it avoids."""
        for _, block in ast.iter_fields(node):
            if isinstance(block, list):
                self._following.update(itertools.pairwise(block))
        super().generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """A function is a scope."""
        self._scoped(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        """Visit a coroutine as a function."""
        self._scoped(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Visit a class as a scope."""
        self._scoped(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        """A statement that is a mark has no condition."""
        call = node.value
        if isinstance(call, ast.IfExp) and self._is_value(call.test):
            if isinstance(call.body, ast.Constant):
                self._wrong(node, INVERTED)
        elif isinstance(call, ast.BoolOp) and isinstance(call.op, ast.Or):
            if any(map(self._is_value, call.values[:-1])):
                self._wrong(node, INVERTED)
        elif isinstance(call, ast.Call) and self._kind(call.func) == "mark" and _bare(call):
            self._statements.add(call)
        elif isinstance(call, ast.Call) and self._kind(call.func) == "mark":
            self._wrong(
                node, "the value of the mark is dropped: it marks nothing; let it guard code"
            )
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        """A mark guards what does something."""
        if self._is_value(node.test) and (words := misuse(node, self._following.get(node))):
            self._wrong(node, words)
        self.generic_visit(node)

    def visit_Match(self, node: ast.Match) -> None:
        """Visit a match: a mark in a guard has a branch too."""
        for place, case in enumerate(node.cases, 1):
            if case.guard and self._is_value(case.guard) and all(map(is_idle, case.body)):
                self._wrong(case.guard, INVERTED if place < len(node.cases) else IDLE)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        """A mark is not negated."""
        if isinstance(node.op, (ast.Not, ast.Invert)) and self._is_value(node.operand):
            self._wrong(node, NEGATED)
        self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> None:
        """A mark that is disabled must not refuse what it would accept."""
        if self._is_value(node.test):
            self._wrong(node, ASSERTED)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        """A comparison with a constant may negate a mark."""
        sides = [node.left, *node.comparators]
        if any(isinstance(side, ast.Constant) for side in sides) and any(
            self._is_value(side) for side in sides
        ):
            self._wrong(node, COMPARED)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        """So may an exclusive or."""
        if isinstance(node.op, ast.BitXor) and any(map(self._is_value, (node.left, node.right))):
            self._wrong(node, NEGATED)
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        """What is assigned from a mark is as good as the mark."""
        self.generic_visit(node)
        for target in node.targets:
            self._assign(target, node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """So it is with a type."""
        self.generic_visit(node)
        if node.value:
            self._assign(node.target, node.value)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        """And within a condition."""
        self.generic_visit(node)
        self._assign(node.target, node.value)

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name) and self._is_value(value):
            self._values[-1].add(target.id)
        elif isinstance(target, ast.Name):
            self._values[-1].discard(target.id)

    def _is_value(self, node: ast.expr) -> bool:
        """Whether an expression is true only if a mark with a condition is, by its form."""
        if isinstance(node, ast.NamedExpr):
            return self._is_value(node.value)
        if isinstance(node, ast.BoolOp):
            return any(map(self._is_value, node.values))
        if isinstance(node, ast.Name):
            return node.id in self._values[-1]
        if not isinstance(node, ast.Call):
            return False
        if dotted(node.func) == "bool" and len(node.args) == 1:
            return self._is_value(node.args[0])
        return self.names.get(dotted(node.func)) == "requires" and not _bare(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Every mark is a call."""
        kind = self._kind(node.func)
        if kind:
            self._call(node, kind)
        self.generic_visit(node)

    def _kind(self, function: ast.expr) -> str:
        name = dotted(function)
        if name in self.names:
            return "mark"
        if name in self.claims or name.endswith("mark.requirement"):
            return "claim"
        return ""

    def _call(self, node: ast.Call, kind: str) -> None:
        name = dotted(node.func)
        arguments = list(node.args)
        if node in self._naming:
            return
        form = "statement" if _bare(node) else "condition"
        if self.names.get(name) == "implements":
            form = form_of_function(node, self._around[-1])
            if node in getattr(self._around[-1], "decorator_list", ()) and stands_above(
                node, self._around[-1]
            ):
                self._wrong(node, ABOVE)
        elif form == "condition":
            form = self._forms.get(node, form)
        elif form == "statement" and kind == "mark" and node not in self._statements:
            self._wrong(node, STATEMENT)
        if self.names.get(name) == "requires" and arguments and not string(arguments[-1]):
            condition = arguments.pop()
            if is_constant(condition):
                self._wrong(node, CONSTANT)
        ids = tuple(text for argument in arguments if (text := string(argument)))
        if not ids or len(ids) != len(arguments):
            self._wrong(node, f"{name} has no identifier: write each as a plain string")
            return
        self._add(kind, (*self.claims.get(name, ()), *ids), node, form)

    def _add(self, kind: str, ids: tuple[str, ...], node: ast.expr, form: str = "") -> None:
        key = kind, self._around[-1]
        if key not in self._digests:
            self._digests[key] = (
                mark_digest(self._around)
                if kind == "mark"
                else claim_digest(self._around, self.file, self._helpers)
            )
        scope = ".".join(self._scope)
        form = form or "condition"
        self.found.marks.append(
            Mark(kind, ids, self.file, node.lineno, scope, "python", form, self._digests[key])
        )

    def _wrong(self, node: ast.AST, words: str) -> None:
        line = getattr(node, "lineno", 1)
        self.found.problems.append(Problem(f"{self.file}:{line}", words))


def _bare(call: ast.Call) -> bool:
    """Whether a mark has no condition."""
    return bool(call.args) and bool(string(call.args[-1]))
