"""Catalogues, sources and evidence are joined; the ladder, the report and the gates follow."""

import json
from typing import Any

import pytest
from click.testing import CliRunner

from vespiary.cli.main import main

from .folder import CATALOGUE, SETTINGS, SOURCE, Folder


def test_what_claiming_tests_notice_everywhere_is_proven(folder: Folder) -> None:
    assert folder.statuses() == ["proven", "proven", "excluded", "proven"]
    assert not folder.errors()


def test_json_has_each_requirement_with_its_code_tests_and_evidence(folder: Folder) -> None:
    first = folder.report()["requirements"][0]
    assert first["id"] == "nest/1/1"
    assert (first["level"], first["role"], first["why"]) == ("MUST", ["client"], "Fear")
    assert first["code"][0] == {
        "file": "a.rs", "line": 1, "function": "knock", "verdict": "proven", "how": "",
        "together": [],
    }  # fmt: skip
    assert first["tests"] == [
        {"id": "nest::test_knock", "outcome": "passed", "acted": True, "proves": True, "tests": 1}
    ]


def test_one_marked_place_that_no_claiming_test_needs_keeps_it_from_being_proven(
    folder: Folder,
) -> None:
    folder.proof(0).update(verdict="survived", tests=[])
    assert folder.statuses()[0] == "executed"


def without_condition(folder: Folder) -> None:
    """Make the second mark of nest/1/1 a statement."""
    source = SOURCE.replace(' && requires!("nest/1/1", "nest/1/2" => y) }', " }")
    source += 'fn reply() { requires!("nest/1/1", "nest/1/2"); }\n'
    (folder.root / "a.rs").write_text(source)
    for place in (2, 3):
        folder.proof(place)["site"] = "a.rs:5"
    folder.test(0).update(reached=["a.rs:1", "a.rs:5"], acted=["a.rs:1", "a.rs:5"])
    folder.test(1).update(reached=["a.rs:5"], acted=["a.rs:5"])


def test_a_mark_without_a_condition_makes_its_requirement_reached(folder: Folder) -> None:
    without_condition(folder)
    assert folder.statuses() == ["reached", "reached", "excluded", "reached"]
    code = folder.report()["requirements"][0]["code"]
    assert [item["verdict"] for item in code] == ["proven", "reached"]
    assert not folder.errors()


def test_a_statement_whose_failure_no_test_notices_is_only_executed(folder: Folder) -> None:
    without_condition(folder)
    folder.proof(2).update(verdict="survived", tests=[])
    assert folder.statuses()[:2] == ["executed", "reached"]


def test_what_is_confirmed_stays_reached_in_the_snapshot(folder: Folder) -> None:
    without_condition(folder)
    folder.confirm(passed=["3.1"])
    assert folder.statuses()[0] == "confirmed"
    folder.run("snapshot")
    assert "nest/1/1 MUST reached: " in (folder.root / "snapshot.txt").read_text()


def test_a_gate_names_each_place_without_a_condition(folder: Folder) -> None:
    without_condition(folder)
    source = (folder.root / "a.rs").read_text()
    (folder.root / "a.rs").write_text(source + 'fn again() { requires!("nest/1/1"); }\n')
    folder.evidence["proofs"].append({**folder.proof(2), "site": "a.rs:6", "id": "nest/1/1"})
    reached = ["a.rs:1", "a.rs:5", "a.rs:6"]
    folder.test(0).update(reached=reached, acted=reached)
    assert "each of a.rs:5, a.rs:6 has no condition that" in folder.run("gate").output


def test_a_gate_accepts_what_is_reached_only_if_it_says_so(folder: Folder) -> None:
    without_condition(folder)
    done = folder.run("gate")
    assert done.exit_code == 1
    assert (
        "nest/1/1 MUST (Knock <twice>.) is reached, should be proven: a.rs:5 has no condition that"
        " can be disabled: mark a condition, or let the gate accept reached" in done.output
    )
    (folder.root / "trace.toml").write_text(SETTINGS.replace('"proven"', '"reached"'))
    assert folder.run("gate").exit_code == 0


def test_of_two_marks_on_one_line_both_must_be_needed(folder: Folder) -> None:
    folder.proof(1)["verdict"] = "survived"
    assert folder.statuses()[:2] == ["proven", "executed"]


def test_a_condition_that_was_never_true_is_only_implemented(folder: Folder) -> None:
    folder.test(0)["acted"] = []
    folder.evidence.update(proofs=[], claims=[])
    assert folder.statuses()[0] == "implemented"
    assert "nest::test_knock: it claims nest/1/1, but no marked condition was" in folder.errors()


