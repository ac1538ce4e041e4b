"""`vespiary serve` with applications: a process, its URL, its log."""

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.test_serve_command import Command

APPLICATIONS = """\
import asyncio

async def asgi(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

def wsgi(environ, start_response):
    start_response("200 OK", [])
    return [(environ["SCRIPT_NAME"] + " " + environ["PATH_INFO"]).encode()]

async def failing(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})

def create_app():
    return asgi
"""
SECONDS = 60.0


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Command]]:
    """Commands that are ended with the test; a module `apps` lies in their folder."""
    (tmp_path / "apps.py").write_text(APPLICATIONS)
    commands: list[Command] = []
    yield commands
    for command in commands:
        command.close()


@pytest.fixture(autouse=True)
def driver() -> None:
    """The command chooses the driver."""


def start(commands: list[Command], folder: Path, *arguments: str) -> Command:
    commands.append(Command(folder, *arguments))
    return commands[-1]


def page(command: Command, path: str) -> bytes:
    url = command.wait_for(r"Serving (http://127\.0\.0\.1:\d+)/")[1]
    with urllib.request.urlopen(url + path, timeout=SECONDS) as response:
        body: bytes = response.read()
        return body


@pytest.mark.parametrize(
    ("reference", "options", "body"),
    [
        ("apps:asgi", ["--root-path", "/api", "--lifespan", "off"], b"/api/bees"),
        ("apps.py:asgi", ["--workers", "2"], b"/bees"),
        ("apps:wsgi", ["--threads", "2"], b" /bees"),
    ],
)
def test_an_application_is_served_and_its_requests_are_logged(
    started: list[Command], tmp_path: Path, reference: str, options: list[str], body: bytes
) -> None:
    command = start(started, tmp_path, reference, "http://127.0.0.1:0", "--access-log", *options)
    assert page(command, "/bees") == body
    assert command.stop() == 0
    assert '"GET /bees HTTP/1.1" 200' in command.log()


def test_a_failed_startup_is_reported_without_a_traceback(
    started: list[Command], tmp_path: Path
) -> None:
    command = start(started, tmp_path, "apps:failing", "http://127.0.0.1:0")
    assert command.process.wait(SECONDS) == 1
    assert "Error: the application's startup failed: no database" in command.log()
    assert "Traceback" not in command.log()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["apps:create_app", "http://127.0.0.1:0"], "name the application itself"),
        (["apps:asgi", "tcp://127.0.0.1:0"], "ASGI applications are served on http://"),
        (["apps:wsgi", "http://127.0.0.1:0", "--lifespan", "on"], "--lifespan is for ASGI"),
    ],
)
def test_what_cannot_be_served_is_refused_with_advice(
    started: list[Command], tmp_path: Path, arguments: list[str], text: str
) -> None:
    command = start(started, tmp_path, *arguments)
    assert command.process.wait(SECONDS) != 0
    assert text in " ".join(command.log().split())
