"""The public names of the package, which are imported when they are used."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import vespiary


def _written() -> Iterator[tuple[str, str]]:
    """The public names and their modules, as type checkers read them."""
    for node in ast.walk(ast.parse(Path(vespiary.__file__).read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vespiary"):
            for alias in node.names:
                yield alias.name, node.module or ""


def test_every_public_name_is_imported_from_where_type_checkers_look() -> None:
    written = dict(_written())
    assert sorted(written) == sorted(vespiary.__all__)
    for name, module in written.items():
        found = getattr(vespiary, name)
        assert found is getattr(sys.modules[module], name), name


def test_a_name_that_is_not_public_is_refused_with_the_nearest() -> None:
    script = "import vespiary; vespiary.Sever"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=100
    )
    assert "AttributeError: module 'vespiary' has no attribute 'Sever'" in done.stderr
    assert "Did you mean: 'Server'?" in done.stderr


def test_a_name_of_another_module_is_named_with_it() -> None:
    with pytest.raises(AttributeError, match=r"it is vespiary\.filters\.RateLimit"):
        _ = vespiary.RateLimit  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"it is vespiary\.testing\.TestClient"):
        _ = vespiary.TestClient  # type: ignore[attr-defined]


def test_all_public_names_come_by_a_star() -> None:
    names: dict[str, object] = {}
    exec("from vespiary import *", names)
    assert set(vespiary.__all__) <= set(names)


def test_help_describes_the_public_classes_and_functions() -> None:
    script = "import vespiary; help(vespiary)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=100
    )
    for name in ("class Server", "class Limits", "class Handler", "serve(", "connect("):
        assert name in done.stdout, name


@pytest.mark.parametrize("module", ["errors", "loop", "request", "sync"])
def test_a_documented_module_is_an_attribute_of_the_package(module: str) -> None:
    script = f"import vespiary; print(vespiary.{module}.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=100
    )
    assert done.stdout == f"vespiary.{module}\n"
