"""How a test starts pytest for a suite of its own: with the plugins that this suite uses.

Pytest loads the plugins of every installed package otherwise, and with them numpy, faker, pydantic
and hypothesis: a second of computing for each start. `tests/testing/test_plugin.py`, and the first
project in `tests/wasp/test_commands.py`, start pytest as a user does, with all of them.
"""

import os
import sys

OURS = (
    "vespiary.prove.locks.plugin",
    "vespiary.prove.memory.plugin",
    "vespiary.prove.trace.marker",
    "vespiary.testing.plugin",
)
"""The modules behind the entry points of pyproject.toml."""


def pytest_words(*plugins: str) -> list[str]:
    """The words that start pytest with some plugins, by the names of their modules."""
    named = [word for plugin in plugins for word in ("-p", plugin)]
    return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *named]


def environment(**more: str) -> dict[str, str]:
    """The environment of such a pytest."""
    return {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **more}
