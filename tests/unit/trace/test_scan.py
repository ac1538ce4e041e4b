"""Marks and claims are read from sources; what does not fit is reported with its line."""

import ast
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from vespiary.cli.main import main
from vespiary.prove.trace.marks import Found
from vespiary.prove.trace.python_names import project_names
from vespiary.prove.trace.scan_python import scan_python
from vespiary.prove.trace.scan_rust import scan_rust

RUST = r"""
//! requires!("in/a/1" => doc)
/* requires!("in/a/2") /* nested */ requires!("in/a/3") */
macro_rules! requires { ($x:literal) => { true } }

fn outer<'a>(text: &'a str) -> bool {
    let quote = '"'; let tick = '\''; let brace = '{';
    let string = "requires!(\"in/a/4\") \\";
    let raw = r#"requires!("in/a/5")"#;
    if requires!("nest/2/1" => text.len() > 3) { return true; }
    fn inner() -> bool { vespiary_trace::requires!(
        "nest/2/2", "nest/2/3" => call(")", |x| { x })) }
    requires! { "nest/2/4" };
}

#[test]
fn a_wasp_knocks() {
    claims!("nest/2/1", "nest/2/2",);
}
"""

PYTHON = """
import pytest
import vespiary
from vespiary import trace
from vespiary.trace import implements as does, requires

pytestmark = pytest.mark.requirement("nest/1/1")

@does("nest/2/1")
def door():
    if requires("nest/2/2", knocked()) and trace.requires("nest/2/3", "nest/2/4", x):
        return vespiary.trace.requires("nest/2/5", y)

class TestDoor:
    @pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.requirement("nest/2/6"))])
    @pytest.mark.requirement("nest/2/7", "nest/2/8")
    async def test_it(self, x):
        other.requires("nest/9/9")
"""


def told(found: Found) -> list[tuple[str, tuple[str, ...], int, str]]:
    return [(mark.kind, mark.ids, mark.line, mark.function) for mark in found.marks]


def test_rust_is_read_without_its_comments_and_strings() -> None:
    found = scan_rust(RUST, "a.rs")
    assert told(found) == [
        ("mark", ("nest/2/1",), 10, "outer"),
        ("mark", ("nest/2/2", "nest/2/3"), 11, "inner"),
        ("mark", ("nest/2/4",), 13, "outer"),
        ("claim", ("nest/2/1", "nest/2/2"), 18, "a_wasp_knocks"),
    ]
    assert not found.problems


def test_a_mark_of_rust_without_a_condition_is_a_statement() -> None:
    text = 'fn f() { requires!("a/1/1"); if requires!("a/1/2" => x) { y() } }'
    found = scan_rust(text, "a.rs")
    assert [mark.form for mark in found.marks] == ["statement", "condition"]
    assert not found.problems


@pytest.mark.parametrize("parameters", ["x: [u8; 4]", "x: [u8; { 4 }]", "x: impl Fn([u8; 2])"])
def test_a_function_of_rust_may_have_a_semicolon_in_its_parameters(parameters: str) -> None:
    text = f'fn f({parameters}) -> [u8; 1] {{ requires!("a/1/1"); g() }}'
    (mark,) = scan_rust(text, "a.rs").marks
    assert mark.function == "f"


def test_a_mark_of_python_says_its_form() -> None:
    text = (
        "from vespiary.trace import implements, requires\n"
        'requires("a/1/1", "a/1/2")\n'
        'x = requires("a/1/3", y)\n'
        '@implements("a/1/4")\n'
        "def f(): pass\n"
    )
    found = scan_python(text, "a.py")
    assert [mark.form for mark in found.marks] == ["statement", "condition", "function"]
    assert not found.problems


