"""The command `extract`: a catalogue follows its specification, and people's words stay."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from vespiary.cli.main import main
from vespiary.prove.trace.catalogue import Requirement, parsed
from vespiary.prove.trace.normative import Sentence, digest
from vespiary.prove.trace.revise import compare
from vespiary.prove.trace.writing import fresh_head, guessed_roles, rewritten

from .sample import EXPECTED, PAGED


class Desk:
    """A folder with a specification and its catalogue."""

    def __init__(self, folder: Path) -> None:
        self.text = folder / "nest.txt"
        self.text.write_text(PAGED)
        self.catalogue = folder / "nest.toml"

    def run(self, *arguments: str, name: str = "nest") -> Result:
        usual = ["--text", str(self.text), "--catalogue", str(self.catalogue)]
        return CliRunner().invoke(main, ["trace", "extract", name, *usual, *arguments])

    def keep_text(self) -> Path:
        """Keep the text as it is now beside the one that changes."""
        old = self.text.with_name("old.txt")
        old.write_text(self.text.read_text())
        return old

    def requirements(self) -> dict[str, dict[str, Any]]:
        data = tomllib.loads(self.catalogue.read_text())
        return {table["id"]: table for table in data["requirement"]}

    def change(self, path: Path, old: str, new: str) -> None:
        before = path.read_text()
        assert old in before
        path.write_text(before.replace(old, new, 1))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_new_catalogue_has_every_requirement_and_not_one_sentence(desk: Desk) -> None:
    done = desk.run()
    assert done.exit_code == 0, done.output
    assert "12 requirements: 0 kept, 12 new" in done.output
    assert list(desk.requirements()) == list(EXPECTED)
    text = desk.catalogue.read_text()
    assert not [sentence for sentence in EXPECTED.values() if sentence[5:30] in text]
    first = desk.requirements()["nest/2/1"]
    assert first == {
        "id": "nest/2/1",
        "hash": digest(EXPECTED["nest/2/1"]),
        "level": "MUST",
        "keywords": ["MUST"],
        "role": [],
        "says": "",
        "why": "",
        "source": "",
    }
    assert desk.requirements()["nest/2/4"]["items"] == 3


def test_running_again_changes_nothing(desk: Desk) -> None:
    desk.run()
    before = desk.catalogue.read_text()
    assert "12 kept, 0 new" in desk.run().output
    assert desk.catalogue.read_text() == before
    assert desk.run("--check").exit_code == 0


def test_check_fails_and_writes_nothing_when_something_would_change(desk: Desk) -> None:
    assert desk.run("--check").exit_code == 1
    assert not desk.catalogue.exists()


def test_words_comments_and_order_of_keys_stay(desk: Desk) -> None:
    desk.run()
    desk.change(desk.catalogue, 'says = ""', 'says = "Knock."  # a comment\n# another')
    desk.change(desk.catalogue, "[[requirement]]", "# above the first\n[[requirement]]")
    before = desk.catalogue.read_text()
    desk.run()
    assert desk.catalogue.read_text() == before


def test_a_changed_sentence_is_suspect_until_it_is_accepted(desk: Desk) -> None:
    desk.run()
    desk.change(desk.catalogue, 'says = ""', 'says = "Knock."')
    was = desk.requirements()["nest/2/1"]["hash"]
    old = desk.keep_text()
    desk.change(desk.text, "A wasp MUST knock", "A wasp SHOULD ring")
    output = desk.run("--old", str(old)).output
    assert "suspect: nest/2/1" in output
    assert "    old: A wasp MUST knock (see Section 2.1" in output
    assert "    new: A wasp SHOULD ring (see Section 2.1" in output
    changed = desk.requirements()["nest/2/1"]
    assert (changed["suspect"], changed["was"], changed["says"]) == (True, was, "Knock.")
    assert (changed["level"], changed["keywords"]) == ("SHOULD", ["SHOULD"])
    assert "suspect" in desk.requirements()["nest/2/1"]
    desk.run("--accept")
    assert {"suspect", "was"}.isdisjoint(desk.requirements()["nest/2/1"])


def test_changed_sentences_are_not_paired_without_the_old_text(desk: Desk) -> None:
    desk.run()
    before = desk.catalogue.read_text()
    desk.change(desk.text, "A wasp MUST knock", "A wasp SHOULD ring")
    refused = desk.run()
    assert refused.exit_code == 2
    assert (
        "1 sentence of the catalogue is not in this text, for example the sentence of nest/2/1"
        in refused.output
    )
    assert "with --old FILE" in refused.output
    assert desk.catalogue.read_text() == before
    assert "1 new, 0 changed, 0 moved, 1 vanished" in desk.run("--unpaired").output


def test_a_sentence_inherits_nothing_from_an_unlike_one_in_its_place(desk: Desk) -> None:
    desk.run()
    desk.change(desk.catalogue, 'says = ""', 'says = "Knock."')
    old = desk.keep_text()
    text = desk.text.read_text()
    start, end = text.index("A wasp MUST knock"), text.index("A guard SHOULD answer")
    desk.text.write_text(f"{text[:start]}Paper MUST be chewed.  {text[end:]}")
    assert "1 new, 0 changed, 0 moved, 1 vanished" in desk.run("--old", str(old)).output
    assert desk.requirements()["nest/2/1"]["says"] == ""
    assert tomllib.loads(desk.catalogue.read_text())["vanished"][0]["says"] == "Knock."


def test_a_changed_sentence_is_found_in_another_section(desk: Desk) -> None:
    desk.run()
    old = desk.keep_text()
    desk.change(desk.text, "   A nest is OPTIONAL.\n", "   Nothing.\n")
    desk.change(desk.text, "   1.  Look at", "   A good nest is OPTIONAL.\n\n   1.  Look at")
    assert "suspect: nest/2.1/2: the sentence has changed (was nest/A/1)" in (
        desk.run("--old", str(old)).output
    )


KNOCK = ("A wasp MUST knock", "A wasp MUST be seen.  A wasp MUST knock")


def project(desk: Desk, tmp_path: Path, change: tuple[str, str] = KNOCK) -> Path:
    """Marks and claims of two requirements, of which the first has moved to the second's number."""
    desk.run()
    desk.change(desk.text, *change)
    desk.run()
    (tmp_path / "a.rs").write_text(
        'fn f() -> bool { requires!("nest/2/1" => x) || requires!("nest/2/2", "nest/A/1" => y) }\n'
    )
    config = tmp_path / "trace.toml"
    config.write_text(f'catalogues = ["{desk.catalogue.name}"]\n[sources]\nrust = ["*.rs"]\n')
    return config


