"""A pytest plugin: which marks does each test reach, and which of them act?

With `-p vespiary.prove.trace.plugin` a test may claim requirements:

    @pytest.mark.requirement("rfc6455/5.1/3")
    def test_an_unmasked_frame_is_refused() -> None: ...

Where VESPIARY_TRACE names a shared file, the counters are cleared before each test, and
`--trace-record FILE` writes what was reached, as JSON, when all are done. Servers in child
processes count too; what a session's fixture has executed before a test does not.

`vespiary trace prove` runs pytest with `--trace-serve FD`. Then only the tests that claim something
are kept, and they run in the order and as often as the other end of that socket asks: a line with
a test's identifier, answered by a line with its outcome, or with names of modules, answered by the
files that they come from. Every run creates all fixtures again, even those of the session. So a
server that a fixture starts has the marks as they are now.
"""

import inspect
import json
import os
import re
import socket
import sys
from collections.abc import Generator, Iterable
from pathlib import Path

import pytest

from vespiary.prove.trace import files
from vespiary.prove.trace.marker import MARKER
from vespiary.prove.trace.proving.record import (
    ASSERTION,
    BROKEN,
    EXCEPTION,
    TIMEOUT,
    last_lines,
)
from vespiary.trace import MARK, VARIABLE, Slot, Table

__all__ = ["claims"]

_dumps, _loads, _getpid, _exit = json.dumps, json.loads, os.getpid, os._exit
"""Under names of our own, because a test may replace those of the modules."""


_BROKEN = (NameError, AttributeError, TypeError, ImportError, RecursionError, MemoryError)
"""What code raises that does not work, as after a variable was not assigned; nobody expects it."""

_ASSERTED = re.compile(r"^E +(?:AssertionError|assert |Failed: )", re.MULTILINE)
"""What a report says of an assertion that failed."""

_COLUMN = re.compile(r"(:\d+):\d+$")

_ALONE = {"numprocesses": 0, "dist": "no", "tx": []}
_ALONE |= {"lf": False, "failedfirst": False, "newfirst": False}
_ALONE |= {"stepwise": False, "stepwise_skip": False, "stepwise_reset": False}
_ALONE |= {"usepdb": False, "trace": False, "basetemp": None}
"""The options of pytest and pytest-xdist that start workers, choose tests by the last run, wait for
a person, or name a folder that only one process can have."""

_REPEATING = ("pytest_rerunfailures", "pytest_retry.retry_plugin", "flaky.flaky_pytest_plugin")
"""Plugins that run a test again when it fails, and tell the last outcome only."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the plugin's options."""
    group = parser.getgroup("trace", "requirements' tracing")
    group.addoption("--trace-record", metavar="FILE", help="Write which test reached which mark.")
    group.addoption("--trace-serve", metavar="FD", type=int, help="Run what a socket asks for.")
    group.addoption("--trace-only", metavar="FILE", action="append", help="Collect this file only.")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Measure no coverage in a run of `prove`: its report alone takes longer than the tests."""
    options = early_config.known_args_namespace
    if options.trace_serve is not None and getattr(options, "cov_source", None):
        options.cov_source = []


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Know the marker; record or serve where that is asked for."""
    config.addinivalue_line("markers", MARKER)
    record, descriptor = config.getoption("--trace-record"), config.getoption("--trace-serve")
    if descriptor is not None:
        _stay_alone(config)
    elif record and getattr(config.option, "tx", None):
        raise pytest.UsageError(
            "--trace-record counts what one process of pytest reaches: add -n 0, so that"
            " pytest-xdist starts no others"
        )
    if record and not os.environ.get(VARIABLE):
        raise pytest.UsageError(
            f"--trace-record needs a file for its counts: set {VARIABLE} to its path"
        )
    if record:
        table = Table(os.environ[VARIABLE])
        config.pluginmanager.register(_Recorder(table, Path(record)), "trace-recorder")
    if descriptor is not None:
        only = config.getoption("--trace-only")
        if only and not any("[" in file for file in only):  # pytest takes no such path.
            config.args = [str(config.rootpath / file) for file in only]
        config.pluginmanager.register(_Servant(socket.socket(fileno=descriptor)), "trace-servant")


def _stay_alone(config: pytest.Config) -> None:
    """Start no workers and leave no test out, whatever the project's options say.

    Each bench is a process already, and what failed last was perhaps without a mark.
    """
    for name, value in _ALONE.items():
        if hasattr(config.option, name):
            setattr(config.option, name, value)


def _repeat_nothing(config: pytest.Config) -> None:
    """Take out the plugins that run a test again; only now, when they have their own settings."""
    for _, plugin in config.pluginmanager.list_name_plugin():
        if getattr(plugin, "__name__", "") in _REPEATING:
            config.pluginmanager.unregister(plugin)


def claims(item: pytest.Item) -> list[str]:
    """The requirements that a test claims, each once, in the order of its markers."""
    ids = (str(name) for marker in item.iter_markers("requirement") for name in marker.args)
    return list(dict.fromkeys(ids))