def test_python_is_read_by_the_names_under_which_marks_were_imported() -> None:
    found = scan_python(PYTHON, "a.py")
    assert told(found) == [
        ("claim", ("nest/1/1",), 7, ""),
        ("mark", ("nest/2/1",), 9, "door"),
        ("mark", ("nest/2/2",), 11, "door"),
        ("mark", ("nest/2/3", "nest/2/4"), 11, "door"),
        ("mark", ("nest/2/5",), 12, "door"),
        ("claim", ("nest/2/6",), 15, "TestDoor.test_it"),
        ("claim", ("nest/2/7", "nest/2/8"), 16, "TestDoor.test_it"),
    ]
    assert not found.problems


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("fn f() {\n requires!(); }", "a.rs:2: requires! has no identifier"),
        ('fn f() -> bool {\n requires!("" => x) }', "a.rs:2: requires! has no identifier"),
        ("fn f() {\n claims!(NAME); }", "a.rs:2: claims! has no identifier"),
        ('fn f() {\n requires!("a/1/1" => x);\n}', "a.rs:2: the value of requires! is dropped"),
        ('fn f() {\n if requires!("a/1/1") { g(); }\n}', "a.rs:2: a mark without a condition"),
        ('fn f() -> bool {\n !requires!("a/1/1" => x)\n}', "a.rs:2: a negated mark"),
        ('fn f() -> bool {\n requires!("a/1/1" => true)\n}', "a.rs:2: a condition that is a"),
        ('fn f() {\n if !(requires!("a/1/1" => x)) {}\n}', "a.rs:2: a negated mark"),
        ('fn f() {\n assert!(requires!("a/1/1" => x));\n}', "a.rs:2: an asserted mark"),
        ('fn f() {\n debug_assert!(requires!("a/1/1" => x), "no");\n}', "a.rs:2: an asserted"),
        ('fn f() {\n if requires!("a/1/1" => x) == false {}\n}', "a.rs:2: a mark is compared"),
        ('fn f() {\n if false == requires!("a/1/1" => x) {}\n}', "a.rs:2: a mark is compared"),
        ('/// ```\n/// claims!("a/1/1");\n/// ```\nfn f() {}', "a.rs:2: claims! in a doc test"),
        (
            "macro_rules! m { ($i:literal) => { requires!($i) } }",
            "a.rs:1: requires! within the macro m: no call of it here",
        ),
    ],
)
def test_empty_and_dangling_marks_of_rust_are_reported(source: str, words: str) -> None:
    (problem,) = scan_rust(source, "a.rs").problems
    assert str(problem).startswith(words)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("requires()", "a.py:2: requires has no identifier"),
        ("x = requires(NAME, y)", "a.py:2: requires has no identifier"),
        ('requires("a/1/1", x)', "a.py:2: the value of the mark is dropped"),
        ('if requires("a/1/1"): pass', "a.py:2: a mark without a condition is a statement"),
        ('x = not requires("a/1/1", y)', "a.py:2: a negated mark"),
        ('x = not bool(requires("a/1/1", y))', "a.py:2: a negated mark"),
        ('x = not (z or requires("a/1/1", y))', "a.py:2: a negated mark"),
        ('x = not (z := requires("a/1/1", y))', "a.py:2: a negated mark"),
        ('x = requires("a/1/1", y) ^ True', "a.py:2: a negated mark"),
        ('x = requires("a/1/1", y)\nif not x: pass', "a.py:3: a negated mark"),
        ('x: bool = requires("a/1/1", y)\nif not x: pass', "a.py:3: a negated mark"),
        ('x = requires("a/1/1", y)\nassert x', "a.py:3: an asserted mark"),
        ('if x := requires("a/1/1", y): pass\nz = x is False', "a.py:3: a mark is compared"),
        ('assert requires("a/1/1", y), "no"', "a.py:2: an asserted mark"),
        ('x = requires("a/1/1", y) is False', "a.py:2: a mark is compared with a constant"),
        ('x = requires("a/1/1", y) == False', "a.py:2: a mark is compared with a constant"),
        ('x = True is requires("a/1/1", y)', "a.py:2: a mark is compared with a constant"),
        ('x = requires("a/1/1", True)', "a.py:2: a condition that is a constant"),
        ("@implements\ndef f(): pass", "a.py:2: implements has no identifier"),
        ("@pytest.mark.requirement\ndef f(): pass", "a.py:2: pytest.mark.requirement has no"),
        ("@pytest.mark.requirement()\ndef f(): pass", "a.py:2: pytest.mark.requirement has no"),
        ("def f(:", "a.py:2: not valid Python: "),
        (f"x = {'+'.join('1' * 20_000)}", "a.py:1: nested too deeply to be read: add it to"),
        (f"x = {'-' * 200_000}1", "a.py:1: nested too deeply to be read: add it to"),
    ],
)
def test_empty_and_dangling_marks_of_python_are_reported(source: str, words: str) -> None:
    text = f"from vespiary.trace import implements, requires\n{source}\n"
    assert [p for p in scan_python(text, "a.py").problems if str(p).startswith(words)]


