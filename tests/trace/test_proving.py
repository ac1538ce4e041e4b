"""The prover, tested: a project with one mark for everything that may come of disabling one."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from vespiary.prove.trace.proving.record import Record

from .proved import PROJECT, Proved, command, environment

pytestmark = pytest.mark.timeout(300)
"""The first test waits for a build, and for many processes."""

VERDICTS = {
    "toy/1/1": ("src/lib.rs", "killed"),
    "toy/1/2": ("src/lib.rs", "survived"),
    "toy/1/3": ("src/lib.rs", "unreached"),
    "toy/1/4": ("src/lib.rs", "killed"),
    "toy/1/5": ("src/lib.rs", "killed"),
    "toy/1/6": ("src/lib.rs", "unclaimed"),
    "toy/1/7": ("src/lib.rs", "killed"),
    "toy/1/8": ("src/lib.rs", "survived"),
    "toy/1/9": ("src/lib.rs", "killed"),
    "toy/1/10": ("src/lib.rs", "killed"),
    "toy/1/11": ("src/lib.rs", "survived"),
    "toy/1/12": ("src/lib.rs", "killed"),
    "toy/1/13": ("src/lib.rs", "killed"),
    "toy/1/14": ("src/lib.rs", "killed"),
    "toy/1/15": ("src/lib.rs", "killed"),
    "toy/1/16": ("src/lib.rs", "killed"),
    "toy/2/1": ("toy.py", "killed"),
    "toy/2/2": ("toy.py", "survived"),
    "toy/2/3": ("toy.py", "unreached"),
    "toy/2/4": ("toy.py", "killed"),
    "toy/2/5": ("toy.py", "killed"),
    "toy/2/6": ("toy.py", "killed"),
    "toy/2/7": ("toy.py", "killed"),
    "toy/2/8": ("toy.py", "survived"),
}
"""Identifier: where it is marked, and the outcome of disabling it (the functions say why)."""


@pytest.fixture(scope="module")
def proved(tmp_path_factory: pytest.TempPathFactory) -> Proved:
    return Proved(tmp_path_factory.mktemp("proven"), "prove", "--patience=2s", "--jobs=2")


@pytest.mark.parametrize("name", VERDICTS)
def test_each_mark_gets_its_verdict(proved: Proved, name: str) -> None:
    file, verdict = VERDICTS[name]
    proofs = [proof for proof in proved.told["proofs"] if proof["id"] == name]
    assert len(proofs) == (2 if name == "toy/1/9" else 1), proved.errors
    for proof in proofs:
        assert (proof["site"].partition(":")[0], proof["verdict"]) == (file, verdict)
        assert bool(proof["tests"]) is (verdict == "killed")


def test_the_evidence_says_which_marks_have_no_condition(proved: Proved) -> None:
    statements = {
        name for mark in proved.told["marks"] if mark["form"] == "statement" for name in mark["ids"]
    }
    assert statements == {"toy/1/5", "toy/1/6", "toy/1/10", "toy/1/11", "toy/2/7", "toy/2/8"}


def test_nothing_else_is_proven(proved: Proved) -> None:
    assert {proof["id"] for proof in proved.told["proofs"]} == set(VERDICTS)


def test_a_test_that_hangs_without_the_mark_has_noticed(proved: Proved) -> None:
    assert proved.one("proofs", id="toy/1/4")["tests"] == ["toy::claims::waiting_ends"]
    assert proved.one("proofs", id="toy/2/4")["tests"] == ["test_toy.py::test_waiting_ends"]


def test_a_mark_in_another_process_is_reached_and_disabled(proved: Proved) -> None:
    for name, test in [
        ("toy/1/5", "toy::claims::another_process_greets"),
        ("toy/2/5", "test_toy.py::test_another_process_greets"),
    ]:
        proof = proved.one("proofs", id=name)
        assert proof["tests"] == [test]
        assert proof["site"] in proved.one("tests", id=test)["acted"]


def test_a_test_made_by_a_macro_is_known_by_its_own_name(proved: Proved) -> None:
    names = {test["id"] for test in proved.told["tests"] if "toy/1/7" in test["claims"]}
    path, other = (
        f"toy::claims::{name}"
        for name in ("long_texts_are_both", "a_claim_stands_in_the_arguments_of_a_macro")
    )
    assert names == {f"{path}::with_four", f"{path}::with_seven", other}
    for claimant in (path, other):
        assert proved.one("claims", id="toy/1/7", claimant=claimant)["verdict"] == "killed"


def test_a_claim_beside_one_that_tells_must_tell_too(proved: Proved) -> None:
    claimant = "toy::claims::it_claims_more_than_it_shows"
    assert proved.one("claims", claimant=claimant, id="toy/1/1")["verdict"] == "killed"
    assert proved.one("claims", claimant=claimant, id="toy/1/8")["verdict"] == "survived"


def test_a_claim_holds_if_the_test_fails_without_all_marks_together(proved: Proved) -> None:
    assert proved.one("claims", id="toy/1/9")["verdict"] == "killed"


def test_a_parameter_that_does_not_make_the_mark_act_is_not_a_false_claim(proved: Proved) -> None:
    claimant = "test_toy.py::test_what_is_not_masked_is_refused"
    assert proved.one("tests", id=f"{claimant}[True]")["acted"] == []
    assert proved.one("claims", claimant=claimant)["verdict"] == "killed"


def test_a_claim_that_no_test_comes_to_is_reported(proved: Proved) -> None:
    name = "toy::claims::a_claim_that_is_not_come_to"
    assert proved.told["silent"] == [name]
    assert f"{name} has a claim that no test executed" in proved.told["problems"]


def test_what_is_reached_and_what_acts_are_distinguished(proved: Proved) -> None:
    test = proved.one("tests", id="toy::claims::what_is_not_masked_is_refused")
    assert test["reached"] == test["acted"] == ["src/lib.rs:7"]
    assert proved.one("tests", id="toy::claims::a_close_code_is_looked_at")["acted"] == []


def test_tests_that_claim_nothing_are_not_run(proved: Proved) -> None:
    assert not [test for test in proved.told["tests"] if "claims_nothing" in test["id"]]


def test_the_evidence_is_written_to_the_file(proved: Proved) -> None:
    written = json.loads(proved.evidence.read_text())
    assert written.pop("version") == 4
    assert written == {name: proved.told[name] for name in written}


def test_what_is_not_proven_fails_the_run_in_sentences(proved: Proved) -> None:
    assert proved.status == 1
    assert (
        "src/lib.rs:12: the mark of toy/1/2 is claimed, and no claiming test fails while it is"
        " disabled"
    ) in proved.told["problems"]
    assert "src/lib.rs:43: the mark of toy/1/6 is claimed by no test" in proved.told["problems"]


def test_nothing_is_left_behind(proved: Proved) -> None:
    assert proved.left == []


def test_two_marks_of_one_requirement_that_hide_each_other_prove_it_together(
    proved: Proved,
) -> None:
    proofs = [proof for proof in proved.told["proofs"] if proof["id"] == "toy/1/9"]
    assert [proof["together"] for proof in proofs] == [[proofs[1]["site"]], [proofs[0]["site"]]]


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("toy/1/1", "assertion"),
        ("toy/1/4", "timeout"),
        ("toy/1/10", "exception"),
        ("toy/1/12", "assertion"),
        ("toy/1/14", "broken"),
        ("toy/1/15", "unfiltered"),
        ("toy/1/16", "assertion"),
        ("toy/2/5", "assertion"),
        ("toy/2/7", "exception"),
    ],
)
def test_the_evidence_says_how_a_test_fails(proved: Proved, name: str, how: str) -> None:
    assert proved.one("proofs", id=name)["how"] == how


def test_a_claim_whose_feature_is_off_is_a_warning_that_names_it(proved: Proved) -> None:
    assert proved.told["warnings"] == [
        "tests/claims.rs:157: the claim in only_with_a_feature is in none of the tests that were"
        " built: enable its feature in run.cargo, or remove the claim"
    ]


def test_one_requirement_can_be_proven_alone_and_the_rest_of_the_evidence_stays(
    tmp_path: Path, proved: Proved
) -> None:
    before = json.loads(proved.evidence.read_text())
    (tmp_path / "evidence.json").write_bytes(proved.evidence.read_bytes())
    again = Proved(tmp_path, "prove", "--only=toy/2/1")
    assert again.status == 0, again.errors
    assert {proof["id"] for proof in again.told["proofs"]} == {"toy/2/1"}
    assert len(again.told["tests"]) == 2
    after = json.loads(again.evidence.read_text())
    for table in ("proofs", "claims", "unstable", "silent", "warnings"):
        assert after[table] == before[table], table
    for table in ("marks", "tests", "sources"):
        assert len(after[table]) == len(before[table]), table


@pytest.mark.parametrize("verb", ["prove", "collect"])
def test_an_unknown_requirement_is_refused_and_the_evidence_stays(
    tmp_path: Path, verb: str
) -> None:
    Record(warnings=["kept"]).write(tmp_path / "evidence.json")
    before = (tmp_path / "evidence.json").read_bytes()
    refused = Proved(tmp_path, verb, "--only=toy/2/11")
    assert refused.status == 2
    assert "--only toy/2/11: no mark and no test has this identifier: did you mean toy/2/1?" in (
        refused.errors
    )
    assert refused.evidence.read_bytes() == before


def test_collecting_proves_nothing_and_passes(tmp_path: Path) -> None:
    collected = Proved(tmp_path, "collect", "--only=toy/2/2")
    assert collected.status == 0, collected.errors
    assert collected.told["proofs"] == []
    assert collected.one("tests", id="test_toy.py::test_what_is_long_is_capped")["acted"] == [
        "toy.py:15"
    ]


def test_a_build_of_each_set_of_features_is_traced(tmp_path: Path) -> None:
    text = (PROJECT / "trace.toml").read_text().replace('["*.py"]', "[]")
    options = '["--locked", "--offline", "--features=trace'
    text = text.replace(options + '"]', f'[{options}"], {options},more"]]')
    config = PROJECT / "matrix.toml"
    config.write_text(text.replace('pytest = ["test_toy.py"]', ""))
    try:
        proved = Proved(tmp_path, "prove", "--only=toy/1/1", config=config)
    finally:
        config.unlink()
    ids = {test["id"] for test in proved.told["tests"]}
    more = " (--locked --offline --features=trace,more)"
    assert f"toy::claims::only_with_a_feature{more}" in ids
    assert f"toy::claims::what_is_not_masked_is_refused{more}" in ids
    assert proved.told["warnings"] == []


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("nextest", "nextest is not needed: write the arguments of cargo test"),
        ("--doc", "doc tests cannot be traced: move the claims into tests"),
        ("--target=thumbv7em-none-eabi", "tests of another target cannot run here"),
    ],
)
def test_what_cannot_be_traced_is_refused_by_its_name(
    tmp_path: Path, argument: str, words: str
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "lib.rs").write_text("")
    (tmp_path / "Cargo.toml").write_text('[package]\nname = "x"\nversion = "1.0.0"\n')
    config = tmp_path / "trace.toml"
    config.write_text(f'[sources]\nrust = ["src/*.rs"]\n[run]\ncargo = ["{argument}"]\n')
    refused = Proved(tmp_path, "collect", config=config)
    assert refused.status == 2
    assert words in refused.errors


STRICT = """
[pytest]
addopts = -n 2 --strict-markers --strict-config
filterwarnings = error
asyncio_default_fixture_loop_scope = function
"""

NAMED_CLAIMS = {
    "claiming.py": 'import pytest\nreq = pytest.mark.requirement\nboth = req("toy/5/2")\n',
    "code_under_test.py": (
        "from vespiary.trace import requires\n\n"
        "def refused(x):\n"
        '    return requires("toy/5/1", not x) and requires("toy/5/2", x is not None)\n'
    ),
    "test_code.py": (
        "import code_under_test as code, pytest\nfrom claiming import req, both\n"
        "mark = pytest.mark.requirement\n\n"
        '@req("toy/5/1")\ndef test_one():\n    assert code.refused(False)\n\n'
        "@both\ndef test_two():\n    assert code.refused(False)\n\n"
        'class TestMore:\n    @mark("toy/5/1")\n    @pytest.mark.asyncio\n'
        "    async def test_three(self):\n        assert code.refused(False)\n"
    ),
}


@pytest.fixture
def strict(tmp_path: Path) -> Path:
    """A project whose pytest is strict and starts workers, with claims that have names."""
    for name, text in NAMED_CLAIMS.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "pytest.ini").write_text(STRICT)
    config = tmp_path / "trace.toml"
    config.write_text('[sources]\npython = ["*.py"]\n[run]\npytest = ["."]\n')
    return config


def test_a_strict_project_with_xdist_and_asyncio_is_proven(
    strict: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plugins = "xdist.plugin,pytest_asyncio.plugin"
    monkeypatch.setenv("PYTEST_PLUGINS", plugins)
    proved = Proved(tmp_path, "prove", config=strict)
    assert proved.status == 0, proved.errors + str(proved.told)
    assert {test["id"] for test in proved.told["tests"]} == {
        "test_code.py::test_one", "test_code.py::test_two", "test_code.py::TestMore::test_three"
    }  # fmt: skip
    assert {source["function"] for source in proved.told["sources"]} == {
        "refused", "test_one", "test_two", "TestMore.test_three"
    }  # fmt: skip


def test_a_strict_projects_own_run_knows_the_marker(strict: Path) -> None:
    own = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:randomly", "-q"],
        cwd=strict.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "3 passed" in own.stdout, own.stdout


@pytest.mark.parametrize("times", [1, 20])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_ends_its_processes_and_leaves_nothing_disabled(
    tmp_path: Path, number: signal.Signals, times: int
) -> None:
    with subprocess.Popen(
        command("prove", "--only=toy/2/4", "--patience=10min", f"--evidence={tmp_path / 'e.json'}"),
        env=environment(tmp_path),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # Else as nohup has it.
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("disabling"):
                break
        time.sleep(0.5)
        children = psutil.Process(process.pid).children(recursive=True)
        for _ in range(times):
            process.send_signal(number)
            time.sleep(0.002)
        process.stderr.read()
    assert process.returncode != 0
    assert children
    assert psutil.wait_procs(children, timeout=5)[1] == []
    assert list(tmp_path.iterdir()) == []
