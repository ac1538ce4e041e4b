"""Run some test modules in this interpreter, on the stock loop or on Vespiary's.

    python worker.py DRIVER REPORT MODULE...

DRIVER is `stock`, `uring` or `epoll`. Each test's outcome is a line of the file REPORT, written as
it is known, so that a crash or a hang loses nothing. This file imports nothing of the other ones:
it runs under interpreters that have neither pytest nor an installed Vespiary.
"""

from __future__ import annotations

import asyncio
import asyncio.unix_events
import contextlib
import json
import os
import resource
import selectors
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MEMORY_BYTES_MAX = 2 << 30
"""A test that takes ever more fails then: on CPython 3.12.1 one of `test_runners` does so for ever,
on any loop."""


def install(driver: str) -> None:
    """Make asyncio's own names mean Vespiary's loop."""
    from vespiary.loop import Loop

    class SuiteLoop(Loop):
        """What `asyncio.SelectorEventLoop` is in these tests."""

        def __init__(self, selector: Any = None) -> None:
            if isinstance(selector, selectors.BaseSelector):
                # The tests go through all selectors; ours takes the place of each.
                selector.close()
                selector = None
            super().__init__(selector, driver=driver if selector is None else None)

    # uvloop's tests know asyncio's loops by this.
    SuiteLoop.__module__ = "asyncio.unix_events"
    unix = asyncio.unix_events
    for module in (asyncio, unix):
        for name in ("SelectorEventLoop", "EventLoop"):
            if hasattr(module, name):
                setattr(module, name, SuiteLoop)
    for name in (
        "_UnixDefaultEventLoopPolicy",
        "DefaultEventLoopPolicy",
        "_DefaultEventLoopPolicy",
    ):
        policy = getattr(unix, name, None)
        if policy is not None:
            policy._loop_factory = SuiteLoop


class Recording(unittest.TestResult):
    """Writes each test's outcome: passed, failed, error or skipped."""

    def __init__(self, report: Path) -> None:
        super().__init__()
        self._file = report.open("a")

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802 - Of unittest.
        super().startTest(test)
        self._write(test, "running", "")

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802 - Of unittest.
        self._write(test, "passed", "")

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802 - Of unittest.
        super().addFailure(test, err)
        self._write(test, "failed", self.failures[-1][1])

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802 - Of unittest.
        super().addError(test, err)
        self._write(test, "failed", self.errors[-1][1])

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802 - Of unittest.
        super().addSkip(test, reason)
        self._write(test, "skipped", reason)

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        self._write(test, "passed", "")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802 - Of unittest.
        self._write(test, "failed", "unexpected success")

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:  # noqa: N802 - Of unittest.
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._write(test, "failed", str(err[1]))

    def _write(self, test: Any, outcome: str, text: str) -> None:
        name = test.id() if hasattr(test, "id") else str(test)
        self._file.write(json.dumps([name, outcome, text]) + "\n")
        self._file.flush()


def tests_of(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """The tests for any asyncio loop: of uvloop's, those of its own loop are left out."""
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from tests_of(test)
        elif getattr(test, "implementation", "asyncio") == "asyncio":
            yield test


def main(driver: str, report: str, modules: list[str]) -> None:
    """Run the modules' tests one after the other."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    if driver != "stock":
        install(driver)
    with contextlib.suppress(ImportError):
        from test import support  # type: ignore[import-not-found]

        support.use_resources = ["cpu", "walltime"]  # Not the network.
    loader = unittest.TestLoader()
    result = Recording(Path(report))
    for name in modules:
        suite = loader.suiteClass(list(tests_of(loader.loadTestsFromName(name))))
        suite.run(result)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
    # A test may leave a thread behind that waits for a name server; every outcome is written.
    os._exit(0)