def test_a_claim_that_never_reaches_the_code_is_an_error(folder: Folder) -> None:
    folder.test(0).update(reached=[], acted=[])
    folder.evidence.update(proofs=[], claims=[])
    assert "it claims nest/1/1, but never reaches the marked code (a.rs:1, a.rs:2)" in (
        folder.errors()
    )
    assert folder.run("report").exit_code == 1


def test_a_claim_that_survives_the_codes_removal_is_an_error(folder: Folder) -> None:
    folder.evidence["claims"][0]["verdict"] = "survived"
    assert folder.errors() == (
        "nest::test_knock: it claims nest/1/1, but passes while the marked code (a.rs:1, a.rs:2) is"
        " disabled: make it check the result, or mark what else leads to the same result"
    )


def test_one_of_the_tests_made_of_a_function_is_enough_for_its_claim(folder: Folder) -> None:
    folder.test(1).update(reached=[], acted=[])
    folder.evidence["claims"] = []
    assert not folder.errors()


def test_a_claiming_test_that_fails_with_nothing_disabled_proves_nothing(folder: Folder) -> None:
    folder.test(0)["outcome"] = "failed"
    folder.evidence.update(proofs=[], claims=[])
    assert folder.statuses()[0] == "implemented"
    assert "nest::test_knock: it failed although no mark was disabled: repair it" in (
        folder.errors()
    )


@pytest.mark.parametrize("outcome", ["skipped", "xfailed", "xpassed"])
def test_a_claiming_test_that_was_skipped_is_named(folder: Folder, outcome: str) -> None:
    folder.test(0)["outcome"] = outcome
    folder.evidence.update(proofs=[], claims=[])
    assert folder.report()["requirements"][0]["tests"][0]["outcome"] == outcome
    told = f"so their claims do not count: nest::test_knock ({outcome})"
    assert any(told in words for words in folder.report()["limits"])
    assert f"and show nothing: nest::test_knock ({outcome})" in folder.run("gate").output


def test_an_unstable_test_is_an_error(folder: Folder) -> None:
    folder.evidence["unstable"] = ["nest::test_knock"]
    assert "nest::test_knock: it passed at first and failed later" in folder.errors()


def test_a_mark_that_another_requirement_hides_is_not_proven(folder: Folder) -> None:
    folder.proof(0).update(verdict="masked", tests=[], together=["a.rs:2"])
    assert folder.statuses()[0] == "executed"
    code = folder.report()["requirements"][0]["code"]
    assert (code[0]["verdict"], code[0]["together"]) == ("masked", ["a.rs:2"])
    assert "the claiming tests fail only if a.rs:2 is disabled as well as a.rs:1" in (
        folder.run("gate").output
    )


def test_what_only_a_crash_proves_is_among_the_limits(folder: Folder) -> None:
    folder.proof(0)["how"] = "crash"
    folder.evidence["constant"] = ["a.rs:2"]
    limits = "\n".join(folder.report()["limits"])
    assert "a.rs:1: the only proof of nest/1/1 is a crash of nest::test_knock" in limits
    assert "these conditions were true in every claiming test that reached them" in limits
    assert folder.statuses()[0] == "proven"


def test_something_from_outside_confirms_what_is_proven(folder: Folder) -> None:
    folder.confirm(passed=["3.1", "3.2"])
    assert folder.statuses() == ["confirmed", "proven", "excluded", "confirmed"]
    assert folder.report()["requirements"][0]["outside"] == ["hive 3.*"]


def test_a_suite_with_a_failed_case_confirms_nothing(folder: Folder) -> None:
    folder.confirm(passed=["3.1"], failed=["3.2"])
    assert folder.statuses()[0] == "proven"


def test_a_suite_that_did_not_run_confirms_nothing(folder: Folder) -> None:
    folder.confirm(passed=["4.1"])
    assert folder.statuses()[0] == "proven"


def test_outside_alone_does_not_prove(folder: Folder) -> None:
    folder.evidence.update(proofs=[], claims=[])
    folder.confirm(passed=["3.1"])
    assert folder.statuses()[0] == "executed"


