"""Evidence is about the sources that were proven: what has changed since is not proven."""

import pytest

from .folder import SOURCE, Folder

UNCHANGED = {
    "a line above it": ("fn knock", "// another line\n\nfn knock"),
    "a comment in it": ("{ requires", "{ /* now */ requires"),
    "other white space": ("=> x) }\nfn answer", "=>\n   x)\n}\n\nfn answer"),
    "another test": ("fn test_knock", "fn test_other() { assert!(x); }\nfn test_knock"),
    "another function": ("fn answer", "fn other() {}\nfn answer"),
}


@pytest.mark.parametrize("change", UNCHANGED)
def test_evidence_survives_edits_that_change_nothing_of_what_was_proven(
    folder: Folder, change: str
) -> None:
    folder.prove_sources()
    (folder.root / "a.rs").write_text(SOURCE.replace(*UNCHANGED[change], 1))
    assert folder.statuses() == ["proven", "proven", "excluded", "proven"]
    assert not folder.errors()


CHANGED = {
    "the condition": ("=> x) }\nfn answer", "=> z) }\nfn answer", "a.rs:1: the mark"),
    "the code around it": (
        "knock() -> bool {",
        "knock() -> bool { g();",
        "a.rs:1: the mark of nest",
    ),
    "the test": (
        'claims!("nest/1/1");',
        'claims!("nest/1/1"); h();',
        "a.rs:3: the claim of nest/1/1",
    ),
    "the test's attributes": (
        "fn test_knock",
        "#[ignore] fn test_knock",
        "a.rs:3: the claim of nest",
    ),
    "another mark": (
        "fn answer",
        'fn f() { requires!("nest/1/1"); }\nfn answer',
        "a.rs:2: the mark of",
    ),
    "the mark is gone": (
        ' && requires!("nest/1/1", "nest/1/2" => y)',
        "",
        "a.rs:2: the mark of nest",
    ),
    "the test has another name": (
        "fn test_knock",
        "fn test_k",
        "a.rs: test_knock is now test_k: run vespiary trace prove --only nest/1/1",
    ),
}


@pytest.mark.parametrize("change", CHANGED)
def test_what_has_changed_since_is_not_proven(folder: Folder, change: str) -> None:
    folder.prove_sources()
    before, after, words = CHANGED[change]
    assert before in SOURCE
    (folder.root / "a.rs").write_text(SOURCE.replace(before, after, 1))
    assert words in folder.errors()
    assert ": run vespiary trace prove --only nest/1/1" in folder.errors()
    # A test that has another name now has not run.
    assert folder.statuses()[0] == ("implemented" if "name" in change else "executed")
    done = folder.run("gate")
    assert done.exit_code == 1
    assert words in done.output
    if "gone" not in change and "another" not in change:
        reason = folder.report()["requirements"][0]["reason"]
        assert reason == ("its evidence is out of date: run vespiary trace prove --only nest/1/1")


def test_evidence_of_another_version_is_refused(folder: Folder) -> None:
    folder.evidence["version"] = 1
    words = folder.run("gate").output
    assert "evidence.json was written by another version of vespiary trace" in words
    assert "is not what" not in words


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("marks", {"site": "a.rs:1", "ids": [], "file": "a.rs", "line": 1}),
        ("marks", {"site": "a.rs:1", "ids": ["nest/1/1"], "file": "a.rs", "line": "1"}),
        ("proofs", {"site": 1, "id": "nest/1/1", "verdict": "killed"}),
        ("claims", {"claimant": "f", "id": "nest/1/1", "verdict": ["killed"]}),
    ],
)
def test_evidence_with_values_of_other_types_is_refused(
    folder: Folder, table: str, row: dict[str, object]
) -> None:
    folder.evidence[table].append(row)
    done = folder.run("gate")
    assert done.exit_code == 2
    assert "is not what vespiary trace prove writes" in done.output


def test_a_claim_of_changed_code_is_out_of_date_and_not_wrong(folder: Folder) -> None:
    folder.prove_sources()
    code = SOURCE.replace("=> x", "=> z")
    (folder.root / "a.rs").write_text("\n" * 9 + code)
    assert "the mark of nest/1/1 in knock has changed" in folder.errors()
    assert "it claims nest/1/1, but" not in folder.errors()


def test_what_no_source_has_any_more_is_proven_again_with_all(folder: Folder) -> None:
    folder.prove_sources()
    (folder.root / "a.rs").write_text(SOURCE.replace("nest/1/2", "nest/1/4"))
    errors = folder.errors()
    assert "the mark of nest/1/2 in answer has gone since it was proven: run" in errors
    assert "--only nest/1/2" not in errors
