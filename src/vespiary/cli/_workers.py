"""The options of `vespiary serve` for worker processes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from vespiary.cli._quantities import SIZE, SPAN
from vespiary.errors import ConfigurationError
from vespiary.workers import Workers

__all__ = ["worker_options"]

_OPTIONS = (
    click.option(
        "--workers",
        type=click.IntRange(1, 1024),
        metavar="NUMBER",
        help="Serve in this many processes, which are replaced when they end, hang or grow too"
        " much.  [default: in this process alone]",
    ),
    click.option(
        "--worker-hang-seconds",
        type=SPAN,
        metavar="TIME",
        help="With --workers: replace a worker whose event loop is blocked for this long, and log"
        f" its stacks.  [default: {Workers(1).hang_seconds:g}]",
    ),
    click.option(
        "--worker-memory-max",
        type=SIZE,
        metavar="SIZE",
        help="With --workers: replace a worker that has more resident memory than this, such as"
        " 2GiB.  [default: none]",
    ),
)


def worker_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options; it gets a `Workers` or None as `workers`."""

    @functools.wraps(command)
    def run(
        *,
        workers: int | None,
        worker_hang_seconds: float | None,
        worker_memory_max: int | None,
        **options: Any,
    ) -> None:
        command(workers=_workers(workers, worker_hang_seconds, worker_memory_max), **options)

    for option in reversed(_OPTIONS):
        run = option(run)
    return run


def _workers(
    count: int | None, hang_seconds: float | None, memory_max: int | None
) -> Workers | None:
    if count is None:
        given = {"hang-seconds": hang_seconds, "memory-max": memory_max}
        for name, value in given.items():
            if value is not None:
                raise ConfigurationError(
                    f"--worker-{name} needs --workers, the number of worker processes",
                    subject="workers",
                )
        return None
    if hang_seconds is None:
        return Workers(count, memory_bytes_max=memory_max)
    return Workers(count, memory_bytes_max=memory_max, hang_seconds=hang_seconds)