def _place(item: pytest.Item) -> tuple[str, int]:
    """The file and the line of a test's function; those of the item if it has none."""
    function = getattr(item, "function", None)
    code = getattr(inspect.unwrap(function), "__code__", None) if function else None
    if code is not None and Path(code.co_filename).is_file():
        return code.co_filename, code.co_firstlineno
    return str(item.path), 0


class _Outcomes:
    """What happened to the test that runs: its worst phase, and how it failed first."""

    def __init__(self) -> None:
        self.outcome = "passed"
        self.how = ""
        self.words = ""

    def begin(self) -> None:
        """Nothing has happened to the next test yet."""
        self.outcome, self.how, self.words = "passed", "", ""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note how a phase fails: its exception is available here only."""
        report = yield
        if report.failed and not self.how:
            self.how = _how(call.excinfo)
            self.words = report.longreprtext
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a phase: a failure counts more than a skip or xfail, and that more than a pass.

        A plugin may have outcomes of its own, as `rerun`: they say nothing of the mark.
        """
        ranks: tuple[str, ...] = ("passed", "skipped", "xpassed", "xfailed", "failed")
        outcome: str = report.outcome
        if outcome == "failed" and not self.how:
            # The phase was run elsewhere, as in a process of its own: only its report is here.
            self.words = report.longreprtext
            self.how = ASSERTION if _ASSERTED.search(self.words) else EXCEPTION
        if outcome == "skipped" and hasattr(report, "wasxfail"):
            outcome = "xfailed"
        if outcome == "passed" and hasattr(report, "wasxfail"):
            outcome = "xpassed"  # Its failure would be expected, so it can show nothing.
        if outcome in ranks:
            self.outcome = max(self.outcome, outcome, key=ranks.index)


def _how(excinfo: pytest.ExceptionInfo[BaseException] | None) -> str:
    """Whether a test failed by an assertion, a time limit, broken code, or another exception."""
    if excinfo is None:  # As a strict xfail that passed.
        return ASSERTION
    if isinstance(excinfo.value, pytest.fail.Exception):
        return TIMEOUT if str(excinfo.value).startswith("Timeout (>") else ASSERTION
    if isinstance(excinfo.value, AssertionError):
        return ASSERTION
    return BROKEN if isinstance(excinfo.value, _BROKEN) else EXCEPTION


class _Recorder(_Outcomes):
    """Clears the counters before each test, and notes what they are after it."""

    def __init__(self, table: Table, path: Path) -> None:
        super().__init__()
        self._table = table
        self._path = path
        self._tests: list[dict[str, object]] = []

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Run a test between clearing and reading."""
        for slot in self._table.slots():
            slot.clear()
        self.begin()
        result = yield
        marks = [slot for slot in self._table.slots() if slot.kind == MARK]
        self._tests.append(
            {
                "id": item.nodeid,
                "kind": "pytest",
                "claims": claims(item),
                "reached": _lines(slot for slot in marks if slot.reached),
                "acted": _lines(slot for slot in marks if slot.acted),
                "outcome": self.outcome,
            }
        )
        return result

    def pytest_sessionfinish(self) -> None:
        """Write what was found."""
        files.write(self._path, json.dumps({"tests": self._tests}, indent=2) + "\n")


def _files(names: Iterable[str]) -> dict[str, str]:
    """Where modules come from that have been imported."""
    files = {name: getattr(sys.modules.get(name), "__file__", None) for name in names}
    return {name: os.path.realpath(file) for name, file in files.items() if file}


def _lines(slots: Iterable[Slot]) -> list[str]:
    """The sites of marks without their columns, each once."""
    return list(dict.fromkeys(_COLUMN.sub(r"\1", slot.site) for slot in slots))


class _Servant(_Outcomes):
    """Runs the tests that the other end of a socket asks for."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Keep the tests that claim something."""
        deselected = [item for item in items if not claims(item)]
        items[:] = [item for item in items if claims(item)]
        config.hook.pytest_deselected(items=deselected)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Say which tests there are, and run them on request."""
        if session.testsfailed:
            return False
        _repeat_nothing(session.config)
        tests = {item.nodeid: item for item in session.items}
        with self._connection, self._connection.makefile("rw") as stream:
            listed = [
                {"id": name, "claims": claims(item), "file": file, "line": line}
                for name, item in tests.items()
                for file, line in [_place(item)]
            ]
            stream.write(f"{_dumps(listed)}\n")
            stream.flush()
            for line in stream:
                wanted = _loads(line)
                is_test = isinstance(wanted, str)
                answer = self._run(tests.get(wanted)) if is_test else _files(wanted["modules"])
                stream.write(f"{_dumps(answer)}\n")
                stream.flush()
        return True

    def _run(self, item: pytest.Item | None) -> dict[str, object]:
        """Run a test; one that was not collected, because a mark is disabled, is skipped."""
        if item is None:
            return {"outcome": "skipped", "how": "", "words": ""}
        if isinstance(item, pytest.Function):
            item._initrequest()  # Else it would still hold the fixtures of the run before.
        self.begin()
        ours = _getpid()
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        if _getpid() != ours:
            _exit(0)  # The test has forked and returned twice: only one of us may answer.
        return {"outcome": self.outcome, "how": self.how, "words": last_lines(self.words)}
