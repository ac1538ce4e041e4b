"""Plain English: phrases that a reader who is new to the project would stumble over fail.

Read are comments, docstrings, strings, names of tests, and documents as a whole. To add a phrase,
add a line to `PHRASES`: a regular expression for text in which every run of space is one space, and
what to write instead.
"""

import io
import re
import tokenize
from bisect import bisect_right
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.style.test_size import relative, source_files

PHRASES = {
    r"(?:is|are|was|were|be|been|being) told": "is reported, is notified, prints, logs",
    r"tells? (?:of|what|whether|which|why|how|where|when|whose)": "says what, reports",
    r"(?<!there )(?:is|are|was|were) no "
    r"(?!longer|more|less|fewer|such|need|one|way|other|doubt|different|better|use|matter)[a-z]+": (
        "is not a"
    ),
    r"(?:when|if|where) left out": "by default, default:",
    r"what (?:becomes|became|will become|comes|came) of": "what happens to",
    r"(?:is|are|was|were) held to": "must satisfy",
    r"in good order": "cleanly, gracefully",
    r"(?<!between )(?:once|twice|times|bytes|messages|requests|frames|line|one) an? "
    r"(?:message|connection|second|turn|request|frame|minute|day|line)": "per message",
    r"the house|house style": "the source tree, the style",
    r"(?:a|the|no|every|each|other|these) verbs?": "a command",
    r"shaken|shak(?:e|es|ing) hands": "completed the handshake",
    r"in vain": "without success, failed",
    r"given up|gives? (?:its|their|his) place to": "failed, cancelled, is freed",
    r"crowd(?:ed|s)?": "full, many",
    r"farewells?|errands?|moody": "close frame, cross-thread call, faulty",
    r"flying|landed": "in flight, sent, arrived",
    r"noughts?|thrice": "zeros, three times",
    r"whoever|whomever": "anyone who",
    r"peers? of 20\d\d": "old clients",
    r"there is (?:a|no) way to": "you can",
    r"proved": "tested, proven",
    r"(?:can|could|to)(?:not| not)? be had|can have it": "is (not) available",
    r"(?:bytes?|packets?|frames?|messages?|lines?) a (?:second|minute|turn|message|frame|line)": (
        "per second"
    ),
    r"(?:un)?lawful": "valid, invalid",
    r"lax(?:er)?": "less strict",
    r"lives? on": "stays open, is kept",
    r"of (?:its|their) own accord": "by itself",
    r"bears? longer": "allow longer",
    r"hears? of": "sees, is notified",
    r"to blame": "that causes it",
    r"behind it nothing": "the rest is not",
    r"whatever (?:it|they|he) (?:does|do)": "in any case, in everything that it does",
    r"in (?:its|their|his|your|the) hands?|in hand": "while it holds",
    r"let(?:s|ting)? go of": "releases",
    r"for good|as ever|by turns": "permanently, as usual, alternately",
    r"dearer": "takes longer, costs more",
    r"(?:takes?|took) root": "needs root",
    r"a name of Python(?!'s)": "a valid Python identifier",
    r"units? of systemd": "a systemd unit",
    r"(?:anything|nothing|everything) else than": "anything other than",
}
"""A phrase, and what to write instead."""