def test_marks_and_claims_are_renamed_at_once_and_only_once(desk: Desk, tmp_path: Path) -> None:
    config = project(desk, tmp_path)
    source = tmp_path / "a.rs"
    arguments = ["trace", "rename", "--config", str(config)]
    assert CliRunner().invoke(main, [*arguments, "--check"]).exit_code == 1
    assert "nest/2/1" in source.read_text()
    done = CliRunner().invoke(main, arguments)
    assert "a.rs: 2 places changed" in done.output, done.output
    renamed = source.read_text()
    assert 'requires!("nest/2/2" => x) || requires!("nest/2/3", "nest/A/1" => y)' in renamed
    again = CliRunner().invoke(main, arguments)
    assert (again.exit_code, again.output) == (0, "no requirement has moved\n")
    assert source.read_text() == renamed


def test_what_has_moved_is_not_accepted_while_marks_have_its_number(
    desk: Desk, tmp_path: Path
) -> None:
    config = project(desk, tmp_path)
    refused = desk.run("--accept", "--config", str(config))
    assert refused.exit_code == 2
    assert "2 marks or claims have a number that has moved, the first a.rs:1" in refused.output
    CliRunner().invoke(main, ["trace", "rename", "--config", str(config)])
    assert desk.run("--accept", "--config", str(config)).exit_code == 0


def test_a_moved_sentence_takes_its_words_along(desk: Desk) -> None:
    desk.run()
    desk.change(desk.catalogue, 'says = ""', 'says = "Knock."')
    desk.change(desk.text, "A wasp MUST knock", "A wasp MUST be seen.  A wasp MUST knock")
    output = desk.run().output
    assert "moved: nest/2/1 is now nest/2/2" in output
    assert "1 new, 0 changed, 6 moved, 0 vanished" in output
    moved = desk.requirements()["nest/2/2"]
    assert (moved["says"], moved["moved_from"]) == ("Knock.", "nest/2/1")
    assert desk.requirements()["nest/2/1"]["says"] == ""


