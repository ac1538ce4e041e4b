"""The page of a report: it stands alone, has everything, and takes no markup of a catalogue."""

import json
from html.parser import HTMLParser

from click.testing import CliRunner

from vespiary.cli.main import main
from vespiary.prove.trace.normative import digest
from vespiary.prove.trace.page_parts import MEANINGS
from vespiary.prove.trace.report import STATUSES

from .folder import CATALOGUE, SETTINGS, Folder


class Page(HTMLParser):
    """Checks that what is opened is closed, and gathers what the page has."""

    VOID = ("meta", "input", "link", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.details: list[dict[str, str | None]] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert not self.opened

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag not in self.VOID:
            self.opened.append(tag)
        if tag == "details":
            self.details.append(values)
        if tag == "a":
            self.links.append(values["href"] or "")
        if tag in ("link", "img", "iframe") or (tag == "script" and "src" in values):
            self.loads.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.opened.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.opened and self.opened[-1] not in ("script", "style"):
            self.words += data


def test_the_page_stands_alone_and_has_everything(folder: Folder) -> None:
    path = folder.root / "out" / "page.html"
    assert folder.run("report", "--html", str(path), "--title", "Nests & more").exit_code == 0
    page = Page(path.read_text())
    assert not page.loads
    assert [item["id"] for item in page.details] == [f"nest/1/{n}" for n in (1, 2, 4, 3)]
    assert page.details[3]["data-status"] == "excluded"
    assert page.details[0]["data-role"] == "client"
    assert page.links[4:6] == ["https://x.y/z", "../a.rs#L1"]
    for words in (
        "Nests & more",
        "Knock <twice>.",
        "7, verified: Once is enough.",
        "2 items",
        "Wasps cannot.",
        "cannot see",
        "Search",
    ):
        assert words in page.words, words


def test_a_hostile_catalogue_cannot_write_into_the_page(folder: Folder) -> None:
    catalogue = folder.root / "requirements" / "nest.toml"
    hostile = "'\"><script>alert(1)</script>"
    catalogue.write_text(
        CATALOGUE.replace("Fear", "</details><script>x</script>").replace(
            '"https://x.y/z"', "'''javascript:alert(1)'''"
        ).replace("Knock <twice>.", hostile.replace('"', '\\"'))
    )  # fmt: skip
    path = folder.root / "page.html"
    folder.run("report", "--html", str(path))
    text = path.read_text()
    assert text.count("<script>") == 1
    assert not [link for link in Page(text).links if link.startswith("javascript:")]


def test_no_key_of_a_catalogue_can_write_into_the_page(folder: Folder) -> None:
    hostile = "'\"><script>alert(1)</script>"
    quoted, address = json.dumps(hostile), json.dumps(f"https://x.y/{hostile}")
    head = f'[specification]\nname = "nest"\nurl = {address}\nroles = [{quoted}]\n'
    keys = "".join(f"{key} = {address}\n" for key in ("says", "why", "source", "excluded"))
    more = f'[[requirement]]\nid = "nest/1/9"\nlevel = "MUST"\nrole = [{quoted}]\n{keys}'
    (folder.root / "requirements" / "nest.toml").write_text(f"{head}{CATALOGUE}\n{more}")
    path = folder.root / "page.html"
    link = f"{{file}}#{{line}}{hostile}"
    folder.run("report", "--html", str(path), "--title", hostile, "--link", link)
    text = path.read_text()
    assert text.count("<script>") == 1
    (details,) = [item for item in Page(text).details if item["id"] == "nest/1/9"]
    assert details["data-role"] == hostile


def test_what_is_not_proven_comes_first_with_its_reason(folder: Folder) -> None:
    folder.proof(1)["verdict"] = "survived"
    path = folder.root / "page.html"
    folder.run("report", "--html", str(path))
    page = Page(path.read_text())
    assert [item["id"] for item in page.details] == [f"nest/1/{n}" for n in (2, 1, 4, 3)]
    reason = "no claiming test fails while a.rs:2 is disabled: make one check the result"
    assert reason in page.words
    assert folder.report()["requirements"][1]["reason"] == reason


def test_links_lead_to_the_repository_the_section_and_the_test(folder: Folder) -> None:
    catalogue = folder.root / "requirements" / "nest.toml"
    head = '[specification]\nname = "nest"\nurl = "https://example.org/nest#top"\n'
    catalogue.write_text(head + CATALOGUE)
    path = folder.root / "page.html"
    link = "https://example.org/blob/main/{file}#L{line}"
    assert folder.run("report", "--html", str(path), "--link", link).exit_code == 0
    links = Page(path.read_text()).links
    assert "https://example.org/nest#section-1" in links
    assert "https://example.org/blob/main/a.rs#L1" in links  # the mark
    assert "https://example.org/blob/main/a.rs#L3" in links  # the claim
    refused = folder.run("report", "--html", str(path), "--link", "https://example.org/")
    assert refused.exit_code == 2
    assert "--link must contain {file} and {line}" in refused.output


def test_sentences_are_quoted_where_the_text_is_at_hand(folder: Folder) -> None:
    sentence = "A wasp MUST knock <twice>."
    (folder.root / "nest.txt").write_text(f"1.  Nests\n\n   {sentence}\n")
    catalogue = folder.root / "requirements" / "nest.toml"
    catalogue.write_text(
        CATALOGUE.replace('id = "nest/1/1"', f'id = "nest/1/1"\nhash = "{digest(sentence)}"')
    )
    settings = folder.root / "trace.toml"
    settings.write_text(f'{SETTINGS}[texts]\nnest = "nest.txt"\n')
    path = folder.root / "page.html"
    folder.run("report", "--html", str(path))
    assert sentence in Page(path.read_text()).words
    report = folder.report()
    assert report["version"] == 1
    first, second = report["requirements"][:2]
    assert (first["sentence"], first["section"]) == (sentence, "1")
    assert second["sentence"] == ""
    settings.write_text(f'{SETTINGS}[texts]\nnets = "nest.txt"\n')
    assert "texts.nets: no catalogue has this name" in folder.run("report").output


def test_two_thousand_requirements_make_one_page(folder: Folder) -> None:
    catalogue = folder.root / "requirements" / "nest.toml"
    more = "".join(
        f'[[requirement]]\nid = "nest/2/{number}"\nlevel = "MUST"\nsays = "Buzz {number}."\n'
        for number in range(1, 2001)
    )
    catalogue.write_text(CATALOGUE + more)
    path = folder.root / "page.html"
    folder.run("report", "--html", str(path))
    page = Page(path.read_text())
    assert len(page.details) == 2004
    assert len(path.read_bytes()) < 2_000_000


def test_a_claim_that_does_not_hold_comes_before_what_nobody_has_begun(folder: Folder) -> None:
    more = '[[requirement]]\nid = "nest/0/1"\nlevel = "MUST"\nsays = "First."\n'
    (folder.root / "requirements" / "nest.toml").write_text(f"{more}\n{CATALOGUE}")
    for proof in folder.evidence["proofs"]:
        proof.update(verdict="survived", tests=[])
    folder.evidence["claims"][0].update(verdict="survived", tests=[])
    path = folder.root / "page.html"
    folder.run("report", "--html", str(path))
    page = Page(path.read_text())
    statuses = [item["data-status"] for item in page.details]
    assert statuses.index("executed") < statuses.index("unmapped")
    assert "executes the code, and passes without it too" in page.words
    assert ": no claiming test fails without it" in page.words


def test_the_page_says_what_each_status_means_and_shows_a_sentence_once(folder: Folder) -> None:
    text = "A wasp MUST knock at the door of its nest.\n"
    (folder.root / "nest.md").write_text(f"# 1. Doors\n\n{text}")
    (folder.root / "trace.toml").write_text(f'{SETTINGS}[texts]\nnest = "nest.md"\n')
    hashed = digest(text.strip())
    plain = f'[[requirement]]\nid = "nest/1/9"\nlevel = "MUST"\nhash = "{hashed}"\n'
    (folder.root / "requirements" / "nest.toml").write_text(f"{CATALOGUE}\n{plain}")
    path = folder.root / "page.html"
    folder.run("report", "--html", str(path))
    page = Page(path.read_text())
    assert page.words.count(text.strip()) == 1
    assert "#statuses" in page.links
    assert set(MEANINGS) == set(STATUSES)
    for status, meaning in MEANINGS.items():
        assert status in page.words
        assert meaning in page.words


def test_without_a_traced_run_no_test_is_said_to_have_run(folder: Folder) -> None:
    path = folder.root / "page.html"
    config = ["--config", str(folder.root / "trace.toml")]
    CliRunner().invoke(main, ["trace", "report", *config, "--html", str(path)])
    words = Page(path.read_text()).words
    assert "Without a traced run" in words
    assert "the tests that claim it have not run: run vespiary trace prove" in words
    assert "no claiming test that passed" not in words
