"""Marks whose absence shows less than it seems, by where they stand in the code."""

import pytest

from vespiary.prove.trace.scan_python import scan_python
from vespiary.prove.trace.scan_rust import scan_rust
from vespiary.prove.trace.seen import form_at

GUARDS_NOTHING = "the code that the mark guards does nothing"
REFUSES = "what refuses runs only while the mark is false"
IMPORT = "from vespiary_trace import implements, requires\n"


def python_forms(source: str) -> list[str]:
    return [mark.form for mark in scan_python(IMPORT + source, "a.py").marks]


def rust_forms(source: str) -> list[str]:
    return [mark.form for mark in scan_rust(f"fn f() {{ {source} }}", "a.rs").marks]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('if requires("a/1/1", x): pass', GUARDS_NOTHING),
        ('if requires("a/1/1", x): ...', GUARDS_NOTHING),
        ('if requires("a/1/1", x):\n    "fine"\n    pass', GUARDS_NOTHING),
        ('if requires("a/1/1", x): pass\nelse: raise E', REFUSES),
        ('if requires("a/1/1", x): pass\nelif y: raise E', REFUSES),
        ('if requires("a/1/1", x) and y: pass\nelse: z = 1', REFUSES),
        ('ok = requires("a/1/1", x)\nif ok: pass\nelse: raise E', REFUSES),
        ('def f(x):\n    if requires("a/1/1", x): return\n    raise E', REFUSES),
        ('def f(x):\n    if requires("a/1/1", x): return None\n    else: raise E', REFUSES),
        ('for x in y:\n    if requires("a/1/1", x): continue\n    raise E', REFUSES),
        ('requires("a/1/1", x) or refuse()', REFUSES),
        ('None if requires("a/1/1", x) else refuse()', REFUSES),
        ('match x:\n    case _ if requires("a/1/1", x): pass\n    case _: raise E', REFUSES),
        ('match x:\n    case 1: y()\n    case _ if requires("a/1/1", x): pass', GUARDS_NOTHING),
    ],
)
def test_a_mark_guards_code_that_does_something(source: str, words: str) -> None:
    (problem,) = scan_python(IMPORT + source, "a.py").problems
    assert problem.words.startswith(words)
    assert problem.error


@pytest.mark.parametrize(
    "source",
    [
        'if requires("a/1/1", x): raise E',
        'match x:\n    case 1 if requires("a/1/1", x): raise E\n    case _: pass',
        'x = None if requires("a/1/1", x) else y',
        'if requires("a/1/1", x): y = 1\nelse: raise E',
        'def f(x):\n    if requires("a/1/1", x): return\n    log(x)',
        'def f(x):\n    if requires("a/1/1", x): return True\n    raise E',
        'if y: pass\nelse: raise E\nrequires("a/1/1")\nz()',
        'x = requires("a/1/1", x) or refuse()',
    ],
)
def test_code_that_a_mark_guards_is_not_reported(source: str) -> None:
    assert not scan_python(IMPORT + source, "a.py").problems


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('if requires!("a/1/1" => x) {}', GUARDS_NOTHING),
        ('if requires!("a/1/1" => x) { } else { return; }', REFUSES),
        ('if (requires!("a/1/1" => x)) {\n} else if y { return; }', REFUSES),
        ('requires!("a/1/1" => x) || return;', REFUSES),
        ('let _ = requires!("a/1/1" => x) || panic!("no");', REFUSES),
        ('let _ = requires!("a/1/1" => x) || std::panic!("no");', REFUSES),
    ],
)
def test_a_mark_of_rust_guards_code_that_does_something(source: str, words: str) -> None:
    (problem,) = scan_rust(f"fn f() {{ {source} }}", "a.rs").problems
    assert problem.words.startswith(words)


@pytest.mark.parametrize(
    ("source", "forms"),
    [
        ('x = [y for y in z if requires("a/1/1", y)]', ["filter"]),
        ('x = {y for y in z if w if bool(requires("a/1/1", y))}', ["filter"]),
        ('x = all(requires("a/1/1", y) for y in z)', ["filter"]),
        ('x = filter(lambda y: requires("a/1/1", y), z)', ["filter"]),
        ('x = itertools.takewhile(lambda y: requires("a/1/1", y), z)', ["filter"]),
        ('x = requires("a/1/1", y) and requires("a/1/1", z)', ["filter"] * 2),
        ('x = requires("a/1/1", y) and w and requires("a/1/2", "a/1/1", z)', ["filter"] * 2),
        ('x = requires("a/1/1", y) and requires("a/1/2", z)', ["condition"] * 2),
        ('x = requires("a/1/1", y) or requires("a/1/1", z)', ["condition"] * 2),
        ('if requires("a/1/1", y):\n    if requires("a/1/1", z): w()', ["filter"] * 2),
        ('if requires("a/1/1", y):\n    if requires("a/1/2", z): w()', ["condition"] * 2),
        (
            'if requires("a/1/1", y):\n    if requires("a/1/1", z): w()\n    else: x()',
            ["condition"] * 2,
        ),
        ('x = [requires("a/1/1", y) for y in z]', ["condition"]),
        ('x = any(requires("a/1/1", y) for y in z)', ["condition"]),
    ],
)
def test_a_condition_that_lets_something_pass_is_a_filter(source: str, forms: list[str]) -> None:
    assert python_forms(source) == forms


