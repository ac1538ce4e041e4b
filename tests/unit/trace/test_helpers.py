"""The digest of a claim has what its test uses of other files of tests, and nothing else."""

from pathlib import Path

import pytest

from vespiary.prove.trace.helpers import Helpers, is_of_tests
from vespiary.prove.trace.rust_helpers import RustHelpers
from vespiary.prove.trace.scan_python import scan_python
from vespiary.prove.trace.scan_rust import scan_rust

CLAIM = '@pytest.mark.requirement("a/1/1")\n'

FILES = {
    "scale.py": "def refused(kilograms): return kilograms > 31\n",
    "conftest.py": (
        "import pytest\npytest_plugins = ['tests.plugin']\n"
        "def pytest_runtest_setup(item): outermost()\n"
        "@pytest.fixture\ndef scale(): return 1\n"
    ),
    "tests/__init__.py": "from .sums import total\n",
    "tests/plugin.py": "import pytest\n@pytest.fixture(name='house')\ndef _house(): return 2\n",
    "tests/sums.py": "def total(x): return sum(x)\n",
    "tests/conftest.py": (
        "import pytest\nfrom tests.kit.made import make\nfrom .kit.shared import shared\n"
        "@pytest.fixture\ndef scale(scale): return make(scale)\n"
        "@pytest.fixture\ndef idle(): return 3\n"
        "@pytest.fixture(autouse=True)\ndef cleared(): clear()\n"
    ),
    "tests/kit/made.py": "def make(x): return x + 1\ndef unused(): return 4\n",
    "tests/kit/shared.py": "import pytest\n@pytest.fixture\ndef shared(): return 5\n",
    "tests/kit/checks.py": (
        "LIMIT = 31\ndef check(x): assert seen(x)\ndef seen(x): return x > LIMIT\n"
        "def other(): return 6\n"
    ),
    "tests/kit/starred.py": "def starred(): return 7\ndef unstarred(): return 8\n",
    "tests/kit/bases.py": "class Base:\n    def setUp(self): before()\n",
    "tests/kit/whole.py": "def anything(): return 9\n",
    "tests/test_it.py": (
        "import pytest\nimport tests.kit.made as made\nfrom scale import refused\n"
        "from tests import total\nfrom tests.kit import checks, whole\n"
        "from .kit.starred import *\nfrom tests.kit.bases import Base\n\n"
        f"class TestIt(Base):\n    {CLAIM}    def test_it(self, scale, shared, request):\n"
        "        request.getfixturevalue('house')\n"
        "        checks.check(refused(made.make(total([starred(), scale]))))\n"
        "        use(whole)\n"
    ),
}

CHANGES = {
    "a function": ("tests/kit/checks.py", "assert seen(x)", "pass"),
    "a function of that": ("tests/kit/checks.py", "x > LIMIT", "True"),
    "a constant of that": ("tests/kit/checks.py", "LIMIT = 31", "LIMIT = 0"),
    "a function of a module with another name": ("tests/kit/made.py", "x + 1", "x"),
    "a function that a package passes on": ("tests/sums.py", "sum(x)", "max(x)"),
    "a function that a star brings": ("tests/kit/starred.py", "return 7", "return 0"),
    "any part of a module that is passed on": ("tests/kit/whole.py", "return 9", "return 0"),
    "the class below it": ("tests/kit/bases.py", "before()", "pass"),
    "a fixture": ("tests/conftest.py", "make(scale)", "make(0)"),
    "the fixture that it takes the place of": ("conftest.py", "return 1", "return 0"),
    "a fixture of all tests": ("tests/conftest.py", "clear()", "pass"),
    "a fixture that is imported there": ("tests/kit/shared.py", "return 5", "return 0"),
    "a fixture of a plugin, by its own name": ("tests/plugin.py", "return 2", "return 0"),
    "a hook": ("conftest.py", "outermost()", "pass"),
}

SAME = {
    "a function that nothing uses": ("tests/kit/checks.py", "return 6", "return 0"),
    "another function of a module": ("tests/kit/made.py", "return 4", "return 0"),
    "what a star does not bring": ("tests/kit/starred.py", "return 8", "return 0"),
    "a fixture that it does not ask for": ("tests/conftest.py", "return 3", "return 0"),
    "the code under test": ("scale.py", "> 31", "> 32"),
    "a comment": ("tests/kit/checks.py", "LIMIT = 31", "# More.\nLIMIT = 31"),
}


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def digest(folder: Path, file: str = "tests/test_it.py") -> str:
    text = (folder / file).read_text()
    (claim,) = scan_python(text, file, None, Helpers(folder)).marks
    return claim.digest


@pytest.mark.parametrize(("name", "differs"), [
    *((name, True) for name in CHANGES), *((name, False) for name in SAME)
])  # fmt: skip
def test_a_digest_of_a_claim_has_of_other_files(
    tmp_path: Path, name: str, *, differs: bool
) -> None:
    file, before, after = (CHANGES | SAME)[name]
    write(tmp_path, FILES)
    then = digest(tmp_path)
    assert before in FILES[file]
    write(tmp_path, {file: FILES[file].replace(before, after, 1)})
    assert (digest(tmp_path) != then) is differs


@pytest.mark.parametrize(
    "text", ["def broken(:", "\0", "x = (" * 2000, "from tests.kit.checks import *\n"]
)
def test_a_helper_that_cannot_be_read_or_that_goes_in_a_circle_raises_nothing(
    tmp_path: Path, text: str
) -> None:
    write(tmp_path, {**FILES, "tests/kit/made.py": text, "tests/kit/checks.py": text})
    assert digest(tmp_path)


