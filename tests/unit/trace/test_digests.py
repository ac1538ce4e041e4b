"""A digest changes with all that decides what marked code does and whether a test runs."""

import pytest

from vespiary.prove.trace.scan_python import scan_python
from vespiary.prove.trace.scan_rust import scan_rust

CODE = """
from vespiary_trace import requires

class Scale:
    def outer(self, kilograms):
        def inner():
            return requires("a/1/1", kilograms > 31)
        return inner()

    def other(self): return 1
"""

TEST = """
import pytest
from scale import refused

claim = pytest.mark.requirement
COUNT = 40
CASES: list[int] = [COUNT]
OTHER: list[int] = [1]

def needs(function): return function

class TestScale:
    @needs
    @claim("a/1/1")
    @pytest.mark.parametrize("kilograms", CASES)
    def test_it(self, kilograms):
        assert refused(kilograms)

    def test_more(self): pass
"""


RUST = """
fn before() { other(); }
fn outer(x: u32) -> bool {
    fn inner(x: u32) -> bool { requires!("a/1/1" => x > 31) }
    inner(x)
}
fn after() { other(); }
"""


def test_a_digest_of_rust_is_of_the_outermost_function() -> None:
    def digest_of(text: str) -> str:
        (mark,) = scan_rust(text, "a.rs").marks
        assert mark.function == "inner"
        return mark.digest

    assert digest_of(RUST) != digest_of(RUST.replace("    inner(x)", "    false"))
    assert digest_of(RUST) == digest_of(RUST.replace("other()", "another()"))


def digest(text: str) -> str:
    (mark,) = scan_python(text, "a.py").marks
    return mark.digest


CHANGES = {
    "the outermost function": (CODE, "return inner()", "return False"),
    "the function itself": (CODE, "> 31", "> 32"),
    "a mark of the module": (TEST, "COUNT = 40", "COUNT = 40\npytestmark = pytest.mark.skip"),
    "the module's wish not to be a test": (TEST, "COUNT = 40", "__test__ = False\nCOUNT = 40"),
    "a branch with the same wish": (TEST, "COUNT = 40", "if claim: __test__ = 0\nCOUNT = 40"),
    "the class's wish not to be a test": (TEST, "    @needs", "    __test__ = False\n    @needs"),
    "a mark of the class": (TEST, "    @needs", "    pytestmark = pytest.mark.skip\n    @needs"),
    "a decorator of the class": (TEST, "class", "@pytest.mark.skip\nclass"),
    "its parameters": (TEST, "[COUNT]", "[COUNT, 2]"),
    "a part of its parameters": (TEST, "= 40", "= 41"),
    "what is done to its parameters": (TEST, "def needs", "CASES.clear()\ndef needs"),
    "its decorator": (TEST, ": return function", ": return None"),
}

SAME = {
    "another method": (CODE, "return 1", "return 2"),
    "another test": (TEST, "pass", "raise"),
    "another constant": (TEST, "[1]", "[2]"),
    "another import": (TEST, "import pytest", "import os\nimport pytest"),
    "a comment and a line": (TEST, "class", "# A class.\n\nclass"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_digest_changes_with(name: str) -> None:
    text, before, after = CHANGES[name]
    assert before in text
    assert digest(text) != digest(text.replace(before, after, 1))


@pytest.mark.parametrize("name", SAME)
def test_a_digest_stays_with(name: str) -> None:
    text, before, after = SAME[name]
    assert before in text
    assert digest(text) == digest(text.replace(before, after, 1))


DOCUMENTED = """
from vespiary_trace import requires

def refused(kilograms):
    "limit 31"
    return requires("a/1/1", kilograms > int(READ.split()[1]))
"""


@pytest.mark.parametrize(
    ("read", "differs"),
    [
        ("refused.__doc__", True),
        ("inspect.getdoc(refused)", True),
        ("getattr(refused, '__doc__')", True),
        ("'limit 31'", False),
    ],
)
def test_a_docstring_counts_where_code_reads_one(read: str, differs: bool) -> None:
    def digest_of(limit: str) -> str:
        text = DOCUMENTED.replace("READ", read).replace('"limit 31"', f'"limit {limit}"')
        (mark,) = scan_python(text, "a.py").marks
        return mark.digest

    assert (digest_of("31") != digest_of("99999")) is differs
