"""Ways to fool a tracer: each of the programs of `fools` gets the verdict that is right.

All are one project, and proven in one run; then what nothing has run may change.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vespiary.prove.trace.proving.record import Mark, Proof, Record

from .fools import CODE, FOOLS

pytestmark = pytest.mark.timeout(600)
"""The first test waits for the run, which starts about a hundred processes of pytest."""

HEAD = """
import asyncio, functools, hashlib, os, signal, subprocess, sys, threading, time, warnings
from pathlib import Path
import pytest
from vespiary.trace import requires

def count(name):
    runs = Path(name).with_suffix(".runs")
    number = len(runs.read_text()) if runs.exists() else 0
    runs.write_text("x" * (number + 1))
    return number
"""

NUMBERS = {name: number for number, name in enumerate(FOOLS, 1)}


def trace(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "VESPIARY_TRACE": ""}
    return subprocess.run(
        [sys.executable, "-m", "vespiary", "trace", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def program(name: str) -> str:
    text = FOOLS[name].program
    code = "" if re.search(r"(requires|implements)\(ID", text) else CODE
    text = text.replace("def test_it(", "@pytest.mark.requirement(ID)\ndef test_it(")
    number = NUMBERS[name]
    text = (HEAD + code + text).replace("OTHER", f'"fool/2/{number}"')
    return re.sub(r"\bID\b", f'"fool/1/{number}"', text)


def write_project(folder: Path, programs: dict[str, str]) -> None:
    for name, text in programs.items():
        (folder / f"test_{name}.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "trace.toml").write_text(
        '[sources]\npython = ["*.py"]\n[run]\npytest = ["."]\n'
        '[[gate]]\nspecification = "*"\nlevels = ["MUST"]\nstatus = "proven"\n'
    )
    (folder / "requirements").mkdir()
    names = sorted(set(re.findall(r"fool/\d/\d+", "".join(programs.values()))))
    tables = [f'[[requirement]]\nid = "{name}"\nlevel = "MUST"\n' for name in names]
    (folder / "requirements" / "fool.toml").write_text("\n".join(tables))


class Fooled:
    """One run of the prover over all programs."""

    def __init__(self, folder: Path) -> None:
        write_project(folder, {name: program(name) for name in FOOLS})
        done = trace(folder, "prove", "--patience=3s", "--jobs=3", "--json")
        assert done.stdout, done.stderr
        self.told: dict[str, Any] = json.loads(done.stdout)

    def proofs(self, name: str) -> list[dict[str, Any]]:
        identifier = f"fool/1/{NUMBERS[name]}"
        return [proof for proof in self.told["proofs"] if proof["id"] == identifier]


@pytest.fixture(scope="module")
def fooled(tmp_path_factory: pytest.TempPathFactory) -> Fooled:
    return Fooled(tmp_path_factory.mktemp("fooled"))


@pytest.mark.parametrize("name", FOOLS)
def test_no_test_fools_the_tracer_that(fooled: Fooled, name: str) -> None:
    fool, proofs = FOOLS[name], fooled.proofs(name)
    assert {proof["verdict"] for proof in proofs} == {fool.verdict}
    assert {proof["how"] for proof in proofs} == {fool.how}
    test = f"test_{name}.py::test_it"
    assert (test in fooled.told["unstable"]) == fool.unstable


def test_a_mark_that_others_hide_is_reported_with_them(fooled: Fooled) -> None:
    (proof,) = fooled.proofs("hides_what_comes_after_it")
    assert proof["together"] == ["test_hides_what_comes_after_it.py:14"]
    twice = fooled.proofs("is_guarded_twice_for_the_same_requirement")
    sites = [proof["site"] for proof in twice]
    assert [proof["together"] for proof in twice] == [[sites[1]], [sites[0]]]
    thrice = fooled.proofs("is_guarded_three_times")
    assert [len(proof["together"]) for proof in thrice] == [2, 2, 2]
    (sentence,) = [words for words in fooled.told["problems"] if "disabled too" in words
                   and words.startswith("test_hides_what")]  # fmt: skip
    assert sentence.endswith(
        "unless test_hides_what_comes_after_it.py:14 is disabled too: test what only this mark"
        " refuses"
    )


def test_what_only_a_crash_or_a_timeout_proves_is_listed(fooled: Fooled) -> None:
    weak = [words.partition(".py")[0] for words in fooled.told["weak"]]
    assert sorted(weak) == [
        "test_cannot_be_imported_without_the_mark",
        "test_ends_its_process",
        "test_kills_its_process",
        "test_loops_for_ever",
        "test_uses_a_name_that_is_not_there_without_the_mark",
    ]


def test_what_is_only_reached_is_listed_with_what_to_do() -> None:
    proofs = [Proof("a.py:1", "a/1/1", "killed", ("t",), how="any result"),
              Proof("a.py:2", "a/1/2", "killed", ("t",), how="unfiltered"),
              Proof("a.py:3", "a/1/3", "killed", ("t",), how="broken"),
              Proof("a.py:4", "a/1/4", "killed", ("t",), how="any of its type"),
              Proof("a.py:5", "a/1/5", "killed", ("t",), how="one result")]  # fmt: skip
    record = Record(proofs=proofs, marks=[Mark("a.py:3", ("a/1/3",), "a.py", 3, "function")])
    first, second, third, fourth = record.hints()
    assert first.startswith("a.py:1: the mark of a/1/1 gives a result that no test checks: assert")
    assert second.startswith("a.py:2: the mark of a/1/2 accepts values, but every claiming test")
    assert third.startswith("a.py:4: the mark of a/1/4 gives a result, but the claiming tests")
    assert fourth.startswith("a.py:5: the mark of a/1/5 chooses between two results, but every")
    record.marks.clear()
    assert record.hints()[0].startswith("a.py:3: the only proof of a/1/3 is a crash of the code")


def test_a_test_of_the_other_result_of_a_choice_confirms_its_claim(fooled: Fooled) -> None:
    identifier = f"fool/1/{NUMBERS['shows_both_results_of_a_choice']}"
    claims = [claim for claim in fooled.told["claims"] if claim["id"] == identifier]
    assert [claim["verdict"] for claim in claims] == ["killed", "killed"]


def test_a_condition_that_was_never_false_is_listed(fooled: Fooled) -> None:
    constant = {site.partition(".py")[0] for site in fooled.told["constant"]}
    assert "test_has_a_condition_that_is_always_true" in constant
    assert "test_tells_with_one_of_its_parameters" not in constant