PHRASES_OF_SOURCES = {
    r"for ever": "forever",
    r"passed over": "skipped, ignored",
    r"in place of": "instead of",
    r"(?:goes|go|went) on": "continues",
    r"under way": "in progress, running",
    r"(?:is|are) spoken": "is supported, is used",
    r"all the same": "nevertheless",
    r"in the midst of": "during",
    r"(?:the )?developer's world|it is the test's move": "the program, the test acts next",
    r"behind (?:our|its|their) backs?": "without our knowledge",
    r"(?:is|are) not a fact|not facts": "only a request",
    r"a room of its own": "a module of its own",
    r"(?:and |then )?so (?:do|does|did|is|are|was|were|has|have) "
    r"(?:the|a|an|it|they|those|this|that|its|their|every|each|all|what|who)": (
        "the subject first: the reader is closed too"
    ),
    r"(?:nor|neither) (?:do|does|is|are|can|may)": "the subject first: is not closed either",
    r"(?:after|for|within) so (?:many|long)(?! as| that)": "after this time, after `seconds`",
    r"after so much": "after this time of silence",
    r"but for(?! (?:a|one|some) )": "except, without",
    r"thus|hence|lest|albeit": "so, that is why",
    r"(?:objects?|lines?) of JSON": "a JSON object, JSON in one line",
    r"(?:of|to|from|by) who (?!the )[a-z]+": "to the thread that, to the caller",
    r"who (?:waits|looks|takes|puts|sends|wants|holds|knows|gets|runs|adds|reads) "
    r"(?:for|into|out|it|this|that|something|one)": "a thread that waits for",
    r"(?<![-\w])(?:has|have) not(?=\. )": "the whole verb: has not changed, does not share it",
    r"anew|amiss|aright": "again, wrong, right",
    r"(?<=, )also (?:after|before|during|for|from|if|in|on|those|to|when|where|while|with)": (
        "even if, even after, including"
    ),
    r"counts? with the time": "its latency is the time",
    r"beside": "next to, together with",
    r"at hand": "available",
    r"the latter|the former": "the noun",
    r"in whichever way|whichever is asked": "in any way, in any of them",
}
"""The same for the code of the crates and of the package, and for the documents."""

PHRASES_OF_DOCUMENTS = {
    r"shall": "must, should, will",
    r"names? no": "has no, does not name a",
    r"stands? (?:in|below|beside|behind|there)": "is in, is below, is next to, comes after",
    r"(?:is|are) (?:not )?looked at": "is checked, is ignored",
    r"mend(?:s|ed|ing)?": "fixes, repairs",
    r"amid": "during",
    r"whatever": "any, in any case",
    r"swallow(?:s|ed|ing)?": "ignores, drops",
    r"lays? down": "plain words",
    r"what is left|(?:is|are) left out|leaves? out": "the rest, is omitted, omits",
    r"commonest": "most common",
    r"(?:and )?so also": "a sentence of its own, too",
    r"need not": "does not need to, does not have to",
    r"missing in": "missing from",
    r"older than (?:19|20)\d\d": "released before",
    r"takes? [^.,:;]{1,40} for (?:complete|the whole|a complete)[^.]{0,30}": (
        "does not notice that it is incomplete"
    ),
    r"(?:arguments?|handlers?|(?<!event )loops?|regular expressions?|scopes?|services?|sockets?"
    r"|streams?|tasks?|workers?) of (?:asyncio|Python|systemd|Vespiary)(?! on|'s)": (
        "an asyncio task, a Python socket, a systemd service"
    ),
    r"not (?:seen|detected|covered|supported) are": "these are not seen: ...",
    r"what is waited for|is due that": "what the thread waits for",
    r"(?:in|of) plain methods": "whose methods are not async",
    r"such an end|for good measure": "say what it is",
    r"(?:can|could|may) do without": "does not need",
    r"of the moment": "of this time",
    r"(?:while|when) (?:it|he) is away": "until it has started again",
    r"more likely than not|as it must": "say what must be so",
    r"this long after|so many may": "how long, how many",
    r"not proven or contradictory": "not proven, or contradictory",
    r"(?:finds|find) the [a-z]+ that match quickly": "finds quickly the ... that match",
    r"(?:is|are|was|were|than|as|like|except|including|besides|waits for|compared with) "
    r"(?:that|those) of": "the noun again: the server's address, the messages of a feed",
    r"of (?:its|their|our|your) own(?= ?[.,;:(|)]| (?:and|as|for|if|in|on|that|to|which|with))": (
        "its own process, a separate process"
    ),
    r"(?:the same|this|rules?) holds?(?= ?[.,;]| (?:for|if|in|too|when))": "is true, applies",
    r"meanwhile": "in the meantime, until then",
    r"as (?:it|they) (?:is|are)(?= ?[.,;|])": "unchanged",
    r"(?:is|are|was|were) away": "is not reachable",
    r"breaks? off": "ends too early, fails",
    r"whichever": "any of them, in any worker",
    r"(?:has|have) run nothing": "is blocked",
    r"another [a-z ]{1,30} than(?= the| a| an| expected| get)": "other than",
    r"(?:some|all|each|most) of which": "a sentence of its own, including",
    r"what (?:passes|arrives)": "the traffic, the data that",
    r"the (?:display|line|one|piece|run|window) before(?= ?[.,;])": "the previous",
    r"heard (?:from|of)": "received an announcement of",
}
"""The same for the documents, which more people read than comments."""

