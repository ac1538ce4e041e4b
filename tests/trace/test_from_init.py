"""From `init` to the gate: a strict Python project with xdist, and a Rust workspace with features.

Both were written for this purpose, with ten requirements each: of a Markdown text with identifiers
of its own, and of a text like an RFC.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vespiary.prove.trace.catalogue import load

pytestmark = pytest.mark.timeout(300)

CHECKOUT = Path(__file__).resolve().parents[2]

RULES = [
    ("empty", "text != ''", "''"),
    ("short", "len(text) > 1", "'a'"),
    ("long", "len(text) < 9", "'a' * 9"),
    ("spaced", "text == text.strip()", "' abc'"),
    ("upper", "text == text.lower()", "'aBc'"),
    ("digits", "not text.isdigit()", "'123'"),
    ("dotted", "'.' not in text", "'a.b'"),
    ("dashed", "not text.startswith('-')", "'-ab'"),
    ("quoted", "'\"' not in text", "'a\"b'"),
    ("tabbed", "'\\t' not in text", "'a\\tb'"),
]
"""Ten rules for a name: what each refuses, its condition, and a name that only it refuses."""


def trace(folder: Path, *arguments: str) -> str:
    target = os.environ.get("CARGO_TARGET_DIR", str(CHECKOUT / "target"))
    done = subprocess.run(
        [sys.executable, "-m", "vespiary", "trace", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "CARGO_TARGET_DIR": f"{target}/toy",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_PLUGINS": "xdist.plugin",
            "VESPIARY_TRACE": "",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def gated(folder: Path, name: str) -> None:
    """Extract, prove and gate; each of the ten requirements is proven by an assertion."""
    trace(folder, "extract", name, "--text", f"{name}.txt")
    assert len(load(folder / "requirements" / f"{name}.toml").requirements) == len(RULES)
    trace(folder, "scan", "--strict")
    told = trace(folder, "prove")
    assert "10 of 10 marks proven; 10 of 10 claims confirmed" in told
    # No test has a name that the last rule accepts.
    assert "warning: these conditions were true in every claiming test that reached them" in told
    assert trace(folder, "gate") == "every requirement passes its gate\n"
    evidence = json.loads((folder / ".cache" / "trace" / "evidence.json").read_text())
    assert len(evidence["sentences"]) == len(RULES)
    report = json.loads(trace(folder, "report", "--json", "-"))
    hows = {code["how"] for item in report["requirements"] for code in item["code"]}
    assert hows == {"assertion"}


def test_a_strict_python_project_with_workers(tmp_path: Path) -> None:
    text = ["# Names\n", *(f"- **NAME-{n}** A name MUST NOT be {rule[0]}.\n" for n, rule in
                           enumerate(RULES, 1))]  # fmt: skip
    code = ["from vespiary_trace import requires, unmarked\n\n\n@unmarked\ndef refusal(text):\n"]
    tests = ["import pytest\nfrom names import refusal\n\nreq = pytest.mark.requirement\n"]
    for number, (name, condition, refused) in enumerate(RULES, 1):
        code.append(f'    if requires("NAME-{number}", not ({condition})):\n')
        code.append(f'        return "{name}"\n')
        tests.append(f'\n\n@req("NAME-{number}")\ndef test_{name}():\n')
        tests.append(f'    assert refusal({refused}) == "{name}"\n')
    code.append('    return ""\n')
    settings = (
        "[pytest]\naddopts = -n 2 --strict-markers\nfilterwarnings = error\npythonpath = src\n"
    )
    write(
        tmp_path,
        {
            "names.txt": "".join(text),
            "src/names/__init__.py": "".join(code),
            "tests/test_names.py": "".join(tests),
            "pytest.ini": settings,
        },
    )
    trace(tmp_path, "init")
    gated(tmp_path, "names")


def test_a_rust_workspace_with_features(tmp_path: Path) -> None:
    rules = [
        ("empty", "!text.is_empty()", '""'),
        ("short", "text.len() > 1", '"a"'),
        ("long", "text.len() < 9", '"aaaaaaaaa"'),
        ("spaced", "text == text.trim()", '" abc"'),
        ("upper", "text == text.to_lowercase()", '"aBc"'),
        ("dotted", "!text.contains('.')", '"a.b"'),
        ("dashed", "!text.starts_with('-')", '"-ab"'),
        ("tabbed", "!text.contains('\\t')", '"a\\tb"'),
        ("starred", "!text.contains('*')", '"a*b"'),
        ("barred", "!text.contains('|')", '"a|b"'),
    ]
    text = ["1.  Names\n\n", *(f"   A name MUST NOT be {rule[0]}.\n\n" for rule in rules)]
    code = ["use vespiary_trace::requires;\n\npub fn refusal(text: &str) -> &'static str {\n"]
    tests = ["use vespiary_trace::claims;\n"]
    for number, (name, condition, refused) in enumerate(rules, 1):
        code.append(f'    if requires!("names/1/{number}" => !({condition})) {{\n')
        code.append(f'        return "{name}";\n    }}\n')
        feature = '#[cfg(feature = "more")]\n' if number == len(rules) else ""
        tests.append(f"\n{feature}#[test]\nfn {name}() {{\n")
        tests.append(f'    claims!("names/1/{number}");\n')
        tests.append(f'    assert_eq!(names::refusal({refused}), "{name}");\n}}\n')
    code.append('    ""\n}\n')
    manifest = (
        '[package]\nname = "names"\nversion = "0.1.0"\nedition = "2021"\n\n[features]\nmore = []\n'
        f'trace = ["vespiary-trace/probes"]\n\n[dependencies]\n'
        f'vespiary-trace = {{ path = "{CHECKOUT / "crates" / "trace"}" }}\n'
    )
    write(
        tmp_path,
        {
            "names.txt": "".join(text),
            "Cargo.toml": '[workspace]\nmembers = ["crates/*"]\nresolver = "2"\n',
            "crates/names/Cargo.toml": manifest,
            "crates/names/src/lib.rs": "".join(code),
            "crates/names/tests/refusals.rs": "".join(tests),
        },
    )
    trace(tmp_path, "init")
    settings = tmp_path / "trace.toml"
    features = "--features=names/trace"
    assert features in settings.read_text()
    more = settings.read_text().replace(features, f"{features},names/more")
    settings.write_text(more.replace('"--package=names"', '"--offline", "--package=names"'))
    gated(tmp_path, "names")