def test_a_sentence_that_went_to_another_section_is_found_there(desk: Desk) -> None:
    desk.run()
    desk.change(desk.text, "   A nest is OPTIONAL.\n", "   Nothing.\n")
    desk.change(desk.text, "   1.  Look at", "   A nest is OPTIONAL.\n\n   1.  Look at")
    assert "moved: nest/A/1 is now nest/2.1/2" in desk.run().output


def test_a_vanished_requirement_is_kept_apart(desk: Desk) -> None:
    desk.run()
    desk.change(desk.text, "   A nest is OPTIONAL.\n", "   A nest is.\n")
    assert "vanished: nest/A/1" in desk.run().output
    assert "nest/A/1" not in desk.requirements()
    assert tomllib.loads(desk.catalogue.read_text())["vanished"][0]["id"] == "nest/A/1"
    assert "0 vanished" in desk.run().output


def test_a_new_sentence_with_the_number_of_a_vanished_one_is_suspect(desk: Desk) -> None:
    desk.run()
    was = desk.requirements()["nest/A/1"]["hash"]
    desk.change(desk.text, "A nest is OPTIONAL.", "Colours MUST be logged on every Tuesday.")
    output = desk.run("--unpaired").output
    assert "suspect: nest/A/1: its number belonged to a requirement that has vanished" in output
    reused = desk.requirements()["nest/A/1"]
    assert (reused["suspect"], reused["was"]) == (True, was)
    desk.run()
    assert desk.requirements()["nest/A/1"]["suspect"]
    desk.run("--accept")
    assert "suspect" not in desk.requirements()["nest/A/1"]


def test_a_number_is_suspect_however_long_ago_its_requirement_has_vanished(desk: Desk) -> None:
    desk.run()
    desk.change(desk.text, "A nest is OPTIONAL.", "A nest is.")
    desk.run()
    desk.change(desk.text, "A nest is.", "Colours MUST be logged.")
    assert "suspect: nest/A/1" in desk.run().output
    desk.catalogue.unlink()
    desk.change(desk.text, "Colours MUST be logged.", "A nest is OPTIONAL.")
    desk.run()
    desk.change(desk.text, "A nest is OPTIONAL.", "A nest is.")
    desk.run()
    desk.change(desk.text, "A nest is.", "A nest is OPTIONAL.")
    assert "suspect:" not in desk.run().output  # It is the same sentence again.


def test_marks_of_a_vanished_requirement_are_not_mixed_with_others(
    desk: Desk, tmp_path: Path
) -> None:
    desk.change(desk.text, *KNOCK)
    config = project(desk, tmp_path, (KNOCK[1], KNOCK[0]))
    source = (tmp_path / "a.rs").read_text()
    assert desk.requirements()["nest/2/1"]["suspect"]
    refused = CliRunner().invoke(main, ["trace", "rename", "--config", str(config)])
    assert refused.exit_code == 2
    assert "a.rs:1: nest/2/1 has vanished from its specification" in refused.output
    assert (tmp_path / "a.rs").read_text() == source
    found = CliRunner().invoke(main, ["trace", "scan", "--config", str(config)]).output
    assert "error: a.rs:1: marks nest/2/1, which has vanished from its specification, and" in found
    assert "error: a.rs:1: nest/2/2 is now nest/2/1: run vespiary trace rename" in found


@pytest.mark.parametrize(
    "text", ["", "nothing here\n", "import os\n\n\ndef test_it():\n    pass\n"]
)
@pytest.mark.parametrize("option", [(), ("--unpaired",), ("--check",)])
def test_a_text_without_any_requirement_does_not_empty_the_catalogue(
    desk: Desk, text: str, option: tuple[str, ...]
) -> None:
    desk.run()
    before = desk.catalogue.read_text()
    desk.text.write_text(text)
    done = desk.run(*option)
    assert done.exit_code == 2
    assert "12 requirements of the catalogue would vanish: check that --text" in done.output
    assert desk.catalogue.read_text() == before


def test_sections_or_a_base_that_leave_nothing_do_not_empty_the_catalogue(desk: Desk) -> None:
    desk.run()
    before = desk.catalogue.read_text()
    assert "12 requirements of the catalogue would vanish" in desk.run("--sections", "99").output
    same = desk.run("--base", f"hive={desk.text}")
    assert same.exit_code == 2
    assert "every sentence of nest with a key word is in its base hive" in same.output
    assert desk.catalogue.read_text() == before
    desk.catalogue.unlink()
    assert desk.run("--base", f"hive={desk.text}").exit_code == 2
    assert not desk.catalogue.exists()


