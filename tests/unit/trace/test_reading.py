"""Specifications are read as people read them: pages, sections, paragraphs, sentences."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vespiary.prove.trace.blocks import blocks
from vespiary.prove.trace.healing import PAGE_BREAK, heal
from vespiary.prove.trace.normative import candidates, digest, keywords, level, read
from vespiary.prove.trace.sections import cut, number_key, selected
from vespiary.prove.trace.sentences import normalised, split, words_alone

from .sample import EXPECTED, PAGED


def told(text: str) -> dict[str, str]:
    return {sentence.id: sentence.text for sentence in read(text, "nest")}


def test_the_normative_sentences_of_a_specification_are_found_and_no_others() -> None:
    assert told(PAGED) == EXPECTED


def test_line_ends_of_any_kind_and_a_byte_order_mark_change_nothing() -> None:
    assert told("\ufeff" + PAGED.replace("\n", "\r\n")) == EXPECTED


def test_a_text_whose_form_feeds_were_lost_reads_the_same() -> None:
    assert told(PAGED.replace("\f", "\n\n")) == EXPECTED


def test_page_furniture_is_gone_and_each_page_end_is_one_line() -> None:
    lines = heal(PAGED)
    assert lines.count(PAGE_BREAK) == 1
    assert not [line for line in lines if "[Page" in line or line.startswith("RFC 9999")]


FOOTER = "Author           Standards Track         "
HEADER = "RFC 9999               The Only            June 2024"
# A lone "o" at the beginning of a line is an item of a list.
PARAGRAPH = st.lists(st.from_regex(r"[a-z]{2,9}", fullmatch=True), min_size=3, max_size=40).map(
    lambda words: ["A wasp MUST", *words]
)


@given(st.lists(PARAGRAPH, min_size=1, max_size=6), st.integers(3, 9))
def test_where_pages_end_does_not_change_what_is_read(
    paragraphs: list[list[str]], page_lines: int
) -> None:
    lines = ["1.  Only Section", ""]
    for words in paragraphs:
        text = " ".join(words) + "."
        wrapped = re.findall(r"(?:.{1,60})(?:\s|$)", text)
        lines += ["   " + line.strip() for line in wrapped] + [""]
    plain = "\n".join(lines)
    pages = [lines[start : start + page_lines] for start in range(0, len(lines), page_lines)]
    paged = "\n".join(
        "\n".join([*page, "", f"{FOOTER}[Page {number}]", "\f", HEADER, "", ""])
        for number, page in enumerate(pages)
    )
    assert told(paged) == told(plain)
    assert len(told(plain)) == len(paragraphs)


def test_headings_number_sections_and_continue_over_lines() -> None:
    titles = {section.number: section.title for section in cut(heal(PAGED))}
    assert titles["2.1"] == "Doors of Nests That Are Larger Than Others"
    assert titles["A"] == "More Words"
    assert titles["author-s-address"] == "Author's Address"


def test_what_stands_below_the_references_is_no_prose_either() -> None:
    prose = {section.number: section.prose for section in cut(heal(PAGED))}
    assert not prose["3"]
    assert not prose["3.1"]
    assert not prose["table-of-contents"]
    assert prose["2.1"]


def test_sections_are_sorted_by_number_and_appendices_come_last() -> None:
    numbers = ["A.1", "10", "4.10", "4.9", "4", "A"]
    assert sorted(numbers, key=number_key) == ["4", "4.9", "4.10", "10", "A", "A.1"]


@pytest.mark.parametrize(
    ("number", "patterns", "wanted"),
    [
        ("3", ("3",), True),
        ("3.1", ("3",), False),
        ("3.1", ("3.*",), True),
        ("3", ("3.*",), True),
        ("30", ("3.*",), False),
        ("7", (), True),
    ],
)
def test_sections_are_selected_alone_or_with_all_below(
    number: str, patterns: tuple[str, ...], wanted: bool
) -> None:
    assert selected(number, patterns) is wanted


def test_only_selected_sections_are_read_and_ordinals_stay() -> None:
    ids = [sentence.id for sentence in read(PAGED, "nest", ("2.1", "A.*"))]
    assert ids == [f"nest/2.1/{n}" for n in (1, 2, 3, 4)] + ["nest/A/1", "nest/A.1/1"]


def test_layout_tells_items_terms_figures_and_comments_apart() -> None:
    (section,) = [section for section in cut(heal(PAGED)) if section.number == "2.1"]
    kinds = [(block.kind, block.marker) for block in blocks(section.lines)]
    assert kinds == [
        ("prose", ""),
        ("prose", ""),
        ("figure", ""),
        ("item", "1."),
        ("item", "2."),
        ("figure", ""),
        ("comment", ""),
        ("comment", ""),
    ]


def test_a_compact_list_has_one_block_for_each_item() -> None:
    lines = ["   Wasps:", "   1.  sting", "       hard", "   2.  fly", "   3.  sleep"]
    found = [(block.kind, block.text) for block in blocks(lines)]
    assert found == [
        ("prose", "Wasps:"),
        ("item", "sting hard"),
        ("item", "fly"),
        ("item", "sleep"),
    ]


def test_a_number_that_ends_a_sentence_on_a_new_line_is_no_item() -> None:
    lines = ["   A wasp MUST leave a nest whose count of guards is", "   0.  Others MAY stay."]
    text = "1.  A\n\n" + "\n".join(lines)
    assert list(told(text).values()) == [
        "A wasp MUST leave a nest whose count of guards is 0.",
        "Others MAY stay.",
    ]


def test_a_definition_below_its_term_is_a_block_of_its_own() -> None:
    lines = ["   /origin/", "      The nest that a wasp comes from.  It MAY be told."]
    found = [(block.kind, block.text) for block in blocks(lines)]
    assert found[0] == ("term", "/origin/")
    assert found[1][0] == "prose"


def test_a_sentence_continues_after_a_figure() -> None:
    lines = ["   A wasp that says", "", "     nest = <twig>", "", "   to a guard MUST leave."]
    text = "1.  A\n\n" + "\n".join(lines)
    assert list(told(text).values()) == ["A wasp that says to a guard MUST leave."]


@pytest.mark.parametrize(
    ("paragraph", "sentences"),
    [
        ("One.  Two.", ["One.", "Two."]),
        ("One (see Sec. 2). Two!", ["One (see Sec. 2).", "Two!"]),
        ("Use e.g. Trees, i.e. Wood. So.", ["Use e.g. Trees, i.e. Wood.", "So."]),
        ("By A. Author et al. in 2024. Yes.", ["By A. Author et al. in 2024.", "Yes."]),
        ("It is an X. So is J. Klensin.", ["It is an X.", "So is J. Klensin."]),
        ("It is 1.5 m. High.", ["It is 1.5 m.", "High."]),
        ("A (b. C. D) e. F.", ["A (b. C. D) e.", "F."]),
        ("A. |B| c. /D/ e. _F_ g.", ["A. |B| c.", "/D/ e.", "_F_ g."]),
        ("It says: \"Go. Stay. Die.\" Then go.", ["It says: \"Go. Stay. Die.\"", "Then go."]),
        ("Go. (Stay. Die.) Live.", ["Go.", "(Stay.", "Die.)", "Live."]),
        ("A lone \" mark. Here.", ["A lone \" mark.", "Here."]),
        ("Ends in etc. and goes on. So.", ["Ends in etc. and goes on.", "So."]),
        ("Is it? No. See No. 5 of Fig. A. So.", ["Is it?", "No.", "See No. 5 of Fig. A. So."]),
        ("", []),
    ],
)  # fmt: skip
def test_paragraphs_are_split_where_sentences_end(paragraph: str, sentences: list[str]) -> None:
    assert split(paragraph) == sentences


@given(st.text(st.sampled_from('ab AB.?!"()[]\n\u00a0'), max_size=80))
def test_splitting_loses_no_word(paragraph: str) -> None:
    assert " ".join(split(paragraph)).replace(" ", "") == normalised(paragraph).replace(" ", "")


@given(st.text(st.sampled_from('ab MUSTNOT."()'), max_size=80))
def test_how_lines_are_broken_does_not_change_a_hash(text: str) -> None:
    assert digest(text) == digest(text.replace(" ", "\n   "))


@pytest.mark.parametrize(
    ("sentence", "words", "strongest"),
    [
        ("It MUST NOT and MAY.", ("MUST NOT", "MAY"), "MUST NOT"),
        ("It MAY, SHOULD and SHALL.", ("MAY", "SHOULD", "SHALL"), "MUST"),
        ("It is NOT RECOMMENDED.", ("NOT RECOMMENDED",), "SHOULD NOT"),
        ("A MUSTARD is no MAYOR.", (), ""),
        ('The word "MUST" is mentioned, MAY is used.', ("MAY",), "MAY"),
        ("This must not count.", (), ""),
        ("The key words MUST and MAY are declared.", (), ""),
        ("The PRE-MUST-CHECK is a name.", (), ""),
    ],
)
def test_key_words_are_used_in_capitals_and_the_strongest_is_the_level(
    sentence: str, words: tuple[str, ...], strongest: str
) -> None:
    assert keywords(sentence) == words
    if words:
        assert level(words) == strongest


def test_a_sentence_that_introduces_a_list_tells_how_many_items_it_has() -> None:
    items = {sentence.id: sentence.items for sentence in read(PAGED, "nest") if sentence.items}
    assert items == {"nest/2/4": 3}


@pytest.mark.parametrize("ending", ["do:", "do the following.", "do", "do as follows:"])
def test_lists_are_introduced_by_a_colon_an_announcement_or_an_open_end(ending: str) -> None:
    text = f"1.  A\n\n   A wasp MUST {ending}\n\n   o  one thing\n\n   o  another\n"
    assert [sentence.items for sentence in read(text, "nest")] == [2]


def test_what_may_bind_without_a_key_word_is_offered() -> None:
    text = PAGED + (
        "\n4.  More\n\n   A wasp must sleep.\n\n   +------+------+\n   | code | word |\n"
        "   | 1    | buzz |\n   +------+------+\n"
    )
    offered = [(c.section, c.kind, c.text) for c in candidates(text)]
    assert offered == [
        ("2", "item", "a name"),
        ("2", "item", "a sting that cannot be lost"),
        ("2.1", "step", "Look at the door."),
        ("4", "small", "A wasp must sleep."),
        ("4", "row", "| code | word |"),
        ("4", "row", "| 1    | buzz |"),
    ]


def test_words_alone_ignore_punctuation_citations_and_numbers_of_sections() -> None:
    old = "A Wasp, e.g. a guard, MUST leave (Section 4.2)."
    new = "A wasp e.g., a guard MUST leave [RFC9999] (Section 5.2)."
    assert words_alone(old) == words_alone(new)
    assert words_alone("Version 8.") != words_alone("Version 13.")