CHOICE = '"shipped" if requires("a/1/1", x) else "refused"'


@pytest.mark.parametrize(
    ("source", "form"),
    [
        (f"y = {CHOICE}", "choice"),
        (f"y = lambda x: {CHOICE}", "choice"),
        ('def f(x):\n    if requires("a/1/1", x): return S.A\n    return S.B', "choice"),
        ('def f(x):\n    if requires("a/1/1", x): return 200\n    else: return 413', "choice"),
        ('if requires("a/1/1", x): y = "a"\nelse: y = "b"', "choice"),
        ('if (z := requires("a/1/1", x)) and w: y = "a"\nelse: y = "b"', "choice"),
        ('y = requires("a/1/1", x) and "shipped" or "refused"', "choice"),
        ('y = ["no", "yes"][requires("a/1/1", x)]', "choice"),
        ('y = {True: "yes", False: "no"}[requires("a/1/1", x)]', "choice"),
        ('def f(x):\n    z = requires("a/1/1", x)\n    return A if z else B', "choice"),
        ('match x:\n    case 1 if requires("a/1/1", x): y = A\n    case _: y = B', "choice"),
        ('y = None if requires("a/1/1", x) else "fault"', "choice"),
        ('y = None if requires("a/1/1", x) else parse(x)', "condition"),
        ('if requires("a/1/1", x): y = 1\nelse: raise E', "filter"),
        ('if requires("a/1/1", x): y = 1\nelse:\n    log()\n    raise E', "filter"),
        ('def f(x):\n    if requires("a/1/1", x): return g(x)\n    raise E', "filter"),
        ('match x:\n    case 1 if requires("a/1/1", x): g()\n    case _: raise E', "filter"),
        ('match x:\n    case 1 if requires("a/1/1", x): g()\n    case 1: raise E', "filter"),
        ('match x:\n    case 1 if requires("a/1/1", x): g()\n    case 2: raise E', "condition"),
        (
            'match x:\n    case 1 if requires("a/1/1", x): g()\n    case _ if y: raise E',
            "condition",
        ),
        ('y = "fault" if requires("a/1/1", x) else None', "condition"),
        ('y = 5 if requires("a/1/1", x) else 0', "condition"),
        ('y = 125 if requires("a/1/1", x > 125) else x', "condition"),
        ('y = True if requires("a/1/1", x) else False', "condition"),
        ('y = "same" if requires("a/1/1", x) else "same"', "condition"),
        ('def f(x):\n    if requires("a/1/1", x): raise E\n    raise F', "condition"),
        ('def f(x):\n    if requires("a/1/1", x): y = g(x)\n    raise E', "condition"),
        ('if requires("a/1/1", x): y = "a"\nelse: z = "b"', "condition"),
        ('def f(x):\n    if requires("a/1/1", x): return "a"\n    return g(x)', "condition"),
    ],
)
def test_a_branch_whose_other_side_does_something_is_a_filter_or_a_choice(
    source: str, form: str
) -> None:
    assert python_forms(source) == [form]