@pytest.mark.parametrize(
    ("outcome", "status"), [("", "confirmed"), ("<failure/>", "proven"), ("<skipped/>", "proven")]
)
def test_a_test_that_drives_another_program_confirms_when_it_passed(
    folder: Folder, outcome: str, status: str
) -> None:
    (folder.root / "outside" / "test_hive.py").write_text(
        '@pytest.mark.requirement("nest/1/1")\ndef test_hive(): ...\n'
    )
    (folder.root / "results.xml").write_text(
        '<testsuites><testcase classname="outside.test_other" name="test_hive"/>'
        f'<testcase classname="outside.test_hive" name="test_hive[2]">{outcome}</testcase>'
        "</testsuites>"
    )
    assert folder.statuses()[0] == status


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("results.xml", "<", "results.xml is not a JUnit report"),
        ("results.json", "{}", "cases (it has no 'passed')"),
        ("confirmations.toml", "[[confirmation]]\n", "confirmation 1: should have suite, cases"),
        ("confirmations.toml", "[[", "confirmations.toml: not valid TOML"),
    ],
)
def test_wrong_results_and_confirmations_are_refused(
    folder: Folder, name: str, text: str, words: str
) -> None:
    (folder.root / name).write_text(text)
    done = folder.run("report")
    assert done.exit_code == 2
    assert words in done.output


def test_a_confirmation_of_what_no_catalogue_has_is_an_error(folder: Folder) -> None:
    path = folder.root / "confirmations.toml"
    path.write_text(path.read_text().replace("nest/1/1", "nest/1/9"))
    assert "hive confirms nest/1/9, which no catalogue has" in folder.errors()


def test_without_evidence_nothing_is_above_implemented(folder: Folder) -> None:
    config = str(folder.root / "trace.toml")
    done = CliRunner().invoke(main, ["trace", "report", "--config", config, "--json", "-"])
    data = json.loads(done.output)
    assert [item["status"] for item in data["requirements"]][:2] == ["implemented"] * 2
    assert data["requirements"][0]["tests"][0]["outcome"] == "not run"
    assert data["limits"][0].startswith("There is no evidence")


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 4, "marks": [{}]}', '{"version": 4}'])
def test_what_is_not_an_evidence_is_refused(folder: Folder, text: str) -> None:
    path = folder.root / "other.json"
    path.write_text(text)
    done = folder.run("report", "--evidence", str(path))
    assert done.exit_code == 2
    assert "is not what vespiary trace prove writes" in done.output


@pytest.mark.parametrize("verb", ["report", "gate", "snapshot", "prove"])
def test_evidence_of_an_older_version_is_refused(folder: Folder, verb: str) -> None:
    folder.evidence["version"] = 2
    only = ["--only", "nest/1/1"] if verb == "prove" else []
    done = folder.run(verb, *only)
    assert done.exit_code == 2
    assert "was written by another version of vespiary trace" in done.output
    assert "run vespiary trace prove" in done.output


def test_evidence_that_was_named_must_be_there(folder: Folder) -> None:
    done = folder.run("gate", "--evidence", "/no/evidence.json")
    assert done.exit_code == 2
    assert "/no/evidence.json cannot be read" in done.output


def test_the_summary_counts_statuses_by_specification_and_level(folder: Folder) -> None:
    rows = [line.split() for line in folder.run("report").output.splitlines()]
    assert rows[1] == ["nest", "MUST", "-", "-", "-", "-", "2", "-", "-", "-", "2"]
    assert rows[2] == ["SHOULD", "-", "-", "-", "-", "-", "-", "1", "-", "1"]


def test_the_snapshot_has_one_line_a_requirement_and_its_difference_fails(folder: Folder) -> None:
    assert folder.run("snapshot", "--check").exit_code == 1
    assert folder.run("snapshot").exit_code == 0
    assert (folder.root / "snapshot.txt").read_text() == (
        "nest/1/1 MUST proven: nest::test_knock\n"
        "nest/1/2 MUST proven: nest::test_answer\n"
        "nest/1/3 SHOULD excluded\n"
        "nest/1/4 MAY proven: nest::test_knock\n"
    )
    assert folder.run("snapshot", "--check").exit_code == 0
    folder.proof(1)["verdict"] = "survived"
    done = folder.run("snapshot", "--check")
    assert done.exit_code == 1
    assert "-nest/1/2 MUST proven: nest::test_answer\n+nest/1/2 MUST executed: " in done.output


def test_a_snapshot_without_evidence_is_refused(folder: Folder) -> None:
    done = CliRunner().invoke(
        main, ["trace", "snapshot", "--config", str(folder.root / "trace.toml")]
    )
    assert done.exit_code == 1
    assert "run vespiary trace prove" in done.output


