"""`help(vespiary.Connection)` and the stub, from which editors and the reference read, agree."""

import ast
import inspect
from pathlib import Path

import pytest

import vespiary

PUBLIC = (vespiary.Connection, vespiary.Timer)


def stub_docstrings() -> dict[str, str]:
    """The docstrings of the stub's public classes, and of their public members."""
    tree = ast.parse(Path(vespiary.__file__).with_name("_core.pyi").read_text())
    found = {}
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or node.name not in {it.__name__ for it in PUBLIC}:
            continue
        found[node.name] = ast.get_docstring(node) or ""
        for member in node.body:
            if isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
                found[f"{node.name}.{member.name}"] = ast.get_docstring(member) or ""
    return found


STUB = stub_docstrings()


@pytest.mark.parametrize("name", STUB)
def test_a_native_class_says_in_help_what_its_stub_says(name: str) -> None:
    owner, _, member = name.partition(".")
    native = getattr(vespiary, owner)
    found = getattr(native, member) if member else native
    assert STUB[name]
    assert inspect.getdoc(found) == STUB[name]


@pytest.mark.parametrize("native", PUBLIC)
def test_every_public_member_is_in_the_stub(native: type) -> None:
    public = {name for name in vars(native) if not name.startswith("_")}
    named = {name.partition(".")[2] for name in STUB if name.startswith(f"{native.__name__}.")}
    assert public - {"data"} == named