def by_hand(desk: Desk, anchor: str) -> None:
    desk.run()
    with desk.catalogue.open("a") as file:
        file.write(f'\n[[requirement]]\nid = "nest/2/h1"\nanchor = "{anchor}"\nsays = "Named."\n')


def test_sections_that_have_no_requirement_are_named(desk: Desk) -> None:
    told = desk.run("--sections", "99,9.*")
    assert "no sentence of nest with a key word is in --sections 99,9.*: " in told.output
    assert told.exit_code == 2
    assert not desk.catalogue.exists()


def test_a_requirement_added_by_hand_gets_the_hash_of_its_place_and_stays(desk: Desk) -> None:
    by_hand(desk, "a name")
    assert desk.run().exit_code == 0
    added = desk.requirements()["nest/2/h1"]
    assert (added["hash"], added["says"]) == (digest("a name"), "Named.")
    assert list(desk.requirements()).index("nest/2/h1") == 6


def test_a_requirement_added_by_hand_becomes_suspect_when_its_place_changes(desk: Desk) -> None:
    by_hand(desk, "a name")
    desk.run()
    desk.change(desk.text, "o  a name", "o  a name of its own")
    assert "suspect: nest/2/h1" in desk.run().output
    assert desk.requirements()["nest/2/h1"]["was"] == digest("a name")


def test_an_anchor_that_finds_nothing_or_too_much_is_reported(desk: Desk) -> None:
    by_hand(desk, "no such")
    assert "section 2: nothing there begins with its anchor" in desk.run().output
    desk.change(desk.catalogue, '"no such"', '"A wasp MUST"')
    assert "section 2: 2 places there begin with its anchor: add words" in desk.run().output


