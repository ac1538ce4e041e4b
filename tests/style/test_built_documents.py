"""The documents as a reader sees them: built, complete, and found by what people search for."""

import json
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from sphinx.search.en import SearchEnglish

import vespiary
import vespiary.testing

pytestmark = pytest.mark.timeout(600)
"""The build takes ten seconds of a processor, which others may want."""

CHECKOUT = Path(__file__).resolve().parents[2]
SEARCHES = {
    "graceful shutdown": "how-to/stop",
    "backpressure": "how-to/slow-consumers",
    "rate limits": "how-to/limits",
    "timeouts": "explanation/timeouts",
    "authentication": "how-to/authentication",
    "broadcast": "how-to/publish",
    "reconnect": "how-to/clients",
    "wss": "faq",
    "tls": "how-to/tls",
    "docker": "how-to/docker",
    "systemd": "how-to/systemd",
    "nginx": "how-to/nginx",
    "testing": "how-to/testing",
    "blocking code": "how-to/blocking",
    "metrics": "how-to/metrics",
    "logging": "how-to/logging",
    "threads": "how-to/threads",
    "fastapi": "how-to/asyncio",
    "origins": "how-to/requests",
    "deadlocks": "explanation/deadlocks",
    "chat": "tutorial/chat",
    "cookie": "how-to/authentication",
    "sqlite": "how-to/blocking",
    "postgresql": "how-to/blocking",
    "json rpc": "examples",
    "key value": "examples",
    "pytest fixture": "how-to/testing",
    "aiohttp": "examples",
    "prometheus": "how-to/metrics",
    "slow subscribers": "how-to/slow-consumers",
    "udp": "how-to/datagrams",
    "sigterm": "how-to/stop",
    "compression": "how-to/compress",
    "reverse proxy": "how-to/nginx",
    "cors": "faq",
    "keepalive ping timeout": "faq",
    "open files": "faq",
    "certificate_verify_failed": "faq",
    "workers": "how-to/processes",
}
"""What people search for, and the page that answers it: it is among the first three."""

TERMS = ("turn", "round", "carrier", "layer", "session", "life", "driver", "guest", "framing")
"""Words of ours, which the glossary defines."""

GARBLED = re.compile(
    r"Ellipsis|<factory>|<object|object at 0x|ForwardRef|TypeVar|\b_[A-Z]\w+|vespiary\._core"
)
"""What a generated reference has where it could not read a signature."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documents, built as `make docs` does: a warning is an error."""
    folder = tmp_path_factory.mktemp("documents")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "-q", "-b"]
    done = subprocess.run(
        [*command, "html", str(CHECKOUT / "docs"), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def index(built: Path) -> dict[str, Any]:
    """Sphinx's search index."""
    text = (built / "searchindex.js").read_text()
    found: dict[str, Any] = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))
    return found


def text_of(page: Path) -> str:
    """The text of a page's own part, without navigation."""
    html = page.read_text().partition("<article")[2].partition("</article>")[0]
    return unescape(re.sub(r"<[^>]+>", "", html))


def documented(built: Path) -> set[str]:
    """The Python names that the reference has, from Sphinx's inventory."""
    data = (built / "objects.inv").read_bytes()
    lines = zlib.decompress(data.split(b"\n", 4)[4]).decode().splitlines()
    return {line.split(" ")[0] for line in lines if " py:" in line}


def ranked(index: dict[str, Any], query: str) -> Iterator[str]:
    """Pages that have every word of a query, ranked as Sphinx's search page does.

    A title that contains the query counts most, then words in titles, then words in the text.
    """
    stem = SearchEnglish({}).stem
    scores: dict[int, float] = {}
    words = [stem(word) for word in query.lower().split()]

    def pages(kind: str, word: str) -> set[int]:
        found = index[kind].get(word, [])
        return set(found) if isinstance(found, list) else {found}

    for number in range(len(index["docnames"])):
        score = 0.0
        for word in words:
            best = 15.0 if number in pages("titleterms", word) else 0.0
            score += best or (5.0 if number in pages("terms", word) else -1000.0)
        scores[number] = score
    for title, places in index["alltitles"].items():
        if query.lower() in title.lower() and len(query) >= len(title) / 2:
            for number, anchor in places:
                scores[number] += 15.0 * len(query) / len(title) + (anchor is None)
    order = sorted((it for it in scores if scores[it] > 0), key=lambda it: -scores[it])
    return (index["docnames"][it] for it in order)


@pytest.mark.parametrize("query", SEARCHES)
def test_a_search_finds_the_page_that_answers_it(index: dict[str, Any], query: str) -> None:
    found = list(ranked(index, query))
    assert SEARCHES[query] in found[:3], found[:6]


def test_no_signature_in_the_reference_is_garbled(built: Path) -> None:
    for page in [*built.glob("reference/*.html"), built / "how-to/testing.html"]:
        assert not GARBLED.findall(text_of(page)), page.name


def test_what_is_awaited_is_marked(built: Path) -> None:
    text = text_of(built / "reference/api.html")
    for signature in ("async receive(", "async ping(", "async drain(", "async stop("):
        assert signature in text
    assert "send(message: str | Buffer" in text


def test_every_public_name_is_in_the_reference(built: Path) -> None:
    names = {name.rpartition(".")[2] for name in documented(built)}
    public = {*vespiary.__all__, *vespiary.testing.__all__} - {"__version__", "sync"}
    assert not public - names


@pytest.mark.parametrize("term", TERMS)
def test_the_glossary_defines_each_term_of_ours(built: Path, term: str) -> None:
    assert f'id="term-{term}"' in (built / "glossary.html").read_text()
