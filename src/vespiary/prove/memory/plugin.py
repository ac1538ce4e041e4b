"""The pytest plugin: `@pytest.mark.memory(limit="200M", slope="0")`.

A test with the mark runs in a child process: a separate pytest for this one test, with the options
of the whole run, as a command under `vespiary memory`. So the limit applies to that pytest, the
test with its fixtures, and everything that they start. If a test exceeds the limit, it is ended and
fails, and the others continue. Growth is measured only while the test's function runs, without
fixtures. The child writes the reports of its test into a file, and this pytest uses them as its
own.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from vespiary.errors import ConfigurationError

if TYPE_CHECKING:
    from vespiary.prove.memory.expectations import Expectation
    from vespiary.prove.memory.outcome import Outcome

_REPORTS = "VESPIARY_MEMORY_PYTEST"
"""The file into which a child writes its reports."""

_CALL = "vespiary_memory_call"
"""Of a line with the times at which the test's function began and ended (monotonic clock)."""

_ARGUMENTS = ("limit", "peak", "slope", "method")
_FOR_ALL = {
    "cacheshow": None,
    "durations": None,
    "failedfirst": False,
    "keyword": "",
    "last_failed_no_failures": "all",
    "lf": False,
    "markexpr": "",
    "maxfail": 0,
    "newfirst": False,
    "stepwise": False,
    "xmlpath": None,
}
"""Options that are about the whole run, and what they are in a child."""


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark."""
    config.addinivalue_line(
        "markers",
        "memory(limit=None, peak=None, slope=None, method=None): run the test in a separate "
        "process with a memory limit; fail if it uses or grows by more than expected",
    )
    reports = os.environ.get(_REPORTS)
    if reports is not None:
        config.pluginmanager.register(_Child(config, Path(reports)), "vespiary-memory-child")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """In a child, omit what is about the whole run."""
    if _REPORTS in os.environ:
        for name, value in _FOR_ALL.items():
            if hasattr(config.option, name):
                setattr(config.option, name, value)


class _Child:
    """Writes the reports of the child's test, a line each, and when its function ran."""

    def __init__(self, config: pytest.Config, path: Path) -> None:
        self._config = config
        self._path = path
        del os.environ[_REPORTS]  # What the test starts is not such a child.

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None, None, None]:
        began = time.monotonic()
        try:
            return (yield)
        finally:
            self._write({_CALL: [began, time.monotonic()]})

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        facts = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._write(facts)

    def _write(self, facts: object) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(facts, default=str) + "\n")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Run a marked test in its child."""
    mark = item.get_closest_marker("memory")
    if mark is None or item.config.pluginmanager.hasplugin("vespiary-memory-child"):
        return None
    hook = item.ihook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in _reports(item, mark):
        hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _reports(item: pytest.Item, mark: pytest.Mark) -> list[pytest.TestReport]:
    """The reports of a test that runs in a child, the outcome of its memory in that of the call."""
    try:
        limit, method, expected = _wanted(mark)
    except (ConfigurationError, ValueError, TypeError) as error:
        return [_failure(item, f"@pytest.mark.memory: {error}")]
    from vespiary.prove.folders import Held
    from vespiary.prove.memory.outcome import conclude
    from vespiary.prove.memory.run import run

    _leave_the_timeout_to_the_child(item)
    with Held("vespiary-memory-") as held:
        path, output = held.path / "reports", held.path / "output"
        try:
            with output.open("w") as file:
                measured = run(
                    _command(item),
                    limit,
                    method=method,
                    variables={**os.environ, _REPORTS: str(path)},
                    output=file.fileno(),
                )
        except ConfigurationError as error:
            return [_failure(item, f"@pytest.mark.memory: {error}")]
        reports, call = _read(item.config, path)
        outcome = conclude(measured, item.nodeid, expected, call)
        said = output.read_text(errors="replace")
    if measured.asked_by is not None:
        # It was meant for the whole run, which is this process: Ctrl-C interrupts it.
        signal.raise_signal(measured.asked_by)
    return _judged(item, outcome, reports, said)


def _leave_the_timeout_to_the_child(item: pytest.Item) -> None:
    """Stop the timer of pytest-timeout in this process; the child has the same, and a traceback."""
    cancel = getattr(item.ihook, "pytest_timeout_cancel_timer", None)
    if cancel is not None:
        cancel(item=item)


def _wanted(mark: pytest.Mark) -> tuple[int | None, str | None, Expectation]:
    from vespiary._suggestions import advice
    from vespiary.prove.memory.expectations import Expectation, Peak, SlopeMax
    from vespiary.prove.memory.limiters import METHODS
    from vespiary.prove.quantities import parse_size

    if mark.args:
        raise TypeError(f"name its arguments: limit={mark.args[0]!r}")
    for name in mark.kwargs:
        if name not in _ARGUMENTS:
            raise TypeError(f"there is no {name!r}: {advice(name, _ARGUMENTS)}")
    texts = {name: None if value is None else str(value) for name, value in mark.kwargs.items()}
    limit, peak, slope, method = (texts.get(name) for name in _ARGUMENTS)
    if method is not None and method not in METHODS:
        raise TypeError(f"{method!r} is not a method: {advice(method, METHODS)}")
    return (
        None if limit is None else parse_size(limit),
        method,
        Expectation(
            None if peak is None else Peak.parse(peak),
            None if slope is None else SlopeMax.parse(slope),
        ),
    )


def _command(item: pytest.Item) -> list[str]:
    """A pytest for this test alone, with the options of this one."""
    config = item.config
    files = set(config.option.file_or_dir or ())
    words = [str(word) for word in config.invocation_params.args if str(word) not in files]
    command = [sys.executable, "-m", "pytest", *words, "--rootdir", str(config.rootpath)]
    if config.inipath is not None:
        command += ["-c", str(config.inipath)]
    if hasattr(config.option, "randomly_seed"):
        command += [f"--randomly-seed={config.option.randomly_seed}"]
    if hasattr(config.option, "numprocesses"):
        command += ["-n0"]
    node = item.nodeid.partition("::")
    return [*command, f"{config.rootpath / node[0]}{node[1]}{node[2]}"]


def _read(
    config: pytest.Config, path: Path
) -> tuple[list[pytest.TestReport], tuple[float, float] | None]:
    """What the child wrote: its reports, and when the test's function ran."""
    reports, call = [], None
    for line in path.read_text().splitlines() if path.exists() else ():
        facts = json.loads(line)
        if _CALL in facts:
            call = (facts[_CALL][0], facts[_CALL][1])
            continue
        report = config.hook.pytest_report_from_serializable(config=config, data=facts)
        assert isinstance(report, pytest.TestReport)
        reports.append(report)
    return reports, call


