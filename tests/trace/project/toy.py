"""A toy of Python, one mark for everything that may come of disabling one."""

import time

from vespiary.trace import implements, requires


def refused(masked: bool) -> bool:
    """Proven: a test fails without it."""
    return requires("toy/2/1", not masked)


def capped(length: int) -> int:
    """Survives: the test that claims it looks at something else."""
    return 125 if requires("toy/2/2", length > 125) else length


def closed(code: int) -> bool:
    """Unreached: the test that claims it never comes here."""
    return requires("toy/2/3", code == 1000)


def waited(turns: int) -> int:
    """Count turns; without the mark this does not end."""
    done = 0
    while True:
        done += 1
        if requires("toy/2/4", done >= turns):
            return done
        time.sleep(0.001)


@implements("toy/2/5", disabled="")
def greeting() -> str:
    """Executed in another process than that of the test."""
    return "hello"


@implements("toy/2/6", disabled=0)
def setting() -> int:
    """Executed by a fixture of the session, once for all tests in a run without disabled marks."""
    return 6


def spoken() -> str:
    """Reached: without a condition, and a claiming test fails when this fails."""
    requires("toy/2/7")
    return "buzz"


def suppressed() -> str:
    """Survives: the test that claims it accepts any exception."""
    requires("toy/2/8")
    return "buzz"


if __name__ == "__main__":
    print(greeting())
