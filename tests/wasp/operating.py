"""How tests operate a server: over HTTP, as programs and browsers do, and by its commands."""

import contextlib
import http.client
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from click.testing import CliRunner, Result

from tests.wasp.conftest import Lines
from vespiary.cli.main import main


@dataclass(frozen=True)
class Answer:
    """A response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def ask(
    port: int,
    method: str,
    path: str,
    fields: Mapping[str, str] | None = None,
    sent: Mapping[str, str] | None = None,
    **headers: str,
) -> Answer:
    """Send a request, with further headers by name, in which an underscore stands for a hyphen."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    named = {**(sent or {})}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    body = None
    if fields is not None:
        body = urlencode(fields)
        named["Content-Type"] = "application/x-www-form-urlencoded"
    with contextlib.closing(connection):
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, found, answer.read())


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def vespiary(folder: Path, *words: str) -> Result:
    """Run a command in this process, in a folder."""
    with inside(folder):
        return CliRunner().invoke(main, list(words))


def done(folder: Path, *words: str) -> str:
    """Run a command that must succeed, and return what it prints."""
    result = vespiary(folder, *words)
    assert result.exit_code == 0, result.output
    return result.output


def is_ended(client: Lines) -> bool:
    """Wait until the server has closed or reset a connection."""
    try:
        return client.end() == b""
    except ConnectionResetError:
        return True


def is_refused(url: str) -> bool:
    """Whether a connection is accepted and closed at once."""
    try:
        client = Lines(url)
    except ConnectionResetError:
        return True
    with contextlib.closing(client):
        return is_ended(client)
