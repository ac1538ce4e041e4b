"""Requests from the tests of other HTTP parsers: llhttp (of Node.js) and gunicorn.

llhttp has Markdown files with a request and the parser's log, and the sources of aiohttp contain
them. gunicorn has a file per request, in a folder of valid ones and a folder of invalid ones.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .sources import sources

__all__ = ["Case", "cases"]

_LLHTTP = ("aiohttp", "3.14.5", "vendor/llhttp/test/request")
_GUNICORN = ("gunicorn", "27.0.1", "tests/requests")
_SECTION = re.compile(
    r"^#+ (?P<title>[^\n]+)\n(?:(?!^#).)*?"
    r"<!-- meta=\{(?P<meta>[^}]*)\} -->\s*```http\n(?P<request>.*?)```\s*"
    r"(?:(?!^#).)*?```log\n(?P<log>.*?)```",
    re.MULTILINE | re.DOTALL,
)
_ESCAPES = {"\\r": "\r", "\\n": "\n", "\\t": "\t", "\\f": "\f"}
_UPGRADE = "error code=22"
"""llhttp pauses after an upgrade, which is not an error."""


@dataclass(frozen=True)
class Case:
    """Bytes that a client sends, and what the other parser makes of them.

    Attributes:
        name: The corpus and the file, with the line if the file has several.
        data: The bytes.
        requests: How many requests it accepts, at least.
        is_refused: Whether it refuses the bytes, behind that number of requests.
        bodies: The bodies of the requests, where the corpus has them.
    """

    name: str
    data: bytes
    requests: int
    is_refused: bool
    bodies: tuple[bytes, ...] | None = None


def cases(cache: Path) -> list[Case]:
    """All cases, from sources that are downloaded when they are not in the cache."""
    found = [*_of_llhttp(sources(*_LLHTTP, cache)), *_of_gunicorn(sources(*_GUNICORN, cache))]
    names = [case.name for case in found]
    assert len(set(names)) == len(names), "two cases have the same name"
    return found


def _of_llhttp(folder: Path) -> Iterator[Case]:
    for path in sorted(folder.glob("*.md")):
        text = path.read_text()
        for section in _SECTION.finditer(text):
            kind = re.search(r'"type": "([^"]+)"', section["meta"])
            # The other kinds are parsers with options that accept more.
            if kind is None or kind[1] != "request" or "skip" in section["meta"]:
                continue
            log, line = section["log"], text.count("\n", 0, section.start()) + 1
            yield Case(
                f"llhttp/{path.stem}.md:{line}",
                _unescaped(section["request"]),
                log.count("message complete"),
                "error code=" in log and _UPGRADE not in log,
            )


def _unescaped(text: str) -> bytes:
    text = re.sub(r"\\\n", "", text.removesuffix("\n")).replace("\n", "\r\n")
    for escape, character in _ESCAPES.items():
        text = text.replace(escape, character)
    text = re.sub(r"\\x([0-9a-fA-F]+)", lambda found: chr(int(found[1], 16)), text)
    text = re.sub(r"\\([0-7]{1,3})", lambda found: chr(int(found[1], 8)), text)
    text = re.sub(r"\$\{'(.)'\.repeat\((\d+)\)\}", lambda it: it[1] * int(it[2]), text)
    return text.encode("utf-8")


def _of_gunicorn(folder: Path) -> Iterator[Case]:
    for path in sorted(folder.glob("*/*.http")):
        module = _executed(path.with_suffix(".py").read_text())
        if module["cfg"].was_changed:
            # With options that accept more.
            continue
        expected = module["request"]
        requests = expected if isinstance(expected, list) else [expected]
        bodies = tuple(one["body"] for one in requests if isinstance(one, dict))
        is_refused = path.parent.name == "invalid"
        yield Case(
            f"gunicorn/{path.parent.name}/{path.stem}",
            _of_lines(path.read_bytes()),
            len(bodies),
            is_refused,
            None if is_refused else bodies,
        )


def _of_lines(written: bytes) -> bytes:
    data = written.replace(b"\n", b"").replace(b"\\r\\n", b"\r\n")
    data = data.replace(b"\\0", b"\0").replace(b"\\n", b"\n").replace(b"\\t", b"\t")
    return re.sub(rb"\\x([0-9a-fA-F]{2})", lambda it: bytes([int(it[1], 16)]), data)


class _Settings:
    """What a file of gunicorn's says of its configuration."""

    def __init__(self) -> None:
        self.was_changed = False

    def set(self, name: str, value: object) -> None:
        """Note that something is not the default."""
        del name, value
        self.was_changed = True


def _executed(text: str) -> dict[str, Any]:
    """The names that a file of expectations defines; it imports only names of gunicorn."""
    lines = [
        re.sub(r"^from gunicorn\S* import (.*)$", r"\1 = None", one) for one in text.split("\n")
    ]
    lines = [re.sub(r"^(\w+)(?:, (\w+))+ = None$", _each_none, one) for one in lines]
    names: dict[str, Any] = {"cfg": _Settings(), "Config": _Settings, "uri": str}
    body = "\n".join("" if one == "Config = None" else one for one in lines)
    exec(compile(body, "<expectation>", "exec"), names)
    return names


def _each_none(found: re.Match[str]) -> str:
    return "; ".join(f"{name} = None" for name in re.findall(r"\w+", found[0].partition(" = ")[0]))
