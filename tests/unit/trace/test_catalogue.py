"""Catalogues: what is wrong in one is named with its line, and errata count."""

import pytest

from vespiary.errors import ConfigurationError
from vespiary.prove.trace.catalogue import Catalogue, parsed

GOOD = """\
[specification]
name = "nest"
sections = ["2.*"]

[[requirement]]
id = "nest/2/1"
hash = "0123456789abcdef"
level = "MUST"
keywords = ["MUST"]
role = ["client"]
says = "Knock."
why = "So that guards are not frightened."
source = "nest section 1"

[[requirement]]
id = "nest/2/h1"
anchor = "a name"
"""


def read(text: str) -> Catalogue:
    return parsed(text, "requirements/nest.toml", "nest")


def wrong(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(text)
    return str(caught.value)


def test_a_catalogue_tells_requirements_in_their_order() -> None:
    first, second = read(GOOD).requirements
    assert (first.specification, first.section, first.by_hand) == ("nest", "2", False)
    assert (first.line, first.role, first.why[:2]) == (5, ("client",), "So")
    assert (second.by_hand, second.level, second.line) == (True, "must", 15)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('says = "Knock."', "says = 3", "nest.toml:5: says must be of type str; got 3"),
        ("says =", "sais =", "nest.toml:5: unknown key 'sais': did you mean 'says'?"),
        ('"nest/2/1"', '"nest/2"', "nest.toml:5: id must be nest/SECTION/ORDINAL, or one of the"),
        ('"nest/2/1"', '"hive/2/1"', "id must be nest/SECTION/ORDINAL"),
        ('"MUST"\n', '"OUGHT"\n', "nest.toml:5: level must be one of MUST, MUST NOT"),
        ('["client"]', '["queen"]', "nest.toml:5: role must be one of server, client"),
        ('["client"]', "[1]", "nest.toml:5: role must be a list of strings; got [1]"),
        ('"nest/2/h1"', '"nest/2/1"', "nest.toml:15: nest/2/1 is there twice: first on line 5"),
        ('"a name"', '"a b c d e f g h i"', "nest.toml:15: anchor has more than 8 words"),
        ("[specification]", "[specifikation]", "unknown table 'specifikation'"),
        ("[[requirement]]", "[[requirement", "not valid TOML"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(old: str, new: str, words: str) -> None:
    assert words in wrong(GOOD.replace(old, new, 1))


def test_every_fault_is_reported_at_once() -> None:
    text = GOOD.replace("says =", "sais =").replace('"nest/2/h1"', '"nest"')
    assert len(wrong(text).splitlines()) == 2


def erratum(status: str) -> str:
    return GOOD + (
        f'\n[[erratum]]\nnumber = 7\nstatus = "{status}"\nrequirement = "nest/2/1"\n'
        'level = "MAY"\nnote = "A wasp may knock."\n'
    )


def test_a_verified_erratum_changes_the_level() -> None:
    requirement = read(erratum("verified")).requirements[0]
    assert (requirement.level, requirement.erratum) == ("MAY", 7)


def test_a_reported_erratum_is_named_and_changes_nothing() -> None:
    requirement = read(erratum("reported")).requirements[0]
    assert (requirement.level, requirement.erratum) == ("MUST", 7)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"verified"', '"perhaps"', "an erratum has a number and a status of verified"),
        ('"MAY"', '"CAN"', "level must be one of"),
        ('requirement = "nest/2/1"', 'requirement = "nest/9/9"', "erratum 7 concerns nest/9/9"),
        ("note", "not", "unknown key 'not': did you mean 'note'?"),
    ],
)
def test_a_wrong_erratum_is_named(old: str, new: str, words: str) -> None:
    assert words in wrong(erratum("verified").replace(old, new))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("specification = 3", "specification must be a table: write it as [specification]"),
        ('[[specification]]\nname = "nest"', "write it as [specification]"),
        ('[requirement]\nid = "nest/1/1"', "begin each with a line [[requirement]]"),
        ("requirement = 3", "begin each with a line [[requirement]]"),
        ('requirement = [{id = "nest/1/1"}]', "begin each with a line [[requirement]]"),
        ("vanished = [3]", "begin each with a line [[vanished]]"),
        ("erratum = 'x'", "begin each with a line [[erratum]]"),
        ('[specification]\nroles = ["a b"]', "roles must be single words; got ['a b']"),
    ],
)
def test_tables_of_other_shapes_are_refused(text: str, words: str) -> None:
    assert words in wrong(text)
