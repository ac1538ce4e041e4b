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


HELPED = """
import pytest
from scale import refused

LIMIT = 31
CASES = [40]

def unused(): pass

def seen(result):
    return result > LIMIT

def check(result):
    result = seen(result)
    assert result

@pytest.fixture
def scale():
    yield Scale()

@pytest.fixture
def cleared():
    clear()

class TestScale:
    def helper(self):
        self_made = 1

    @pytest.mark.requirement("a/1/1")
    @pytest.mark.usefixtures("cleared")
    def test_it(self, scale):
        self.helper()
        check(refused(40))
"""

AUTOMATIC = "@pytest.fixture(autouse=True)\ndef patched(): patch()"

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


RUST_TEST = """
const LIMIT: [u8; 2] = [31, 32];
const OTHER: u8 = 1;
macro_rules! refuses { ($x:expr) => { assert!(check($x)) } }
fn unused() { other(); }
fn check(x: u8) -> bool { seen(x) }
#[inline] fn seen(x: u8) -> bool { x > LIMIT[0] }
#[test]
fn test_it() { claims!("a/1/1"); refuses!(40); }
"""


@pytest.mark.parametrize(
    ("before", "after", "differs"),
    [
        ("refuses!(40)", "refuses!(41)", True),
        ("assert!(check($x))", "check($x)", True),
        ("{ seen(x) }", "{ true }", True),
        ("x > LIMIT[0]", "x > 0", True),
        ("= [31, 32]", "= [0, 32]", True),
        ("#[inline]", "#[cold]", True),
        ("OTHER: u8 = 1", "OTHER: u8 = 2", False),
        ("other();", "another();", False),
    ],
)
def test_a_digest_of_a_test_of_rust_is_of_what_it_uses(
    before: str, after: str, *, differs: bool
) -> None:
    def digest_of(text: str) -> str:
        (claim,) = scan_rust(text, "a.rs").marks
        return claim.digest

    assert before in RUST_TEST
    assert (digest_of(RUST_TEST) != digest_of(RUST_TEST.replace(before, after, 1))) is differs


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
    "a function that it calls": (HELPED, "assert result", "pass"),
    "a function that this calls in turn": (HELPED, "result = seen(result)", "result = True"),
    "a method that it calls": (HELPED, "    self_made = 1", "    self_made = 2"),
    "a fixture that it names": (HELPED, "yield Scale()", "yield Mock()"),
    "a fixture that it asks for": (HELPED, "clear()", "pass"),
    "a fixture of all tests": (HELPED, "CASES = [40]", AUTOMATIC),
    "what is done before each test": (HELPED, "CASES = [40]", "def setup_module(): patch()"),
    "a value that its function uses": (HELPED, "LIMIT = 31", "LIMIT = 0"),
    "what it takes the place of": (HELPED, "LIMIT = 31", "LIMIT = 31\nrefused = bool"),
    "where it imports from": (HELPED, "from scale import refused", "from fake import refused"),
    "what it imports by another name": (HELPED, "import refused", "import accepted as refused"),
}

SAME = {
    "a function that it does not call": (HELPED, "unused(): pass", "unused(): fail()"),
    "another name from the same file": (HELPED, "import refused", "import accepted, refused"),
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
