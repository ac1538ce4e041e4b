"""Methods that the language calls have one signature throughout."""

import ast

from tests.style.test_size import relative, source_files

EXITS = ("__exit__", "__aexit__")
IN_FULL = ["self", "kind", "error", "traceback"]


def exits(text: str) -> list[tuple[str, bool]]:
    """The ends of context managers, and whether each is written in one of the two ways."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in EXITS:
            names = [argument.arg for argument in node.args.args]
            rest = node.args.vararg.arg if node.args.vararg is not None else None
            used = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
            is_short = names == ["self"] and rest == "exception"
            is_full = names == IN_FULL and rest is None and bool(used & set(IN_FULL[1:]))
            found.append((f"{node.name}:{node.lineno}", is_short or is_full))
    return found


def test_the_end_of_a_context_manager_names_what_it_uses_and_takes_the_rest_as_exception() -> None:
    wrong = [
        f"{relative(path)}:{where}"
        for path in source_files(".py")
        for where, is_right in exits(path.read_text())
        if not is_right
    ]
    assert not wrong
