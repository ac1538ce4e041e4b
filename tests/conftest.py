"""What all tests share: the kernel's drivers, and that a skipped test may fail the run.

A check that did not run must not look like one that passed. With VESPIARY_FORBID_SKIPS=1, which
`.ci/run` sets, every skip is a failure that says what was skipped, unless it stands in
`ALLOWED_SKIPS` with its reason.
"""

import faulthandler
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest
from _pytest._code.code import TerminalRepr
from _pytest._io import TerminalWriter
from _pytest.faulthandler import fault_handler_stderr_fd_key

# Hypothesis takes a slow machine for a slow test.
hypothesis.settings.register_profile(
    "vespiary", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("vespiary")

ALLOWED_SKIPS: dict[str, str] = {
    # Autobahn|Testsuite runs on CPython 2.7 only, and Debian has no package of that any more.
    "tests/conformance/test_autobahn.py::test_our_": "Skipped: no CPython 2.7 ",
    # Giving up rights takes having them.
    "tests/locks/test_environments.py::": "Skipped: only root can become another user",
    # Debian leaves CPython's own tests to a package of their own.
    "tests/locks/real/test_interpreters.py::": "Skipped: CPython ",
    "tests/suites/test_sample.py::": "Skipped: CPython ",
    "tests/locks/test_attach.py::test_another_users_": "Skipped: only root can become another user",
    "tests/locks/test_coverage.py::test_a_process_behind_": "Skipped: only root can become another",
    # What a container, or a kernel without them, does not show.
    "tests/locks/test_attach.py::test_a_thread_of_the_kernel_": "Skipped: the kernel's threads ",
    "tests/locks/test_attach.py::test_a_32_bit_program_": "Skipped: this kernel runs no 32-bit ",
    # Containers are seldom allowed to make namespaces, or to read the kernel's tracepoints.
    "tests/timewait/": "Skipped: no network namespace can be made here",
    "tests/timewait/test_tracepoint.py::": "Skipped: the tracepoint cannot be read here",
    "tests/prove/test_hosts.py::": "Skipped: needs ",
    # A compiler of hundreds of megabytes for one small program.
    "tests/locks/test_coverage.py::test_a_go_program_": "Skipped: no Go toolchain ",
}
"""The beginning of a test's identifier, and of the only reason for which it may skip."""

LONGEST = (
    "prove/test_hosts.py",
    "api/test_guests.py",
    "locks/test_programs.py",
    "unit/test_documents.py",
    "api/test_signals_to_blocked_programs.py",
    "wasp/test_reload_under_load.py",
    "trace/test_fooling.py",
    "locks/test_bugs.py",
    "conformance/test_autobahn.py",
    "acceptance/test_held_workers.py",
    "wasp/test_cluster.py",
    "acceptance/test_workers.py",
    "wasp/test_upgrade.py",
    "wasp/test_clr_host.py",
    "prove/test_examples_suite.py",
    "load/test_faults.py",
    "api/test_dead_peers.py",
)
"""The files that take half a minute or more begin first: none is left over for one process."""

HANG_SECONDS = 30.0
"""How much longer than its timeout a test may take: for its fixtures, and for the report."""


def pytest_configure() -> None:
    """Undo what background shells and nohup do: ours and what they start would ignore signals."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files; the others keep the random order of pytest-randomly."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    """Spare the garbage collections of the tests what was loaded before them."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """End a process that its test's timeout does not: it hangs where no signal's handler runs.

    With other processes beside it (pytest-xdist) that fails the one test, and another one goes on.
    """
    marker = item.get_closest_marker("timeout")
    seconds = float(marker.args[0] if marker else item.config.getini("timeout") or 0)
    if not seconds:
        return (yield)
    descriptor = item.config.stash[fault_handler_stderr_fd_key]
    faulthandler.dump_traceback_later(seconds + HANG_SECONDS, exit=True, file=descriptor)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.fixture(autouse=True)
def _signal_handlers_stay() -> Generator[None]:
    """A test that leaves a signal's handler behind makes others fail, far from the cause."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    after = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if after[number] != handler:
            signal.signal(number, handler)
    assert after == before, "the test left a signal's handler behind"


@pytest.fixture(scope="session")
def uring_refusal() -> str | None:
    """Why io_uring is not available on this machine; None when it can."""
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


def _refusal(identifier: str, longrepr: object) -> str | None:
    """Why a skip is not accepted; None when it is."""
    if os.environ.get("VESPIARY_FORBID_SKIPS") != "1":
        return None
    reason = str(longrepr[2] if isinstance(longrepr, tuple) else longrepr)
    for allowed, why in ALLOWED_SKIPS.items():
        if identifier.startswith(allowed) and reason.startswith(why):
            return None
    return f"{identifier} did not run, and skipping is forbidden here: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the skip of a test into a failure where skipping is forbidden."""
    del call
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        refusal = _refusal(item.nodeid, report.longrepr)
        if refusal:
            report.outcome = "failed"
            report.longrepr = refusal
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself as a whole."""
    report = yield
    if report.skipped:
        refusal = _refusal(collector.nodeid, report.longrepr)
        if refusal:
            report.outcome = "failed"
            report.longrepr = _Text(refusal)
    return report


class _Text(TerminalRepr):
    """A failure's text, as pytest wants those of collecting."""

    def __init__(self, text: str) -> None:
        self._text = text

    def toterminal(self, tw: TerminalWriter) -> None:
        """Write it."""
        tw.line(self._text, red=True)
