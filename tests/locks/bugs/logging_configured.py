# source: https://github.com/python/cpython/issues/96727
# order: inversion, hang: deadlock, repaired: nothing
"""A handler gets a logger while it emits. Another thread configures logging under its lock."""

import logging
import logging.config

from forms import meet, repaired, run


class Asks(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        meet()
        if not repaired:
            logging.getLogger(f"asked.{record.lineno}")


class Meets(logging.NullHandler):
    def flush(self) -> None:
        meet()


handler = Asks()
logging.getLogger("busy").addHandler(handler)


def logs() -> None:
    logging.getLogger("busy").error("something")


def configures() -> None:
    # What dictConfig does with the handlers that there are.
    with getattr(logging, "_lock"):  # noqa: B009  (it is not part of the interface)
        meet()
        with handler.lock:  # type: ignore[union-attr]
            handler.flush()


run(logs, configures)