EXCEPTIONS = {
    "tests/style/test_wording.py": "It has the phrases.",
    "tests/unit/trace/sample.py": "A specification in the words of specifications.",
    "tests/unit/trace/test_reading.py": "The same.",
    "tests/locks/real/known/cpython.toml": "Names of CPython's own.",
}
"""Path: why a file may have such phrases."""

FOLDERS = ("src/", "crates/", "docs/", "examples/", "tests/", "tools/", "fuzz/src/", "benches/")
FILES = (
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "Makefile",
)
SUFFIXES = (".py", ".pyi", ".rs", ".md", ".sh", ".html", ".toml", "Makefile")

_RUST = re.compile(
    r"""
    (?P<comment>//[/!]?(?P<line>[^\n]*))
  | r(?P<hashes>\#*)"(?P<raw>.*?)"(?P=hashes)
  | "(?P<string>(?:[^"\\]|\\.)*)"
  | '(?:[^'\\\n]|\\[^\n']+)'
  | \bfn\s+(?P<name>\w+)
    """,
    re.VERBOSE | re.DOTALL,
)
_GAP = "\N{PILCROW SIGN}"
"""Stands for code: no phrase reaches across it."""


def python_prose(text: str) -> Iterator[tuple[int, str]]:
    """Comments, strings and names of tests, each with its line."""
    previous = ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        line = token.start[0]
        kind = tokenize.tok_name[token.type]
        if kind == "COMMENT":
            yield line, token.string.lstrip("#:! ")
        elif kind == "STRING":
            yield line, re.sub(r"^\w*(['\"]+)|['\"]+$", " ", token.string)
        elif kind == "FSTRING_MIDDLE":
            yield line, token.string
        elif previous == "def" and token.string.startswith("test_"):
            yield line, f"{_GAP} {token.string.replace('_', ' ')} {_GAP}"
        elif token.string.strip() and kind not in ("FSTRING_START", "FSTRING_END"):
            yield line, _GAP
        previous = token.string


def rust_prose(text: str) -> Iterator[tuple[int, str]]:
    """The same of Rust; the names of all functions of several words."""
    end = 0
    for match in _RUST.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        if text[end : match.start()].strip():
            yield line, _GAP
        end = match.end()
        if match["name"] and match["name"].count("_") > 2:
            yield line, f"{_GAP} {match['name'].replace('_', ' ')} {_GAP}"
        words = match["line"] or match["raw"] or match["string"] or ""
        if words:
            yield line, words


def prose(path: Path) -> Iterator[tuple[int, str]]:
    text = path.read_text()
    if path.suffix in (".py", ".pyi"):
        yield from python_prose(text)
    elif path.suffix == ".rs":
        yield from rust_prose(text)
    else:
        for number, line in enumerate(text.splitlines(), 1):
            yield number, line.lstrip("#> \t")


def is_document(path: Path) -> bool:
    """Whether people read a file from its beginning: not the changelog, and no table of results."""
    name = relative(path)
    others = ("CHANGELOG.md", "benches/")
    return path.suffix == ".md" and not name.startswith(others)


def is_source(path: Path) -> bool:
    """Whether a file belongs to a crate or to the package, its tests aside."""
    name = relative(path)
    return re.match(r"(?:src|crates/[^/]+/src)/", name) is not None


