"""The marker `requirement` for every pytest of an environment in which Vespiary is installed.

A project whose pytest is strict (`--strict-markers`, `filterwarnings = error`) may claim something
without a change of its settings. Nothing else happens here: see `plugin`.
"""

import pytest

__all__ = ["MARKER"]

MARKER = "requirement(*ids): claims that it fails without what these requirements demand"
"""The line of pytest's `markers`."""


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", MARKER)