def test_a_gate_passes_what_is_high_enough_and_what_it_is_not_for(folder: Folder) -> None:
    folder.proof(1)["verdict"] = "survived"
    done = folder.run("gate")
    assert (done.exit_code, done.output) == (0, "every requirement passes its gate\n")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"proofs": []}, "is executed, should be proven: no claiming test fails while a.rs:1"),
        (
            {"proofs": [], "tests": []},
            "is implemented, should be proven: the tests that claim it",
        ),
    ],
)
def test_a_gate_names_each_offender_and_what_to_do(
    folder: Folder, change: dict[str, Any], words: str
) -> None:
    folder.evidence.update(change)
    done = folder.run("gate")
    assert done.exit_code == 1
    assert f"nest.toml:1: nest/1/1 MUST (Knock <twice>.) {words}" in done.output
    assert "1 requirement does not pass" in done.output


def test_an_unmapped_requirement_does_not_pass_and_what_has_no_role_is_everybodys(
    folder: Folder,
) -> None:
    catalogue = folder.root / "requirements" / "nest.toml"
    catalogue.write_text(CATALOGUE + '[[requirement]]\nid = "nest/1/5"\nlevel = "MUST"\n')
    assert (
        "nest/1/5 MUST is unmapped, should be proven: mark the condition with"
        in folder.run("gate").output
    )


def test_gates_without_any_are_refused(folder: Folder) -> None:
    (folder.root / "trace.toml").write_text(SETTINGS[: SETTINGS.index("[[gate]]")])
    done = folder.run("gate")
    assert done.exit_code == 2
    assert "has no gates: add a [[gate]] table" in done.output


def test_why_tells_a_reason_with_its_source_and_lists_the_missing(folder: Folder) -> None:
    told = folder.run("why", "nest/1/1").output
    assert "why: Fear (https://x.y/z)" in told
    assert "code: a.rs:1 knock" in told
    assert folder.run("why", "--missing").output == "nest/1/2  MUST\nnest/1/4  MAY\n"
    assert "did you mean nest/1/2?" in folder.run("why", "nest/1/22").output
    assert folder.run("why").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["report", "--title", "Nests"], "add --html FILE"),
        (["report", "--link", "{file}#{line}"], "add --html FILE"),
        (["why", "nest/1/1", "--missing"], "give an ID or --missing, not both"),
        (["prove", "--patience", "900ms"], "--patience must be at least 1s"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(
    folder: Folder, arguments: list[str], words: str
) -> None:
    done = folder.run(*arguments)
    assert done.exit_code == 2
    assert words in done.output


def test_a_text_that_cannot_be_read_is_an_error_that_names_it(folder: Folder) -> None:
    (folder.root / "trace.toml").write_text(f'{SETTINGS}[texts]\nnest = "requirements"\n')
    done = folder.run("report")
    assert done.exit_code == 2
    assert "requirements cannot be read: Is a directory" in done.output


def test_what_is_the_same_is_found_through_any_number_of_steps(folder: Folder) -> None:
    catalogue = folder.root / "requirements" / "nest.toml"
    table = '[[requirement]]\nid = "nest/1/{}"\nlevel = "MAY"\nsame_as = "nest/1/{}"\n'
    first, last = table.format(6, 5), table.format(5, 4)
    catalogue.write_text(first + CATALOGUE.replace("[[erratum]]", last + "[[erratum]]"))
    assert folder.statuses() == ["proven", "proven", "proven", "excluded", "proven", "proven"]
    folder.proof(0).update(verdict="survived", tests=[])
    assert folder.statuses()[0] == folder.statuses()[-1] == "executed"


def test_what_is_the_same_as_itself_is_an_error(folder: Folder) -> None:
    catalogue = folder.root / "requirements" / "nest.toml"
    table = '[[requirement]]\nid = "nest/1/{}"\nlevel = "MAY"\nsame_as = "nest/1/{}"\n'
    catalogue.write_text(CATALOGUE + table.format(5, 6) + table.format(6, 5) + table.format(7, 5))
    errors = folder.errors()
    assert "nest/1/5 is the same as itself, by same_as: take one same_as out" in errors
    assert "nest/1/6 is the same as itself" in errors
    assert "nest/1/7 is the same as itself" not in errors


def test_evidence_of_another_form_is_refused_in_words(folder: Folder) -> None:
    del folder.evidence["version"]
    done = folder.run("gate")
    assert done.exit_code == 2
    assert "is not what vespiary trace prove writes (it has no 'version'): run" in done.output