def phrases_for(path: Path) -> dict[str, str]:
    """The phrases that are checked in a file, in lower case."""
    phrases = dict(PHRASES)
    if is_document(path) or is_source(path):
        phrases |= PHRASES_OF_SOURCES
    if is_document(path):
        phrases |= PHRASES_OF_DOCUMENTS
    return {phrase.lower(): advice for phrase, advice in phrases.items()}


@cache
def any_of(phrases: tuple[str, ...]) -> re.Pattern[str]:
    """An expression for all phrases: much faster than one expression for each."""
    return re.compile(rf"\b(?:{'|'.join(phrases)})\b")


def offences(path: Path) -> list[str]:
    """What is wrong in a file, as `path:line: phrase: advice`."""
    pieces: list[str] = []
    starts, lines, size = [], [], 0
    for number, piece in prose(path):
        for offset, words in enumerate(piece.split("\n")):
            plain = " ".join(words.lstrip("*").split()) + " "
            pieces.append(plain)
            starts.append(size)
            lines.append(number + offset)
            size += len(plain)
    text = "".join(pieces)
    phrases = phrases_for(path)
    found = []
    # `lower` keeps the length of ASCII; where it does not, `text` is searched as it is.
    lowered = text.lower() if len(text.lower()) == len(text) else text
    for match in any_of(tuple(phrases)).finditer(lowered):
        line = lines[bisect_right(starts, match.start()) - 1]
        words = text[match.start() : match.end()]
        advice = next(
            advice
            for phrase, advice in phrases.items()
            if re.compile(rf"\b(?:{phrase})\b").match(lowered, match.start())
        )
        found.append(f"{relative(path)}:{line}: {words!r}: write {advice}")
    return found


def checked_files() -> list[Path]:
    return [
        path
        for path in source_files(*SUFFIXES)
        if relative(path).startswith(FOLDERS) or relative(path) in FILES
        if relative(path) not in EXCEPTIONS
    ]


@pytest.mark.timeout(600)  # It computes for 10 s, and a busy machine has little of a processor.
def test_no_phrase_stops_a_reader() -> None:
    found = [offence for path in checked_files() for offence in offences(path)]
    assert not found, "\n" + "\n".join(found)


def test_no_phrase_depends_on_letter_case() -> None:
    """Phrases are made lower case, which would change the meaning of an escape such as `\\S`."""
    phrases = PHRASES | PHRASES_OF_SOURCES | PHRASES_OF_DOCUMENTS
    assert not [phrase for phrase in phrases if re.search(r"\\[A-Z]", phrase)]


def test_every_exception_is_a_file() -> None:
    names = {relative(path) for path in source_files(*SUFFIXES)}
    assert set(EXCEPTIONS) <= names


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.py", '"""One.\n\nThe peer is\ntold."""\n', 3),
        ("a.py", "x = 1  # The peer is\n# told.\n", 1),
        ("a.py", 'raise E("the peer is "\n        "told")\n', 1),
        ("a.py", "def test_the_peer_is_told() -> None: ...\n", 1),
        ("a.rs", "//! One.\n/// The peer is\n    /// told.\n", 2),
        ("a.rs", 'let x = "the peer is told";\n', 1),
        ("a.rs", "fn the_peer_is_told(bench: &Bench) {}\n", 1),
        ("a.md", "# The peer\n\n* which is\n  told\n", 3),
    ],
)
def test_a_phrase_is_found_wherever_people_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, line: int
) -> None:
    monkeypatch.setattr("tests.style.test_wording.relative", lambda path: path.name)
    (tmp_path / name).write_text(text)
    (offence,) = offences(tmp_path / name)
    assert offence.startswith(f"{name}:{line}: 'is told': write ")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", "for told in peers: is_told = told\n"),
        ("a.py", "x = is_  # One.\ny = 1\n# Told.\n"),
        ("a.rs", "let is = told; // It is\nlet x = 1; // told\n"),
        ("a.md", "There is no message.\n"),
    ],
)
def test_code_is_not_prose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setattr("tests.style.test_wording.relative", lambda path: path.name)
    (tmp_path / name).write_text(text)
    assert not offences(tmp_path / name)