def _judged(
    item: pytest.Item, outcome: Outcome, reports: Sequence[pytest.TestReport], said: str
) -> list[pytest.TestReport]:
    """The child's reports, with what is to be said of its memory."""
    from vespiary.prove.memory.report import as_text

    found = list(reports)
    text = as_text(outcome)
    if outcome.measured.exceeded is not None or not _is_whole(found):
        # Setup may have passed; a report of the call or its teardown says what happened.
        kept = [report for report in found if report.when == "setup"]
        is_over = outcome.measured.exceeded is not None
        tail = f"\n\n{said.strip()}" if said.strip() and not is_over else ""
        return [*kept, _failure(item, text + tail)]
    call = next((report for report in found if report.when == "call"), None)
    if call is not None:
        results = {comparison.result for comparison in outcome.comparisons}
        if call.outcome == "passed" and "above" in results:
            call.outcome = "failed"
            call.longrepr = text
        else:
            call.sections.append(("memory", text))
    return found


def _is_whole(reports: Sequence[pytest.TestReport]) -> bool:
    return bool(reports) and reports[-1].when == "teardown"


def _failure(item: pytest.Item, text: str) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=_keywords(item),
        outcome="failed",
        longrepr=text,
        when="call",
    )


def _keywords(item: pytest.Item) -> dict[str, Any]:
    return dict.fromkeys(item.keywords, 1)
