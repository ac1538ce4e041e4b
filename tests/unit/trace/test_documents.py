"""The same specification as Markdown, HTML and the XML of RFCs; own identifiers and own roles."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from vespiary.cli.main import main
from vespiary.errors import ConfigurationError
from vespiary.prove.trace.catalogue import load
from vespiary.prove.trace.documents import opened
from vespiary.prove.trace.normative import candidates, read

MARKDOWN = """\
# The Nest Protocol

Everybody is *welcome*, and **MUST** knock.

## 2.1 Doors

A wasp `MUST` [carry](#all) the following:

- a name
- a colour, which MUST be
  yellow

| Field | Rule |
|-------|------|
| wings | MUST be two |

```
code = 1 ; it MUST NOT be read
```

## Größe der Nester

1. Look at it.
2. A nest SHOULD be
   large.

## References

- Others MUST NOT count.
"""

HTML = """<!DOCTYPE html>
<html><head><title>It MUST NOT be read</title><style>p { MUST: not }</style></head><body>
<nav><ol><li>Doors MUST be entered</ol></nav>
<h1>The Nest Protocol</h1>
<p>Everybody is <em>welcome</em>, and <strong>MUST</strong> knock.
<h2 id="doors"><span>2.1</span> Doors</h2>
<p>A wasp <code>MUST</code> <a href="#all">carry</a> the following:</p>
<ul><li>a name<li>a colour, which MUST be yellow</ul>
<table><tr><th>Field<th>Rule<tr><td>wings</td><td>MUST be two</td></tr></table>
<pre>code = 1 ; it MUST NOT be read</pre>
<h2>Gr&ouml;&szlig;e der Nester</h2>
<ol><li>Look at it.<li>A nest SHOULD be large.</ol>
<h2>References</h2><p>Others MUST NOT count.</p>
</body></html>
"""

XML = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE rfc [ <!ENTITY nbsp "&#160;"> ]>
<rfc version="3" number="9999"><front><title>The Nest Protocol</title>
<abstract><t>It MUST NOT be read.</t></abstract></front>
<middle><section anchor="a"><name>Words</name><t>Words.</t></section>
<section anchor="b"><name>Nests</name>
<section anchor="c" pn="section-2.1"><name>Doors</name>
<t>A&nbsp;wasp <bcp14>MUST</bcp14> carry (see <xref target="RFC9998" section="3"/>) the
following:</t>
<ul><li>a name</li><li><t>a colour, which <bcp14>MUST</bcp14> be <em>yellow</em></t></li></ul>
<table><tbody><tr><td>wings</td><td>MUST be two</td></tr></tbody></table>
<sourcecode>code = 1 ; it MUST NOT be read</sourcecode></section></section></middle>
<back><references><name>References</name><reference anchor="RFC9998"><front><title>It MUST NOT be
read</title></front></reference></references>
<section><name>More</name><dl><dt>size</dt><dd>REQUIRED.</dd></dl></section></back></rfc>
"""

WRITTEN = {
    "x/the-nest-protocol/1": "Everybody is welcome, and MUST knock.",
    "x/2.1/1": "A wasp MUST carry the following:",
    "x/2.1/2": "a colour, which MUST be yellow",
    "x/2.1/3": "wings MUST be two",
    "x/grosse-der-nester/1": "A nest SHOULD be large.",
}


@pytest.mark.parametrize("text", [MARKDOWN, HTML])
def test_markdown_and_html_are_read_by_their_elements(text: str) -> None:
    found = read(text, "x")
    assert {sentence.id: sentence.text for sentence in found} == WRITTEN
    assert found[1].items == 2
    assert [one.text for one in candidates(text) if one.kind == "step"] == ["Look at it."]


def test_the_xml_of_rfcs_is_read_with_the_numbers_of_its_text() -> None:
    assert {sentence.id: sentence.text for sentence in read(XML, "x")} == {
        "x/2.1/1": "A wasp MUST carry (see Section 3 of [RFC9998]) the following:",
        "x/2.1/2": "a colour, which MUST be yellow",
        "x/2.1/3": "wings MUST be two",
        "x/A/1": "size: REQUIRED.",
    }


def test_what_begins_like_xml_and_is_not_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="begins like an RFC in XML, but is not"):
        read("<rfc><middle>", "x")


OWN = """\
# Payments

**PAY-1** A bank MUST answer. It MAY sleep.

- PAY-2: The merchant MUST pay.

## PAY-3 Refunds

The merchant SHOULD refund.
"""


def extracted(folder: Path, text: str, *options: str) -> str:
    (folder / "text.md").write_text(text)
    arguments = ["--text", str(folder / "text.md"), "--catalogue", str(folder / "pay.toml")]
    return CliRunner().invoke(main, ["trace", "extract", "pay", *arguments, *options]).output


def test_a_specifications_own_identifiers_are_those_of_its_requirements(tmp_path: Path) -> None:
    extracted(tmp_path, OWN)
    requirements = {item.id: item for item in load(tmp_path / "pay.toml").requirements}
    assert set(requirements) == {"PAY-1", "PAY-2", "PAY-3", "pay/payments/1"}
    assert {item.specification for item in requirements.values()} == {"pay"}


