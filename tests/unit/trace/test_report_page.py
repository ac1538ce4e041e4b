"""The page of a report: it stands alone, has everything, and takes no markup of a catalogue."""

from html.parser import HTMLParser

from .folder import CATALOGUE, Folder


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
    assert [item["id"] for item in page.details] == [f"nest/1/{n}" for n in (1, 2, 3, 4)]
    assert page.details[2]["data-status"] == "excluded"
    assert page.details[0]["data-role"] == "client"
    assert page.links[2:4] == ["https://x.y/z", "../a.rs#L1"]
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
