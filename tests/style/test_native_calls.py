"""Native code calls Python objects in one way, which the interpreter's exit may unwind."""

import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "crates" / "python" / "src"

_UNGUARDED = re.compile(
    # PyO3's own methods.
    r"\.(?:call0|call1|call_method0|call_method1|call_method)\s*\("
    # Its `call` takes keyword arguments; `Callback::call` and `visit.call` take none.
    r"|\.call\([^;]*?,\s*(?:Some\(|None\))"
    # CPython's functions.
    r"|ffi::PyObject_(?:Call(?!Finalizer)|Vectorcall|Repr|Str|GetAttr)\w*\s*\("
    # What a class may answer with Python code.
    r"|\.(?:repr|str)\(\)|\b(?:object|error|given|callable)\s*\.getattr(?:_opt)?\("
)
"""A call that no guard catches: it is written `.invoke(...)`, `.invoke_method(...)`,
`.attribute(...)`, `.shown()` or `.text()`."""

_COMMENT = re.compile(r"//[^\n]*")


def unguarded(code: str) -> list[str]:
    """The unguarded calls in a module's text."""
    return _UNGUARDED.findall(_COMMENT.sub("", code))


@pytest.mark.parametrize(
    "call",
    [
        "callback.call0(py)",
        "log.call1((url, error))",
        "task\n    .call_method0(py, name)",
        "class.call((side, kind), Some(&keywords))",
        "class.call(arguments, None)",
        "unsafe { ffi::PyObject_CallNoArgs(hook.as_ptr()) }",
        "ffi::PyObject_Vectorcall(callable, arguments, 1, null)",
        "given.repr()",
        'error.getattr("exceptions")?',
    ],
)
def test_an_unguarded_call_is_found(call: str) -> None:
    assert unguarded(call)


@pytest.mark.parametrize("file", sorted(SOURCE.glob("*.rs")), ids=lambda file: file.name)
def test_every_call_of_a_python_object_is_guarded(file: Path) -> None:
    assert unguarded(file.read_text()) == []
