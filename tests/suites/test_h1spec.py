"""The cases of `python -m tests.suites h1spec`, on both drivers."""

import pytest

from .h1spec import failures, h1_cases
from .runs import DRIVERS


@pytest.mark.parametrize("driver", DRIVERS)
def test_our_server_does_in_every_case_as_h1spec_wants(driver: str) -> None:
    assert len(h1_cases()) >= 33
    assert failures(driver) == {}
