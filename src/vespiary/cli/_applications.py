"""The options of `vespiary serve` for ASGI and WSGI applications."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from vespiary.cli._help import Choice

__all__ = ["application_options"]

_OPTIONS = (
    click.option(
        "--access-log",
        is_flag=True,
        help="Log each request of an ASGI or WSGI application.",
    ),
    click.option(
        "--root-path",
        metavar="PATH",
        help="The path at which a proxy has mounted an ASGI application, if the proxy removes it"
        " from the requests; the SCRIPT_NAME of a WSGI application.  [default: none]",
    ),
    click.option(
        "--lifespan",
        type=Choice(["auto", "on", "off"]),
        help="The lifespan protocol of an ASGI application: required (on), not used (off), or used"
        " if the application supports it (auto).  [default: auto]",
    ),
    click.option(
        "--threads",
        type=click.IntRange(1, 1000),
        metavar="NUMBER",
        help="How many requests a WSGI application answers at the same time.  [default: four more"
        " than there are processors, at most 32]",
    ),
)


def application_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options; it gets those that were given as `application`."""

    @functools.wraps(command)
    def run(
        *,
        access_log: bool,
        root_path: str | None,
        lifespan: str | None,
        threads: int | None,
        **options: Any,
    ) -> None:
        given = {
            "access_log": access_log or None,
            "root_path": root_path,
            "lifespan": lifespan,
            "threads": threads,
        }
        application = {name: value for name, value in given.items() if value is not None}
        command(application=application, **options)

    for option in reversed(_OPTIONS):
        run = option(run)
    return run