def test_the_catalogue_is_written_beside_the_settings(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path / "docs")
    arguments = ["trace", "extract", "nest", "--text", "../nest.txt", "--config", "../trace.toml"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert (tmp_path / "requirements" / "nest.toml").exists()
    assert not (tmp_path / "docs" / "requirements").exists()


def test_sections_are_remembered_by_the_catalogue(desk: Desk) -> None:
    assert "4 requirements: 0 kept, 4 new" in desk.run("--sections", "2.1").output
    assert "4 requirements: 4 kept, 0 new" in desk.run().output


def test_what_a_base_says_too_is_left_out_and_what_is_near_is_named(
    desk: Desk, tmp_path: Path
) -> None:
    base = tmp_path / "hive.txt"
    base.write_text(
        "1.  A\n\n   A guard SHOULD answer, i.e., within a second but MAY sleep.\n\n"
        "   A wasp MUST knock (see Section 7, e.g. Figure 1) before it leaves.\n"
    )
    done = desk.run("--base", f"hive={base}")
    assert "11 requirements" in done.output
    assert "1 omitted because the base has them" in done.output
    assert "nest/2/2" not in desk.requirements()
    assert desk.requirements()["nest/2/1"]["near"] == "hive/1/2"
    again = desk.run()
    assert again.exit_code == 2
    assert "pass its text with --base hive=FILE" in again.output


def test_show_prints_sentences_and_candidates_and_writes_nothing(desk: Desk) -> None:
    shown = desk.run("--show", "--candidates").output
    assert f"nest/2/4  MUST (introduces 3 items)\n  {EXPECTED['nest/2/4']}\n" in shown
    assert "nest/2.1/h?  step  " in shown
    assert not desk.catalogue.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--text", "/no/such/file"], "/no/such/file cannot be read: No such file"),
        (["--base", "hive"], "--base takes SPEC=FILE"),
        (["--show", "--accept"], "remove --accept, --check and --old"),
        (["--candidates", "--old", "old.txt"], "remove --accept, --check and --old"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    desk: Desk, arguments: list[str], words: str
) -> None:
    done = desk.run(*arguments)
    assert done.exit_code == 2
    assert words in done.output


def test_the_catalogue_of_another_specification_is_refused(desk: Desk) -> None:
    desk.run()
    done = desk.run(name="hive")
    assert done.exit_code == 2
    assert "is the catalogue of nest, not of hive" in done.output


@pytest.mark.parametrize(
    ("sentence", "roles"),
    [
        ("A client MUST tell the server.", ["client"]),
        ("If the server asks, a client MUST answer; a proxy MAY.", ["client", "intermediary"]),
        ("It MUST be so.", []),
    ],
)
def test_roles_are_guessed_from_who_is_named_before_the_key_word(
    sentence: str, roles: list[str]
) -> None:
    assert guessed_roles(sentence) == roles


def sentences(hashes: list[str]) -> list[Sentence]:
    return [
        Sentence(f"nest/1/{ordinal}", f"{text} MUST be so.", text, "MUST", ("MUST",))
        for ordinal, text in enumerate(hashes, 1)
    ]


def test_a_sentence_whose_words_have_changed_places_is_found_again() -> None:
    was = (
        'The Door field (Section 6.1) has a "shut" option that a wasp SHOULD send when it wishes to'
        " shut the nest after this evening."
    )
    now = (
        'A wasp SHOULD send a Door field (Section 7.6.1 of [NEST]) with the "shut" option when it'
        " intends to shut a nest."
    )
    short = "A wasp SHOULD shut its nest."
    old = [Sentence("x/6.6/1", was, "was", "SHOULD", ("SHOULD",))]
    known = [Requirement(id="x/6.6/1", specification="x", hash="was")]
    new = [
        Sentence("x/9.6/1", short, "short", "SHOULD", ("SHOULD",)),
        Sentence("x/9.6/2", now, "now", "SHOULD", ("SHOULD",)),
    ]
    revision = compare(known, new, old)
    assert [sentence.id for _, sentence in revision.changed] == ["x/9.6/2"]


def revised(old: list[str], new: list[str]) -> list[tuple[str, str]]:
    """The pairs of sentences whose words have changed, from one text to the next."""
    before, after = (
        [
            Sentence(f"x/{section}/{n}", text, text, "MUST", ("MUST",))
            for n, text in enumerate(texts, 1)
        ]
        for section, texts in (("1", old), ("2", new))
    )
    known = [Requirement(id=one.id, specification="x", hash=one.hash) for one in before]
    return [(item.hash, sentence.text) for item, sentence in compare(known, after, before).changed]


def test_rules_that_share_the_usual_phrasing_only_are_not_one_rule() -> None:
    old = [
        "Any cell or comb that has a stone of another nest in it MUST be treated as spoilt.",
        "Any cell or comb that has a door beside its own MUST be treated as spoilt (Section 8).",
        "A wasp MUST knock twice.",
    ]
    new = [
        "A roof over a good cell or comb that has a torn beam MUST be treated as spoilt.",
        "Any cell or comb that has a door beside its own MUST be treated as spoilt (Section 9).",
        "A wasp MUST knock softly.",
    ]
    assert revised(old, new) == [(old[1], new[1]), (old[2], new[2])]


HASHES = st.lists(st.sampled_from("abcdefgh"), max_size=8, unique=True)


@settings(max_examples=60)
@given(HASHES, HASHES)
def test_after_any_revision_the_catalogue_has_what_the_text_has(
    old: list[str], new: list[str]
) -> None:
    text = rewritten(fresh_head("nest", (), ""), compare((), sentences(old)), {})
    text = text.replace('says = ""', 'says = "x" # words')
    known = parsed(text, "nest.toml", "nest").requirements
    revision = compare(known, sentences(new), sentences(old))
    text = rewritten(text, revision, {})
    now = parsed(text, "nest.toml", "nest")
    assert [item.hash for item in now.requirements] == new
    assert [item.id for item in now.requirements] == [item.id for item in sentences(new)]
    assert text.count("# words") == len(old)
    assert len(now.vanished) == len(revision.vanished)
    assert len(revision.pairs) + len(revision.new) == len(new)
    assert not [new for old, new in revision.moved if old.hash != new.hash]


@pytest.mark.parametrize("option", ["--show", "--candidates"])
@pytest.mark.parametrize("name", ["\u00e9", "Nest", "1", "a b"])
def test_a_name_that_no_identifier_can_have_is_refused_before_anything_is_shown(
    desk: Desk, name: str, option: str
) -> None:
    command = ["trace", "extract", name, f"--text={desk.text}", option]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert "lower-case letters (a to z), digits and hyphens" in done.output


def test_show_names_sections_that_have_no_requirement(desk: Desk) -> None:
    done = desk.run("--show", "--sections", "99")
    assert done.output == "no sentence of nest with a key word is in --sections 99\n"
