"""Files, functions and lines stay small; each exception has a name and a reason."""

import ast
import shutil
import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
LINE_COLUMNS_MAX = 100

LONG_MODULES: dict[str, str] = {
    "crates/python/src/methods.rs": "Each method of Connection with its docstring: PyO3 wants one"
    " block.",
    "src/vespiary/server.py": "One class, whose docstrings are the reference's pages.",
}
"""Path: why this module may have more than MODULE_LINES_MAX lines."""

LONG_FUNCTIONS: dict[str, str] = {}
"""`path:name`: why this function may have more than FUNCTION_LINES_MAX lines."""

WIDE_FILES: dict[str, str] = {
    "crates/lockwatch/src/handovers.rs": "A mangled name of the C++ library is one word.",
    "crates/lockwatch/src/real.rs": "A mangled name of the C++ library is one word.",
    "requirements/hybi09.toml": "A text is one line, as the tool writes it.",
    "requirements/rfc6455.toml": "A text is one line, as the tool writes it.",
    "requirements/rfc7692.toml": "A text is one line, as the tool writes it.",
    "requirements/rfc9110.toml": "A text is one line, as the tool writes it.",
    "requirements/rfc9112.toml": "A text is one line, as the tool writes it.",
    "requirements/snapshot.txt": "A requirement is one line, to be compared by lines.",
    "tests/suites/odd_requests.toml": "An inline table of TOML 1.0 is one line.",
}
"""Path: why the lines of this file may have more than LINE_COLUMNS_MAX columns."""


def source_files(*suffixes: str) -> list[Path]:
    """The checkout's own files with one of these endings: those git knows or would add."""
    git = shutil.which("git")
    assert git, "git is missing: install it (Debian: apt-get install git)"
    listed = subprocess.run(
        [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    files = [CHECKOUT / name for name in listed.split("\0") if name.endswith(suffixes)]
    return [file for file in files if file.is_file()]


def relative(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


def functions(path: Path) -> list[tuple[str, int]]:
    """The functions of a Python file: `path:name`, and how many lines each has."""
    tree = ast.parse(path.read_text(), filename=str(path))
    return [
        (f"{relative(path)}:{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def line_count(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_the_checkout_has_python_and_rust_files_to_measure() -> None:
    assert len(source_files(".py")) > 10
    assert len(source_files(".rs")) > 10


def test_every_module_has_at_most_500_lines() -> None:
    long = {
        relative(path): lines
        for path in source_files(".py", ".rs")
        if (lines := line_count(path)) > MODULE_LINES_MAX
    }
    assert not {path: lines for path, lines in long.items() if path not in LONG_MODULES}


def test_every_python_function_has_at_most_70_lines() -> None:
    long = {
        name: lines
        for path in source_files(".py")
        for name, lines in functions(path)
        if lines > FUNCTION_LINES_MAX
    }
    assert not {name: lines for name, lines in long.items() if name not in LONG_FUNCTIONS}


def test_every_rust_function_is_measured_by_clippy_with_the_same_limit() -> None:
    settings = (CHECKOUT / "clippy.toml").read_text()
    assert f"too-many-lines-threshold = {FUNCTION_LINES_MAX}\n" in settings


def test_every_line_has_at_most_100_columns() -> None:
    wide = {
        f"{relative(path)}:{number}": len(line)
        for path in source_files(".py", ".pyi", ".rs", ".sh", ".toml", ".txt", "Makefile")
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if len(line) > LINE_COLUMNS_MAX and relative(path) not in WIDE_FILES
    }
    assert not wide


def test_every_exception_is_still_needed_and_has_a_reason() -> None:
    exceptions = {**LONG_MODULES, **LONG_FUNCTIONS, **WIDE_FILES}
    assert all(exceptions.values())
    for path in LONG_MODULES:
        assert line_count(CHECKOUT / path) > MODULE_LINES_MAX, path
    for name in LONG_FUNCTIONS:
        lines = dict(functions(CHECKOUT / name.partition(":")[0]))
        assert lines[name] > FUNCTION_LINES_MAX, name
    for path in WIDE_FILES:
        text = (CHECKOUT / path).read_text()
        assert any(len(line) > LINE_COLUMNS_MAX for line in text.splitlines()), path
