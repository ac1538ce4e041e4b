"""What the conformance tests share: the installed suite, and an environment."""

import os

import pytest

from tests.conformance.running import Tell
from tests.conformance.suite import Suite, find_python, install


@pytest.fixture(scope="session")
def suite() -> Suite:
    """Autobahn|Testsuite, installed on first use (half a minute)."""
    python = find_python()
    if python is None:
        pytest.skip("no CPython 2.7 with pip on this machine: see VESPIARY_PYTHON27")
    return install(python)


@pytest.fixture
def environment() -> dict[str, str]:
    """For our own processes: the driver gets them as arguments, not taken from here."""
    return {name: value for name, value in os.environ.items() if name != "VESPIARY_DRIVER"}


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Tell:
    """Shows a line of progress, whatever is captured."""
    capturing = request.config.pluginmanager.getplugin("capturemanager")
    reporter = request.config.pluginmanager.getplugin("terminalreporter")

    def show(line: str) -> None:
        if reporter is not None:
            with capturing.global_and_fixture_disabled():
                reporter.ensure_newline()
                reporter.write_line(line)

    return show
