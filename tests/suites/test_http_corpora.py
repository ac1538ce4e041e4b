"""Requests of llhttp's and gunicorn's tests, which `python -m tests.suites http` sends too."""

import pytest

from .http_corpora import cases
from .http_requests import differences, reasons
from .runs import CHECKOUT, DRIVERS


@pytest.mark.parametrize("driver", DRIVERS)
def test_our_server_accepts_and_refuses_what_others_do(driver: str) -> None:
    sent = cases(CHECKOUT / ".cache" / "suites")
    assert len(sent) > 200
    found = differences(sent, driver, every_cut=False)
    assert found.keys() == reasons().keys(), found
