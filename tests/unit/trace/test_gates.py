"""Gates of a project that has far to go: no worse than a snapshot, and issues for what is open."""

import pytest

from .folder import CATALOGUE, SETTINGS, Folder


def no_worse(folder: Folder) -> tuple[int, str]:
    done = folder.run("gate", "--no-worse-than", str(folder.root / "snapshot.txt"))
    return done.exit_code, done.output


@pytest.fixture
def ungated(folder: Folder) -> Folder:
    """A project without gates, and its snapshot."""
    (folder.root / "trace.toml").write_text(SETTINGS[: SETTINGS.index("[[gate]]")])
    assert folder.run("snapshot").exit_code == 0
    return folder


def test_what_is_as_it_was_passes(ungated: Folder) -> None:
    assert no_worse(ungated) == (0, "every requirement passes its gate\n")


def test_what_was_proven_and_is_not_fails(ungated: Folder) -> None:
    ungated.proof(0).update(verdict="survived", tests=[])
    status, output = no_worse(ungated)
    assert status == 1
    assert "nest/1/1 was proven and is executed: no claiming test fails while a.rs:1" in output
    assert "2 requirements do not pass" in output  # nest/1/4 is the same as nest/1/1


def test_what_is_better_passes(ungated: Folder) -> None:
    path = ungated.root / "snapshot.txt"
    path.write_text(path.read_text().replace("proven", "executed"))
    assert no_worse(ungated)[0] == 0


def test_what_is_excluded_now_or_gone_fails(ungated: Folder) -> None:
    catalogue = ungated.root / "requirements" / "nest.toml"
    catalogue.write_text(CATALOGUE.replace("items = 2", 'excluded = "No."'))
    source = ungated.root / "a.rs"
    source.write_text(
        source.read_text().replace(', "nest/1/2"', "").replace("nest/1/2", "nest/1/1")
    )
    assert "nest/1/2 was proven and is excluded" in no_worse(ungated)[1]
    catalogue.write_text(CATALOGUE.replace("nest/1/4", "nest/1/5"))
    assert "nest/1/4: it was proven, and no catalogue has it any more" in no_worse(ungated)[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hello\n", ":1: not a line of a snapshot: hello"),
        ("nest/1/1 MUST proven\n\n", ":2: not a line of a snapshot"),
        (
            "nest/1/1 MUST provn: x\n",
            ":1: nest/1/1: there is no status 'provn': did you mean proven?",
        ),
        (
            "nest/1/1 MUST Proven\n",
            ":1: nest/1/1: there is no status 'Proven': did you mean proven?",
        ),
        ("nest/1/1 MUST proven test\n", ":1: not a line of a snapshot"),
        ("", ":1: a snapshot without a requirement"),
    ],
)
def test_what_is_not_a_snapshot_is_refused(ungated: Folder, text: str, words: str) -> None:
    (ungated.root / "snapshot.txt").write_text(text)
    status, output = no_worse(ungated)
    assert status == 2
    assert f"snapshot.txt{words}" in output


@pytest.mark.parametrize(
    ("sources", "mark"),
    [
        ('rust = ["*.rs"]', 'requires!("nest/1/5" => ...)'),
        ('python = ["*.py"]', 'requires("nest/1/5", ...)'),
        ('rust = ["*.rs"]\npython = ["*.py"]', '=> ...) or requires("nest/1/5", ...)'),
    ],
)
def test_advice_is_in_the_projects_languages(folder: Folder, sources: str, mark: str) -> None:
    catalogue = folder.root / "requirements" / "nest.toml"
    catalogue.write_text('[[requirement]]\nid = "nest/1/5"\nlevel = "MUST"\n')
    (folder.root / "a.rs").write_text("")
    (folder.root / "a.py").write_text("")
    gate = '[[gate]]\nspecification = "*"\nlevels = ["MUST"]\nstatus = "proven"\n'
    (folder.root / "trace.toml").write_text(f"[sources]\n{sources}\n{gate}")
    assert mark in folder.run("gate").output


def test_what_has_an_open_issue_passes_its_gate_and_is_listed(folder: Folder) -> None:
    issue = "https://example.org/issues/17"
    catalogue = folder.root / "requirements" / "nest.toml"
    catalogue.write_text(CATALOGUE.replace('why = "Fear"', f'why = "Fear"\ntodo = "{issue}"'))
    assert folder.statuses()[0] == "proven"
    folder.proof(0).update(verdict="survived", tests=[])
    assert folder.statuses()[0] == "todo"
    assert folder.run("gate").exit_code == 0
    report = folder.report()
    assert report["requirements"][0]["todo"] == issue
    assert any("wait for an issue" in words and "nest/1/1" in words for words in report["limits"])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('todo = "later"', "todo must be the address of an issue, https://...; got 'later'"),
        ('excluded = " "', "excluded is blank: say why, or take the line out"),
        ('excluded = ""', "excluded is blank: say why, or take the line out"),
        ('todo = "  "', "todo is blank: name the issue, or take the line out"),
        ('todo = "https://x.y/1"\nexcluded = "No."', "it is both excluded and todo: choose one"),
    ],
)
def test_a_todo_is_an_address_and_nothing_else(folder: Folder, line: str, words: str) -> None:
    catalogue = folder.root / "requirements" / "nest.toml"
    catalogue.write_text(CATALOGUE.replace('why = "Fear"', line))
    refused = folder.run("report")
    assert refused.exit_code == 2
    assert words in refused.output


