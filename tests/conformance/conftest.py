"""What the conformance tests share: the installed suite, and the kernel's drivers."""

import os
import subprocess
import sys

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


@pytest.fixture(scope="session")
def uring_refusal() -> str | None:
    """Why io_uring cannot be had on this machine; None when it can."""
    code = "import vespiary.loop; vespiary.loop.Loop(driver='uring').close()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode and "DriverUnavailable" not in done.stderr:
        raise RuntimeError(done.stderr)
    return done.stderr.splitlines()[-1] if done.returncode else None


@pytest.fixture(params=["uring", "epoll"])
def driver(request: pytest.FixtureRequest, uring_refusal: str | None) -> str:
    """Each of the kernel's drivers."""
    name: str = request.param
    if name == "uring" and uring_refusal:
        pytest.skip(uring_refusal)
    return name


@pytest.fixture
def environment() -> dict[str, str]:
    """For our own processes: the driver is told them, not taken from here."""
    return {name: value for name, value in os.environ.items() if name != "VESPIARY_PORT"}


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
