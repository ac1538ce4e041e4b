"""How many worker processes a server has, and when one is replaced."""

from __future__ import annotations

from dataclasses import dataclass

from vespiary._seconds import is_seconds, wanted_seconds
from vespiary._suggestions import checks_names
from vespiary.errors import ConfigurationError

__all__ = ["Workers", "as_workers"]

_COUNT_MAX = 1024


@checks_names()
@dataclass(frozen=True, slots=True)
class Workers:
    """The worker processes of a server.

    Attributes:
        count: How many there are. One per processor core is usual.
        hang_seconds: A worker whose event loop is blocked for this long is killed and replaced;
            the stacks of all its threads are logged. The time counts from the end of the start,
            and in each stop. 30: longer than any handler should block the loop, and short enough
            that most clients still wait. None: no limit.
        start_seconds: A worker that has not started by then is killed, with the stacks of its
            threads in the log, and counts as one that failed to start. 90: long enough to load
            large data in `on_start`, and what systemd allows a service by default. None: no limit.
        stop_seconds: A worker that has not ended this long after `drain_seconds` is killed, with
            the stacks of its threads in the log; `on_stop` runs in this time. 30: long enough to
            write data to a database, and short enough that a fault does not prevent a restart.
            None: no limit.
        memory_bytes_max: A worker that has more resident memory than this is replaced: a new one
            starts, and the old one drains as in a stop. None: no limit, because the memory that a
            program needs is its own affair.
        start_failures_max: How often in a row a worker may fail to start in the place of one that
            has ended; then the server stops. At the start of the server, one failure stops it. 5:
            with the waits in between, a short fault of a database passes.
        restart_seconds_max: The longest wait before a worker is replaced that has ended soon after
            its start. The first wait is a second, each further one is twice as long. 30: a fault
            that remains costs little, and the worker is back soon after it is repaired.
        backplane_bytes_max: How many bytes of published messages may wait for one other worker;
            further ones are dropped and counted. 8 MiB: some seconds of a busy topic.
    """

    count: int
    hang_seconds: float | None = 30.0
    start_seconds: float | None = 90.0
    stop_seconds: float | None = 30.0
    memory_bytes_max: int | None = None
    start_failures_max: int = 5
    restart_seconds_max: float = 30.0
    backplane_bytes_max: int = 8 << 20

    def __post_init__(self) -> None:
        """Check every field."""
        if type(self.count) is not int or not 1 <= self.count <= _COUNT_MAX:
            raise _wrong("count", self.count, f"a whole number from 1 to {_COUNT_MAX}")
        for name in ("start_failures_max", "backplane_bytes_max"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise _wrong(name, value, "a whole number of at least 1")
        most = self.memory_bytes_max
        if most is not None and (type(most) is not int or most < 1):
            raise _wrong("memory_bytes_max", most, "a whole number of at least 1, or None")
        for name in ("hang_seconds", "start_seconds", "stop_seconds"):
            seconds = getattr(self, name)
            if seconds is not None and not is_seconds(seconds, zero=False):
                wanted = wanted_seconds("None for no limit", zero=False)
                raise _wrong(name, seconds, wanted)
        if not is_seconds(self.restart_seconds_max):
            raise _wrong("restart_seconds_max", self.restart_seconds_max, wanted_seconds())


def as_workers(given: Workers | int | None) -> Workers | None:
    """Return the settings that `workers=` stands for.

    Raises:
        ConfigurationError: it is neither a number of processes nor `Workers`.
    """
    if given is None or isinstance(given, Workers):
        return given
    if type(given) is not int or not 1 <= given <= _COUNT_MAX:
        raise ConfigurationError(
            f"workers= takes a whole number from 1 to {_COUNT_MAX}, a Workers or None; got"
            f" {given!r}",
            subject="workers",
            value=given,
        )
    return Workers(given)


def _wrong(name: str, value: object, wanted: str) -> ConfigurationError:
    return ConfigurationError(
        f"Workers.{name} must be {wanted}; got {value!r}", subject=name, value=value
    )