@pytest.mark.parametrize(
    "source",
    [
        'x = requires("a/1/1", not y)',
        'x = requires("a/1/1", y) and not z',
        'x = requires("a/1/1", y)\nx = other()\nassert x',
        'def f():\n    x = requires("a/1/1", y)\ndef g(x):\n    assert x',
        'if requires("a/1/1", y == 0): y = 1\nassert y',
        'requires("a/1/1")\nassert y',
    ],
)
def test_what_is_beside_a_mark_may_be_negated_and_asserted(source: str) -> None:
    text = f"from vespiary.trace import implements, requires\n{source}\n"
    assert not scan_python(text, "a.py").problems


PIECES = st.lists(
    st.sampled_from(
        ['"text {"', "'{'", "'a", 'r#"} ""#', "// } \n", "/* { /* */ } */", "b'\\''", "{ x }", "\n"]
    ),
    max_size=12,
).map(" ".join)


@pytest.mark.parametrize("before", ["", "!", "!vespiary_trace::", "(", "x &&", "=> ", "&& !"])
def test_a_mark_is_found_behind_any_operator(before: str) -> None:
    (mark,) = scan_rust(f'fn f() {{ let y = {before}requires!("a/1/1" => x); }}', "a.rs").marks
    assert mark.ids == ("a/1/1",)


@given(PIECES, PIECES)
def test_what_stands_around_a_mark_of_rust_does_not_hide_it(before: str, after: str) -> None:
    text = f'fn f() {{ {before}\n let y = requires!("a/1/1" => x); {after}\n }}'
    (mark,) = scan_rust(text, "a.rs").marks
    assert (mark.ids, mark.function) == (("a/1/1",), "f")
    assert mark.line == text[: text.index("requires!")].count("\n") + 1


@given(st.text(max_size=60))
def test_any_text_at_all_can_be_scanned(text: str) -> None:
    scan_rust(text, "a.rs")
    scan_rust(text + ' requires!("', "a.rs")
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        assert scan_python(text, "a.py").problems


CATALOGUE = """
[[requirement]]
id = "nest/2/1"
level = "MUST"
[[requirement]]
id = "nest/2/2"
excluded = "Wasps do not do this."
[[requirement]]
id = "nest/2/3"
moved_from = "nest/2/4"
[[vanished]]
id = "nest/2/9"
"""