@pytest.mark.parametrize(
    ("source", "forms"),
    [
        ('x.filter(|y| requires!("a/1/1" => y > 1))', ["filter"]),
        ('x.iter()\n.all(|y| requires!("a/1/1" => y > 1))', ["filter"]),
        ('x.retain(|y| { w(); requires!("a/1/1" => y > 1) })', ["filter"]),
        ('let y = requires!("a/1/1" => x) && requires!("a/1/1" => z);', ["filter"] * 2),
        ('let y = (requires!("a" => x)) && (vespiary_trace::requires!("b", "a" => z));',
         ["filter"] * 2),
        ('if requires!("a/1/1" => x) { if requires!("a/1/1" => z) { w(); } }', ["filter"] * 2),
        ('let y = requires!("a/1/1" => x) && requires!("a/1/2" => z);', ["condition"] * 2),
        ('let y = requires!("a/1/1" => x) || requires!("a/1/1" => z);', ["condition"] * 2),
        ('x.any(|y| requires!("a/1/1" => y > 1))', ["condition"]),
        ('if requires!("a/1/1" => x) { Ok(y) } else { Err(Fault::Refused { x }) }', ["filter"]),
        ('if requires!("a/1/1" => x) { y() } else if z { w() } else { Err(E) }', ["condition"]),
        ('if z && requires!("a/1/1" => x) { y(); } else { log("{"); return Err(E); }', ["filter"]),
        ('if requires!("a/1/1" => x) { return Ok(y); } Err(E)', ["filter"]),
        ('if requires!("a/1/1" => x) { return Ok(y); } if z { return Err(E); } Ok(w)',
         ["condition"]),
        ('if requires!("a/1/1" => x) { y(); } Err(E)', ["condition"]),
        ('if requires!("a/1/1" => x) { return Err(E); } Ok(y)', ["condition"]),
        ('if requires!("a/1/1" => x) { Err(E) } else { Err(F) }', ["condition"]),
        ('if requires!("a/1/1" => x) { return None; } Some(y)', ["condition"]),
        ('requires!("a/1/1" => x).then_some(y).ok_or(E)', ["filter"]),
        ('requires!("a/1/1" => x).then(|| y).ok_or_else(|| E)', ["filter"]),
        ('requires!("a/1/1" => x).then_some("yes").unwrap_or("no")', ["choice"]),
        ('if requires!("a/1/1" => x) { "shipped" } else { /* no */ "refused" }', ["choice"]),
        ('if requires!("a/1/1" => x) { return State::Open; } State::Closed', ["choice"]),
        ('match requires!("a/1/1" => x) { true => Ok(y), false => Err(E) }', ["filter"]),
        ('match requires!("a/1/1" => x) { false => "no", _ => "yes" }', ["choice"]),
        ('match y { Some(x) if requires!("a/1/1" => x) => "yes", _ => "no", }', ["choice"]),
        ('match y { 0 => g(), _ if requires!("a/1/1" => x) => { Ok(y) } _ => Err(E) }',
         ["filter"]),
        ('match y { Some(x) if requires!("a/1/1" => x) => g(), _ => h() }', ["condition"]),
        ('match y { 0 if requires!("a/1/1" => x) => g(), 1 => Err(E), _ => h() }', ["condition"]),
        ('match y { 0 if requires!("a/1/1" => x) => { Ok(z) } other => Err(other) }',
         ["filter"]),
        ('let y = if requires!("a/1/1" => x) { 5 } else { 0 };', ["condition"]),
        ('let y = if requires!("a/1/1" => x) { true } else { false };', ["condition"]),
    ],
)  # fmt: skip
def test_so_is_one_of_rust(source: str, forms: list[str]) -> None:
    assert rust_forms(source) == forms


@pytest.mark.parametrize(
    ("arguments", "returns", "form"),
    [
        ("", "", "function"),
        ("", " -> int", "function"),
        ("", " -> None", "result"),
        ("", " -> int | None", "result"),
        ("", " -> 'str | int | None'", "result"),
        ("", " -> typing.Optional[int]", "result"),
        ("", " -> list[None]", "function"),
        (", disabled=3", " -> int", "result"),
        (", disabled=None", " -> int", "result"),
    ],
)
def test_a_function_has_a_result_for_when_it_is_disabled(
    tmp_path_factory: pytest.TempPathFactory, arguments: str, returns: str, form: str
) -> None:
    source = f'@implements("a/1/1"{arguments})\ndef f(x){returns}: ...\n'
    assert python_forms(source) == [form]
    path = tmp_path_factory.mktemp("forms") / "a.py"
    path.write_text(source)
    assert form_at(path, 1, ("a/1/1",)) == form


@pytest.mark.parametrize(
    "below", ["property", "classmethod", "staticmethod", "functools.cache", "lru_cache(8)"]
)
def test_an_implements_above_an_object_is_reported(below: str) -> None:
    text = f'{IMPORT}class A:\n    @implements("a/1/1")\n    @{below}\n    def f(x): ...\n'
    (problem,) = scan_python(text, "a.py").problems
    assert str(problem).startswith("a.py:3: implements is not above a function")
    right = text.replace('    @implements("a/1/1")\n', "").replace(
        "    def f", '    @implements("a/1/1")\n    def f'
    )
    assert not scan_python(right, "a.py").problems


def test_an_implements_above_a_class_is_reported() -> None:
    (problem,) = scan_python(f'{IMPORT}@implements("a/1/1")\nclass A: ...\n', "a.py").problems
    assert problem.words.startswith("implements is not above a function")


@pytest.mark.parametrize("condition", ["True", "1 == 1", "not 0", '"a" in "abc"', "(1, 2)[0]"])
def test_a_condition_that_depends_on_nothing_is_a_constant(condition: str) -> None:
    (problem,) = scan_python(f'{IMPORT}x = requires("a/1/1", {condition})', "a.py").problems
    assert problem.words.startswith("a condition that is a constant")


@pytest.mark.parametrize("condition", ["true", "1 == 1", "!false", "'a' < 'b'", "true || 1 < 2,"])
def test_so_it_is_in_rust(condition: str) -> None:
    text = f'fn f() {{ if requires!("a/1/1" => {condition}) {{ y(); }} }}'
    (problem,) = scan_rust(text, "a.rs").problems
    assert problem.words.startswith("a condition that is a constant")


def test_the_form_of_a_mark_that_only_a_run_has_seen_is_read(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("forms") / "a.py"
    path.write_text(
        'x = [y for y in z if must("a/1/1", y)]\nx = must("a/1/2", y)\nmust("a/1/3")\n'
        'x = "a" if must("a/1/4", y) else "b"\n'
    )
    assert form_at(path, 1, ("a/1/1",)) == "filter"
    assert form_at(path, 2, ("a/1/2",)) == "condition"
    assert form_at(path, 3, ("a/1/3",)) == "statement"
    assert form_at(path, 4, ("a/1/4",)) == "choice"
