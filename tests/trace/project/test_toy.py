"""The toy's tests."""

import contextlib
import subprocess
import sys

import pytest
import toy


@pytest.fixture(scope="session")
def value() -> int:
    return toy.setting()


@pytest.mark.requirement("toy/2/1")
@pytest.mark.parametrize("masked", [False, True])
def test_what_is_not_masked_is_refused(masked: bool) -> None:
    assert toy.refused(masked) is not masked


@pytest.mark.requirement("toy/2/2")
def test_what_is_long_is_capped() -> None:
    assert toy.capped(126) > 100


@pytest.mark.requirement("toy/2/3")
def test_a_close_code_is_looked_at() -> None:
    assert not toy.refused(True)


@pytest.mark.requirement("toy/2/4")
def test_waiting_ends() -> None:
    assert toy.waited(3) == 3


@pytest.mark.requirement("toy/2/5")
def test_another_process_greets() -> None:
    output = subprocess.run([sys.executable, toy.__file__], capture_output=True, check=True)
    assert output.stdout == b"hello\n"


@pytest.mark.requirement("toy/2/6")
def test_the_value_of_the_session_is_six(value: int) -> None:
    assert value == 6


@pytest.mark.requirement("toy/2/7")
def test_it_speaks() -> None:
    assert toy.spoken() == "buzz"


@pytest.mark.requirement("toy/2/8")
def test_whatever_happens_is_accepted() -> None:
    with contextlib.suppress(Exception):
        toy.suppressed()


def test_a_test_that_claims_nothing_is_not_run() -> None:
    raise AssertionError