class Folder:
    """A project in a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("trace.toml", '[sources]\npython = ["*.py"]\nrust = ["*.rs"]\n')
        self.write("requirements/nest.toml", CATALOGUE)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def scan(self, *arguments: str) -> Result:
        config = str(self.root / "trace.toml")
        return CliRunner().invoke(main, ["trace", "scan", "--config", config, *arguments])


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


MARK = 'fn f() -> bool { requires!("nest/2/1" => x) }\n'
CLAIM = 'fn t() { claims!("nest/2/1"); }\n'


def test_marks_and_claims_that_fit_together_are_counted(folder: Folder) -> None:
    folder.write("a.rs", MARK + CLAIM)
    folder.write("a.py", "")
    done = folder.scan("--strict")
    assert done.exit_code == 0
    assert done.output == "3 requirements: 1 marked (1 mark), 1 claimed (1 claim); 2 sources read\n"


def test_a_pattern_without_a_file_is_a_warning(folder: Folder) -> None:
    folder.write("a.rs", MARK + CLAIM)
    done = folder.scan()
    assert done.exit_code == 0
    assert "trace.toml: sources.python: no file matches '*.py': correct the pattern" in done.output
    assert folder.scan("--strict").exit_code == 1


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (MARK.replace("/2/1", "/2/11"), "error: a.rs:1: marks nest/2/11, which no catalogue has:"
         " did you mean nest/2/1?"),
        (CLAIM, "error: a.rs:1: nest/2/1 is claimed, but no source has a mark of it"),
        (MARK + CLAIM.replace("2/1", "2/9"), "error: a.rs:2: claims nest/2/9, which has vanished"),
        (MARK.replace("2/1", "2/4"), "error: a.rs:1: nest/2/4 is now nest/2/3: run vespiary"),
        (MARK.replace("2/1", "2/2"), "error: a.rs:1: nest/2/2 is marked here and excluded"),
        ("fn f() { claims!(); }", "error: a.rs:1: claims! has no identifier"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_an_error(folder: Folder, source: str, words: str) -> None:
    folder.write("a.rs", source)
    done = folder.scan()
    assert done.exit_code == 1
    assert words in done.output


def test_a_mark_that_no_test_claims_is_a_warning_and_fails_only_when_strict(folder: Folder) -> None:
    folder.write("a.rs", MARK)
    assert folder.scan().exit_code == 0
    assert "warning: a.rs:1: nest/2/1 is marked, but no test claims it" in folder.scan().output
    assert folder.scan("--strict").exit_code == 1


def test_an_identifier_in_two_catalogues_is_an_error(folder: Folder) -> None:
    folder.write("a.rs", MARK + CLAIM)
    folder.write("requirements/nest-2.toml", '[specification]\nname = "nest"\n' + CATALOGUE)
    done = folder.scan()
    assert done.exit_code == 1
    assert "nest.toml:2: nest/2/1 is in " in done.output


def test_excluded_files_are_not_read(folder: Folder) -> None:
    folder.write("a.rs", MARK + CLAIM)
    folder.write("b.rs", "fn f() { claims!(); }")
    config = '[sources]\nrust = ["*.rs"]\nexclude = ["b.*"]\n'
    folder.write("trace.toml", config)
    assert folder.scan().exit_code == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("[sources\n", "trace.toml: not valid TOML"),
        ("[source]\n", "trace.toml: source: there is no such key: did you mean 'sources'?"),
        ('[sources]\nrust = "*.rs"\n', "trace.toml: sources.rust: must be a list of strings"),
        ("sources = 3\n", "trace.toml: sources: must be a table, [sources]"),
        ("snapshot = 3\n", "trace.toml: snapshot: must be a string; got 3"),
        ("gate = 3\n", "trace.toml: gate: must be tables, each with a line [[gate]]"),
        ('[sources]\nrust = ["no/*.rs"]\n', "trace.toml: sources: no file matches"),
        ('catalogues = ["no/*.toml"]\n', "trace.toml: catalogues: no file matches no/*.toml"),
        ('[[gate]]\nspecification = "nest"\n', "trace.toml: gate.levels: is missing"),
        ('[[gate]]\nspecification = "*"\nlevels = ["OUGHT"]\nstatus = "proven"\n',
         "trace.toml: gate.levels: must be one of MUST, MUST NOT"),
        ('[[gate]]\nspecification = "*"\nlevels = ["MUST"]\nstatus = "done"\n',
         "trace.toml: gate.status: must be one of unmapped, implemented"),
        ('[[gate]]\nspecification = "*"\nlevels = []\nstatus = "proven"\n',
         "trace.toml: gate.levels: is empty: name some of MUST, MUST NOT"),
        *((f'[sources]\npython = ["{pattern}"]\n', f"{pattern!r} is not a pattern: it must be")
          for pattern in ("", ".", "/etc/*.py", "**a")),
    ],
)  # fmt: skip
def test_wrong_settings_are_named_with_file_key_and_advice(
    folder: Folder, settings: str, words: str
) -> None:
    folder.write("trace.toml", settings)
    done = folder.scan()
    assert done.exit_code == 2
    assert words in done.output.replace("\n", " ").replace("  ", " ")


def test_missing_settings_are_reported_with_what_to_do(folder: Folder) -> None:
    done = CliRunner().invoke(main, ["trace", "scan", "--config", "/no/trace.toml"])
    assert done.exit_code == 2
    assert "run vespiary trace init, or name another with --config" in done.output


def test_a_claim_may_have_a_name_here_or_in_another_file() -> None:
    text = (
        "import pytest\n"
        "req = pytest.mark.requirement\n"
        'first = pytest.mark.requirement("a/1/1")\n'
        '@req("a/1/2")\n'
        "def test_it(): pass\n"
        "@first\n"
        "def test_first(): pass\n"
    )
    assert project_names({"a.py": text})["a.py"].claims == {"req": (), "first": ("a/1/1",)}
    found = scan_python(text, "a.py")
    assert told(found) == [
        ("claim", ("a/1/2",), 4, "test_it"), ("claim", ("a/1/1",), 6, "test_first")
    ]  # fmt: skip
    other = 'from .a import req as r\n@r("a/1/3")\ndef test_other(): pass\n'
    named = project_names({"a.py": text, "b.py": other})
    assert told(scan_python(other, "b.py", named["b.py"])) == [
        ("claim", ("a/1/3",), 2, "test_other")
    ]
    assert not found.problems


def test_a_mark_within_a_macro_knows_it() -> None:
    text = (
        'macro_rules! guard { ($c:expr) => { requires!("a/1/1" => $c) } }\n'
        "macro_rules! named { ($i:literal, $c:expr) => { requires!($i => $c) } }\n"
        'fn f() -> bool { guard!(x) && named!("a/1/2", y) }\n'
    )
    found = scan_rust(text, "a.rs")
    assert [(mark.ids, mark.line, mark.macro) for mark in found.marks] == [
        (("a/1/1",), 1, "guard"), (("a/1/2",), 3, "")
    ]  # fmt: skip
    assert not found.problems


def test_a_claim_in_the_arguments_of_a_macro_knows_it() -> None:
    text = (
        "mod tests {\n    made! {\n        some_test,\n        |x| {\n"
        '            claims!("a/1/1");\n            assert!(x);\n        }\n    }\n}\n'
    )
    found = scan_rust(text, "a.rs")
    assert [(mark.line, mark.function, mark.macro) for mark in found.marks] == [(5, "", "made")]
    other = scan_rust(text.replace("assert!(x)", "assert!(y)"), "a.rs")
    assert found.marks[0].digest != other.marks[0].digest


def test_a_source_that_is_nested_too_deeply_gives_no_claim_a_name() -> None:
    assert project_names({"a.py": f"req = pytest.mark.requirement\nx = {'-' * 200_000}1"}) == {}


CLAIMING = '@pytest.mark.requirement("nest/2/1")\n'
MARKED = "    return requires('nest/2/1', f())\n"


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (f"{CLAIMING}def test_f():\n{MARKED}", 5),
        (f"{CLAIMING}async def test_f():\n  def inner():\n{MARKED}", 6),
        (f"{CLAIMING}class TestF:\n  def test_f(self):\n{MARKED}", 6),
        (f"pytestmark = pytest.mark.requirement('nest/2/1')\ndef test_f():\n{MARKED}", 5),
        (f"{CLAIMING}def test_f(): ...\ndef f():\n{MARKED}", 0),
        (f"{CLAIMING}def test(): ...\ndef test_f():\n{MARKED}", 0),
        (f"{CLAIMING}def test_f():\n{MARKED.replace('2/1', '2/2')}", 0),
    ],
)
def test_a_test_does_not_mark_what_it_claims(folder: Folder, source: str, line: int) -> None:
    text = f"import pytest\nfrom vespiary.trace import requires\n{source}"
    folder.write("test_f.py", text)
    output = folder.scan().output
    words = "nest/2/1 is marked in a test that claims it: mark what it tests"
    assert (words in output) is bool(line)
    assert (f"test_f.py:{line}: {words}" in output) is bool(line)


def test_a_test_of_rust_does_not_mark_what_it_claims(folder: Folder) -> None:
    folder.write(
        "b.rs", 'fn test_f() { claims!("nest/2/1");\n assert!(requires!("nest/2/1" => x)); }\n'
    )
    assert "b.rs:2: nest/2/1 is marked in a test" in folder.scan().output


@pytest.mark.parametrize(
    ("file", "source", "words"),
    [
        ("b.py", "if os.environ.get('VESPIARY_TRACE'): pass", "'VESPIARY_TRACE' is there in a"),
        ("b.py", "x = 'vespiary_trace.probes' in sys.modules", "'vespiary_trace.probes' is there"),
        ("b.rs", 'fn f() { std::env::var("VESPIARY_TRACE") }', '"VESPIARY_TRACE" is there in a'),
        ("b.rs", '#[cfg(feature = "trace")]\nfn f() {}', 'cfg(feature = "trace" is there in a'),
        ("b.rs", 'fn f() { cfg!(not(feature="trace")) }', 'cfg!(not(feature="trace" is there'),
    ],
)
def test_code_that_a_traced_run_has_alone_is_reported(
    folder: Folder, file: str, source: str, words: str
) -> None:
    folder.write(file, source)
    done = folder.scan()
    assert f"warning: {file}:1: {words}" in done.output
    comment = "#" if file.endswith(".py") else "//"
    folder.write(file, f"{comment} Set VESPIARY_TRACE, and the feature trace.\n")
    assert "is there in a traced run" not in folder.scan().output
