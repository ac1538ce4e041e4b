"""A sample of `python -m tests.suites asyncio`, and that the list of differences is well-formed."""

import sys
from pathlib import Path

import pytest

from .differences import differing, known
from .runs import asyncio_modules, run_modules, version_of

SAMPLE = ["test_server", "test_unix_events"]


def test_cpythons_own_tests_pass_as_on_the_stock_loop(driver: str) -> None:
    python = Path(sys.executable)
    modules = [name for name in asyncio_modules(python) if name.rpartition(".")[2] in SAMPLE]
    if not modules:
        pytest.skip("CPython came without its tests")
    stock, _ = run_modules(python, "stock", modules)
    ours, texts = run_modules(python, driver, modules)
    version = version_of(python)
    listed = [it for it in known() if it.test.startswith("test.")]
    unlisted = {
        test: texts.get(test, "")
        for test in differing(stock, ours)
        if not any(it.covers(test, version, driver) for it in listed)
    }
    assert unlisted == {}
    assert list(stock.values()).count("passed") > 50


def test_every_listed_difference_has_a_reason() -> None:
    for difference in known():
        assert difference.test.startswith(("test.", "tests."))
        assert len(difference.reason) > 20
