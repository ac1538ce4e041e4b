"""The driver that the environment asks for."""

import asyncio
import os
import subprocess
import sys

import pytest

import vespiary
from vespiary.loop import Loop, running_core


@pytest.mark.parametrize("value", ["9001", "io_uring", "sim", "URING", " epoll"])
def test_another_value_is_an_error_that_names_the_variable_and_its_values(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("VESPIARY_DRIVER", value)
    with pytest.raises(
        vespiary.ConfigurationError, match=r"VESPIARY_DRIVER must be uring or epoll.*got"
    ):
        Loop()


def test_a_guest_of_another_loop_checks_the_variable_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VESPIARY_DRIVER", "select")

    async def main() -> None:
        running_core()

    with pytest.raises(vespiary.ConfigurationError, match="VESPIARY_DRIVER must be"):
        asyncio.run(main())


def test_the_former_name_of_the_variable_is_an_error_that_says_the_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VESPIARY_PORT", "epoll")
    with pytest.raises(vespiary.ConfigurationError, match="is now called VESPIARY_DRIVER"):
        Loop()


def test_an_empty_variable_is_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VESPIARY_DRIVER", "")
    Loop().close()


def test_serve_prints_a_bad_value_without_a_traceback() -> None:
    served = subprocess.run(
        [sys.executable, "-m", "vespiary", "serve", "asyncio:sleep", "ws://127.0.0.1:0"],
        env={**os.environ, "VESPIARY_DRIVER": "9001"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert served.returncode != 0
    assert "VESPIARY_DRIVER must be uring or epoll" in served.stderr
    assert "Traceback" not in served.stderr
