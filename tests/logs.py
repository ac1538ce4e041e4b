"""What our own loggers have logged.

Other loggers write at any time: when the garbage collector finds what an earlier test has left,
asyncio complains during a later one. So no test looks at the records of all loggers; a test in
`tests/style` checks this. Where asyncio's own records are the subject, the fixture `whole_log`
collects first what is left.
"""

import logging

import pytest


def records(
    caplog: pytest.LogCaptureFixture, level: int = logging.NOTSET
) -> list[logging.LogRecord]:
    """The records of Vespiary's loggers, of this level or a higher one."""
    return [
        record
        for record in caplog.records
        if record.name.partition(".")[0] == "vespiary" and record.levelno >= level
    ]


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.NOTSET) -> list[str]:
    """Their messages."""
    return [record.getMessage() for record in records(caplog, level)]
