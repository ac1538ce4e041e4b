"""The files of a new plug-in project."""

from __future__ import annotations

__all__ = ["project_files"]

_CONFIGURATION = """\
# Check this file:    vespiary check
# Start the server:   vespiary run
# Reload the file:    kill -HUP PID

[endpoints.{name}]
url = "ws://127.0.0.1:9001/"
plugin = "{name}.py:{owner}"
websocket.messages = "text"

[endpoints.{name}.config]
greeting = "hello"
"""

_PLUGIN = '''\
"""A plug-in: it answers each message with a greeting."""

import msgspec

import vespiary


class Config(msgspec.Struct, forbid_unknown_fields=True):
    """The table `config` of an endpoint."""

    greeting: str


class {owner}(vespiary.Handler[str]):
    """Each endpoint has an object of this class, made with its own configuration."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def on_message(self, connection: vespiary.Connection[str], message: str) -> None:
        """Answer a message."""
        connection.send(f"{{self.config.greeting}}, {{message}}")
'''

_TESTS = '''\
"""Run: python -m pytest."""

from pathlib import Path

from {name} import Config, {owner}

from vespiary.testing import TestClient, check_handler
from vespiary.wasp import check


def test_answers_with_the_greeting_of_the_configuration() -> None:
    plugin = {owner}(Config(greeting="welcome"))
    with TestClient(plugin) as client, client.connect() as connection:
        connection.send("Ann")
        assert connection.receive() == "welcome, Ann"


def test_satisfies_what_every_handler_must() -> None:
    check_handler({owner}(Config(greeting="hello")), messages=["Ann", ""])


def test_the_configuration_is_valid() -> None:
    check(Path(__file__).with_name("wasp.toml"))
'''


def project_files(name: str) -> dict[str, str]:
    """The texts of the files of a project, by file name.

    Args:
        name: The name of the plug-in: an identifier of Python.
    """
    owner = "".join(part[:1].upper() + part[1:] for part in name.split("_"))
    if owner == name:
        owner = f"{name}Plugin"
    texts = {"wasp.toml": _CONFIGURATION, f"{name}.py": _PLUGIN, f"test_{name}.py": _TESTS}
    return {file: text.format(name=name, owner=owner) for file, text in texts.items()}