@pytest.mark.parametrize("more", ["", 'excluded = "No."', 'todo = "https://x.y/1"'])
def test_a_suspect_requirement_does_not_pass_its_gate(folder: Folder, more: str) -> None:
    catalogue = folder.root / "requirements" / "nest.toml"
    catalogue.write_text(CATALOGUE.replace('why = "Fear"', f"suspect = true\n{more}"))
    if "excluded" in more:
        (folder.root / "a.rs").write_text('fn f() { requires!("nest/1/2"); claims!("nest/1/2"); }')
    done = folder.run("gate")
    assert done.exit_code == 1
    assert "nest/1/1 MUST is suspect: its sentence has changed, or its number" in done.output
    assert "1 requirement does not pass its gate" in done.output


def test_a_suspect_requirement_is_worse_than_a_snapshot(ungated: Folder) -> None:
    catalogue = ungated.root / "requirements" / "nest.toml"
    catalogue.write_text(CATALOGUE.replace("items = 2", "suspect = true"))
    status, output = no_worse(ungated)
    assert status == 1
    assert "nest/1/2 MUST is suspect" in output


def test_evidence_for_another_sentence_is_out_of_date(folder: Folder) -> None:
    catalogue = folder.root / "requirements" / "nest.toml"
    catalogue.write_text(CATALOGUE.replace('why = "Fear"', 'hash = "a"'))
    folder.evidence["sentences"] = {"nest/1/1": "a"}
    assert folder.run("gate").exit_code == 0
    folder.evidence["sentences"] = {"nest/1/1": "b"}
    done = folder.run("gate")
    assert done.exit_code == 1
    assert "nest.toml:1: the sentence of nest/1/1 has changed since it was proven" in done.output
    assert "its evidence is out of date: run vespiary trace prove --only nest/1/1" in done.output


@pytest.mark.parametrize("option", ["gates", "snapshot"])
def test_without_evidence_the_gate_says_so_once(folder: Folder, option: str) -> None:
    assert folder.run("snapshot").exit_code == 0
    snapshot = str(folder.root / "snapshot.txt")
    (folder.root / "trace.toml").write_text(SETTINGS.replace("evidence.json", "nothing.json"))
    done = folder.run("gate", *(("--no-worse-than", snapshot) if option == "snapshot" else ()))
    assert done.exit_code == 1
    assert done.output == (
        "no evidence: nothing.json does not exist: run vespiary trace prove first\n"
    )


def test_without_tests_prove_says_what_to_write(folder: Folder) -> None:
    done = folder.run("prove")
    assert done.exit_code == 2
    assert 'write pytest = ["tests"] (the files or folders of the tests) or cargo' in done.output
    assert "below [run]" in done.output


@pytest.mark.parametrize("levels", ['["MUST"]', '["MUST", "must"]'])
def test_a_rule_added_by_hand_is_gated_or_reported(folder: Folder, levels: str) -> None:
    catalogue = folder.root / "requirements" / "nest.toml"
    catalogue.write_text(CATALOGUE + '[[requirement]]\nid = "nest/1/h1"\n')
    (folder.root / "trace.toml").write_text(SETTINGS.replace('["MUST"]', levels))
    is_gated = "must" in levels
    assert ("nest/1/h1 must is unmapped" in folder.run("gate").output) == is_gated
    told = "No gate is for these, whose level is must (in lower case): nest/1/h1."
    assert (told in folder.report()["limits"]) != is_gated


def test_errors_close_the_gate_for_requirements_that_pass(folder: Folder) -> None:
    folder.test(1)["outcome"] = "failed"
    done = folder.run("gate")
    assert done.exit_code == 1
    assert done.output.endswith("every requirement passes its gate, but there is 1 error\n")
    folder.proof(0).update(verdict="survived", tests=[])
    last = folder.run("gate").output.splitlines()[-1]
    assert last == "1 requirement does not pass its gate, and there is 1 error"


@pytest.mark.parametrize(
    ("mark", "how", "words"),
    [
        ('@implements("nest/1/1")', "exception", "was only shown to be called"),
        ('@implements("nest/1/1")', "assertion", ""),
        ('@implements("nest/1/1", disabled=False)', "exception", ""),
        ('@implements("nest/1/1", disabled=None)', "crash", ""),
        (
            '@implements("nest/1/1", disabled=None)',
            "collection",
            "was only shown to be needed by an import",
        ),
    ],
)
def test_a_function_whose_caller_trips_over_its_absence_is_only_reached(
    folder: Folder, mark: str, how: str, words: str
) -> None:
    (folder.root / "outside").mkdir(exist_ok=True)
    source = f"from vespiary.trace import implements\n{mark}\ndef f(): ...\n"
    (folder.root / "outside" / "f.py").write_text(source)
    site = "outside/f.py:2"
    proof = {"site": site, "id": "nest/1/1", "verdict": "killed", "tests": ["t"], "how": how}
    folder.evidence["proofs"].append(proof)
    output = folder.run("gate").output
    if words:
        assert "nest/1/1 MUST (Knock <twice>.) is reached, should be proven" in output
        assert f"{site} {words}" in output
    else:
        assert site not in output