@pytest.mark.parametrize("claim", ["module", "class", "method"])
def test_a_digest_of_a_claim_for_several_tests_has_of_other_files(
    tmp_path: Path, claim: str
) -> None:
    places = {"module": "pytestmark = ", "class": "@", "method": "    @"}
    mark = f'{places[claim]}pytest.mark.requirement("a/1/1")\n'
    parts = {part: mark if part == claim else "" for part in places}
    text = (
        f"import pytest\nfrom checks import check\n{parts['module']}{parts['class']}class TestIt:\n"
        f"{parts['method']}    def test_it(self, house): check()\n"
    )
    files = {
        "tests/test_it.py": text,
        "tests/checks.py": "def check(): assert 1\n",
        "tests/conftest.py": "import pytest\n@pytest.fixture\ndef house(): return 1\n",
    }
    write(tmp_path, files)
    then = digest(tmp_path)
    for file, after in (("checks", "def check(): pass\n"), ("conftest", "")):
        write(tmp_path, {f"tests/{file}.py": after})
        assert digest(tmp_path) != then, file
        write(tmp_path, files)


def test_a_helper_is_found_from_the_folder_of_the_test_and_in_src(tmp_path: Path) -> None:
    test = f"import pytest\nfrom test_kit import check\n{CLAIM}def test_it(): check()\n"
    for folder in ("tests/", "src/", "src/hive/tests/"):
        place = tmp_path / folder.replace("/", "-")
        helper = "src/test_kit.py" if folder == "src/" else f"{folder}test_kit.py"
        file = "tests/test_it.py" if folder == "src/" else f"{folder}test_it.py"
        write(place, {file: test, helper: "def check(): assert 1\n"})
        then = digest(place, file)
        write(place, {helper: "def check(): pass\n"})
        assert digest(place, file) != then, folder


@pytest.mark.parametrize(
    ("file", "is_one"),
    [
        ("tests/kit.py", True),
        ("src/hive/test/kit.py", True),
        ("unit_tests/a/kit.py", True),
        ("conftest.py", True),
        ("hive/test_scale.py", True),
        ("hive/scale_test.py", True),
        ("src/hive/scale.py", False),
        ("src/hive/testing/kit.py", False),
        ("contests/kit.py", False),
        ("latest.py", False),
    ],
)
def test_a_file_is_one_of_tests_by_its_name_or_folder(file: str, *, is_one: bool) -> None:
    assert is_of_tests(file) is is_one


RUST = {
    "a/src/lib.rs": "pub fn refused(x: u8) -> bool { x > 31 }\n#[cfg(test)]\nmod kit;\n",
    "a/src/kit.rs": "pub fn kit() -> u8 { 1 }\n",
    "a/src/scale.rs": (
        "use crate::kit;\nfn code() {}\n#[cfg(test)] mod tests {\n"
        '#[test] fn test_it() { claims!("a/1/1"); assert_eq!(kit::kit(), 1); }\n}\n'
    ),
    "a/tests/common/mod.rs": (
        "pub mod deeper;\npub fn check(x: bool) { assert!(seen(x)) }\n"
        "fn seen(x: bool) -> bool { x }\npub fn other() { none() }\n"
        "macro_rules! all { () => { deeper::level(2) } }\n"
    ),
    "a/tests/common/deeper.rs": "pub fn level(x: u8) -> bool { x > 3 }\n",
    "a/tests/scale.rs": (
        "mod common;\nuse common::*;\n"
        '#[test] fn test_it() { claims!("a/1/1"); check(refused(40)); all!() }\n'
    ),
    "a/tests/unrelated.rs": "fn check() { something() }\n",
    "b/tests/common/mod.rs": "pub fn check(x: bool) { other(x) }\n",
}


@pytest.mark.parametrize(
    ("file", "changed", "before", "after", "differs"),
    [
        ("a/tests/scale.rs", "a/tests/common/mod.rs", "assert!(seen(x))", "seen(x);", True),
        ("a/tests/scale.rs", "a/tests/common/mod.rs", "{ x }", "{ true }", True),
        ("a/tests/scale.rs", "a/tests/common/mod.rs", "level(2)", "level(3)", True),
        ("a/tests/scale.rs", "a/tests/common/deeper.rs", "x > 3", "true", True),
        ("a/tests/scale.rs", "a/tests/common/mod.rs", "none()", "nothing()", False),
        ("a/tests/scale.rs", "a/tests/unrelated.rs", "something()", "anything()", False),
        ("a/tests/scale.rs", "b/tests/common/mod.rs", "other(x)", "another(x)", False),
        ("a/tests/scale.rs", "a/src/lib.rs", "x > 31", "x > 32", False),
        ("a/src/scale.rs", "a/src/kit.rs", "{ 1 }", "{ 2 }", True),
        ("a/src/scale.rs", "a/src/lib.rs", "x > 31", "x > 32", False),
    ],
)
def test_a_digest_of_a_claim_of_rust_has_of_other_files(
    file: str, changed: str, before: str, after: str, *, differs: bool
) -> None:
    def digest_of(files: dict[str, str]) -> str:
        (claim,) = scan_rust(files[file], file, RustHelpers(files)).marks
        return claim.digest

    assert before in RUST[changed]
    later = {**RUST, changed: RUST[changed].replace(before, after, 1)}
    assert (digest_of(later) != digest_of(RUST)) is differs