@pytest.mark.parametrize(
    "sentence",
    [
        "SHA-1 is deprecated, and MUST NOT be used.",
        "UTF-8 MUST be used.",
        "SHA-256: a hash that MUST be known.",
        "PAY-1 and PAY-2 MUST NOT meet.",
    ],
)
def test_the_name_of_a_standard_is_not_an_identifier(sentence: str) -> None:
    assert [found.id for found in read(f"# Hashes\n\n{sentence}\n", "x")] == ["x/hashes/1"]


def test_identifiers_may_begin_as_the_names_of_standards_do() -> None:
    text = "# Rules\n\n- **MD-1** A key MUST be text.\n- **MD-2** Values MUST be text.\n"
    assert [found.id for found in read(text, "x")] == ["MD-1", "MD-2"]


def test_a_key_word_alone_is_about_what_its_heading_names() -> None:
    text = "# Attributes\n\n### source\n\n- REQUIRED\n- MUST be an address\n"
    assert [found.text for found in read(text, "x")] == ["source: REQUIRED", "MUST be an address"]


def test_an_own_identifier_stays_whatever_happens_to_the_words(tmp_path: Path) -> None:
    extracted(tmp_path, OWN)
    output = extracted(tmp_path, OWN.replace("A bank MUST answer", "Letters MAY be thrown away"))
    assert "suspect: PAY-1: the sentence has changed (was PAY-1)" in output, output


def test_a_catalogue_may_have_roles_of_its_own(tmp_path: Path) -> None:
    catalogue = tmp_path / "pay.toml"
    catalogue.write_text('[specification]\nname = "pay"\nroles = ["bank", "merchant"]\n')
    extracted(tmp_path, OWN)
    roles = {item.id: item.role for item in load(catalogue).requirements}
    assert roles["PAY-1"] == ("bank",)
    assert roles["PAY-2"] == ("merchant",)
    catalogue.write_text(catalogue.read_text().replace('["bank"]', '["banker"]'))
    with pytest.raises(ConfigurationError, match="another is declared by roles"):
        load(catalogue)


@pytest.mark.parametrize(
    ("name", "role", "words"),
    [
        ("pay", "banks", "gate.roles: must be one of server"),
        ("pays", "bank", "gate.specification: must be one of *, pay; got 'pays'"),
    ],
)
def test_a_gate_for_what_does_not_exist_is_refused(
    tmp_path: Path, name: str, role: str, words: str
) -> None:
    catalogue = tmp_path / "pay.toml"
    catalogue.write_text('[specification]\nname = "pay"\nroles = ["bank"]\n')
    extracted(tmp_path, OWN)
    (tmp_path / "a.py").write_text("")
    config = tmp_path / "trace.toml"
    settings = 'catalogues = ["pay.toml"]\n[sources]\npython = ["*.py"]\n'
    gate = '[[gate]]\nspecification = "{}"\nlevels = ["MUST"]\nroles = ["{}"]\nstatus = "proven"\n'
    config.write_text(settings + gate.format(name, role))
    refused = CliRunner().invoke(main, ["trace", "gate", "--config", str(config)])
    assert refused.exit_code == 2
    assert words in refused.output
    config.write_text(settings + gate.format("pay", "bank"))
    assert CliRunner().invoke(main, ["trace", "gate", "--config", str(config)]).exit_code == 1


@pytest.mark.parametrize("text", ["1.  Nests\n\n   A wasp must knock.\n", "", "# A\n\nNothing.\n"])
def test_a_text_without_key_words_is_refused_with_advice(tmp_path: Path, text: str) -> None:
    output = extracted(tmp_path, text)
    assert "no sentence of pay has a key word in capitals" in output
    assert "--candidates" in output
    assert not (tmp_path / "pay.toml").exists()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_text_is_read_in_the_encoding_that_it_says_it_has(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "text.md").write_text(OWN, encoding)
    arguments = ["--text", str(tmp_path / "text.md"), "--catalogue", str(tmp_path / "pay.toml")]
    CliRunner().invoke(main, ["trace", "extract", "pay", *arguments])
    assert len(load(tmp_path / "pay.toml").requirements) == 4


def test_what_is_not_a_text_is_refused(tmp_path: Path) -> None:
    assert "is not a text file" in extracted(tmp_path, "# A\0\n\nA MUST b.\n")


@pytest.mark.parametrize("name", ["../../etc", "bad name", "RFC6455", ""])
def test_a_name_that_no_identifier_can_have_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.md").write_text(OWN)
    arguments = ["trace", "extract", name, "--text", str(tmp_path / "text.md")]
    refused = CliRunner().invoke(main, arguments)
    assert refused.exit_code == 2
    assert "cannot begin an identifier" in refused.output


def test_a_paragraph_of_many_sentences_is_read_in_a_moment() -> None:
    found = read("# A\n\n" + "A wasp MUST go. " * 20_000, "x")
    assert (len(found), found[-1].id) == (20_000, "x/a/20000")


def test_elements_that_are_nested_too_deeply_are_refused() -> None:
    deep = 3000
    text = f"<rfc><middle>{'<section><t>' * deep}A MUST b.{'</t></section>' * deep}</middle></rfc>"
    with pytest.raises(ConfigurationError, match="nested too deeply: give it in another form"):
        opened(text)


def test_a_number_that_no_section_has_does_not_begin_a_section() -> None:
    assert [section.number for section, _ in opened(f"1.  T\n\n{'9' * 5000}.  U\n")] == ["1"]
