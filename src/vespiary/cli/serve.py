"""`vespiary serve MODULE:OBJECT URL...`: serve a handler, and reload it while it is written."""

import inspect
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import click

import vespiary
from vespiary.cli._loading import load_object
from vespiary.cli._reload import ChildReport, Reloader
from vespiary.endpoint import Endpoint
from vespiary.errors import ConfigurationError, LimitsError
from vespiary.filters import Filter, FilterFactory
from vespiary.handler import AsyncHandler
from vespiary.limits import Deadlines, Limits
from vespiary.websocket import WebSocket

__all__ = ["serve"]

_LEVELS = ("debug", "info", "warning", "error")


@click.command()
@click.argument("handler", metavar="MODULE:OBJECT")
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@click.option(
    "--framing",
    type=click.Choice(["raw", "line", "crlf", "length"]),
    help="How a tcp:// or unix:// stream becomes messages (raw by default).",
)
@click.option(
    "--limit",
    "limits",
    metavar="NAME=VALUE",
    multiple=True,
    help="A field of Limits, such as message_bytes_max=64KiB; 'none' lifts it.  [repeatable]",
)
@click.option(
    "--deadline",
    "deadlines",
    metavar="NAME=VALUE",
    multiple=True,
    help="A field of Deadlines, such as idle_seconds=2min; 'none' lifts it.  [repeatable]",
)
@click.option(
    "--slow-consumer",
    type=click.Choice(["wait", "drop-oldest", "drop-newest", "disconnect"]),
    help="What happens to messages for a peer that does not read (wait by default).",
)
@click.option(
    "--origin",
    "origins",
    metavar="PATTERN",
    multiple=True,
    help="Whose pages may connect to ws://, such as 'https://*.example.com'; all by default."
    "  [repeatable]",
)
@click.option(
    "--subprotocol",
    "subprotocols",
    metavar="NAME",
    multiple=True,
    help="A subprotocol that is spoken on ws://, the best first.  [repeatable]",
)
@click.option(
    "--filter",
    "filters",
    metavar="MODULE:OBJECT",
    multiple=True,
    help="A Filter between the socket and the framing, made for each connection.  [repeatable]",
)
@click.option(
    "--executor",
    type=click.Choice(["threads"]),
    help="Run the handler's plain methods on a pool of threads.",
)
@click.option(
    "--spin-microseconds",
    type=click.IntRange(0, 1_000_000),
    metavar="NUMBER",
    help="Poll for so long before sleeping when nothing is ready (0 by default).",
)
@click.option(
    "--driver",
    type=click.Choice(["uring", "epoll"]),
    help="Force the driver; io_uring, where the kernel allows it, by default.",
)
@click.option("--reload", is_flag=True, help="Restart when a loaded source file changes.")
@click.option(
    "--log-level",
    type=click.Choice(_LEVELS),
    default="info",
    show_default=True,
    help="What is reported on standard error.",
)
def serve(
    handler: str,
    urls: tuple[str, ...],
    framing: str | None,
    limits: tuple[str, ...],
    deadlines: tuple[str, ...],
    slow_consumer: str | None,
    origins: tuple[str, ...],
    subprotocols: tuple[str, ...],
    filters: tuple[str, ...],
    executor: str | None,
    spin_microseconds: int | None,
    driver: str | None,
    reload: bool,
    log_level: str,
) -> None:
    r"""Serve a handler on one or more URLs: tcp://, unix://, ws:// and http://.

    MODULE:OBJECT names a Handler, a subclass of it, or an async function that takes a connection;
    MODULE may be a file's path. The current folder is on the path.

    \b
    vespiary serve echo:Echo ws://127.0.0.1:9001
    vespiary serve echo.py:echo tcp://127.0.0.1:5050 --framing line --reload
    """
    options: dict[str, Any] = {
        "framing": framing,
        "limits": Limits.from_texts(_pairs("--limit", limits)),
        "deadlines": Deadlines.from_texts(_pairs("--deadline", deadlines)),
        "slow_consumer": slow_consumer,
        "executor": executor,
        "spin_microseconds": spin_microseconds,
        "driver": driver,
    }
    if origins or subprotocols:
        options["websocket"] = WebSocket(origins=origins or None, subprotocols=subprotocols)
    for url in urls:
        Endpoint.parse(url)
    if reload:
        sys.exit(_reload(handler, urls))
    logging.basicConfig(
        level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    report = ChildReport.from_environment()
    try:
        target = as_handler(load_object(handler), handler)
        options["filters"] = [as_filter(load_object(name), name) for name in filters]
    finally:
        if report is not None:
            report.files()
    given = {name: value for name, value in options.items() if value is not None}
    try:
        vespiary.serve(target, *urls, on_serving=report.serving if report else None, **given)
    except OSError as error:
        raise click.ClickException(error.strerror or str(error)) from error


def as_handler(found: object, reference: str) -> vespiary.Handler | AsyncHandler:
    """What `MODULE:OBJECT` gave, as something that can be served.

    Raises:
        ConfigurationError: it is neither a handler, nor a subclass of `Handler`, nor an async
            function.
    """
    if inspect.isclass(found) and issubclass(found, vespiary.Handler):
        try:
            inspect.signature(found).bind()
        except TypeError as error:
            raise ConfigurationError(
                f"{reference} cannot be made without arguments ({error}):"
                " name an instance of it instead",
                subject=reference,
            ) from None
        return found()
    if isinstance(found, vespiary.Handler):
        return found
    # An object may have an async `__call__`; a class that has one is not itself async.
    call = None if inspect.isclass(found) else getattr(type(found), "__call__", None)  # noqa: B004
    if inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(call):
        return cast("AsyncHandler", found)
    raise ConfigurationError(
        f"{reference} is {_described(found)}: it should be a vespiary.Handler, a subclass of it,"
        " or an async function that takes a connection",
        subject=reference,
    )


def as_filter(found: object, reference: str) -> FilterFactory:
    """What `MODULE:OBJECT` gave, as something that makes filters.

    Raises:
        ConfigurationError: it is neither a subclass of `Filter` nor another callable.
    """
    if isinstance(found, Filter) or not callable(found):
        raise ConfigurationError(
            f"{reference} is {_described(found)}: it should be a subclass of vespiary.Filter, or a"
            " function that makes one for each connection",
            subject=reference,
        )
    return cast("FilterFactory", found)


def _described(found: object) -> str:
    if inspect.isclass(found):
        return f"the class {found.__name__}"
    if inspect.isfunction(found):
        return "a plain function"
    return f"an object of type {type(found).__name__}"


def _pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise LimitsError(f"{option} takes NAME=VALUE; got {text!r}", subject=option)
        pairs[name.strip().replace("-", "_")] = value
    return pairs


def _reload(handler: str, urls: Sequence[str]) -> int:
    """Run this same command without --reload as a child, again after each change."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--reload"]

    def command(urls_now: Sequence[str]) -> list[str]:
        # The URLs are replaced one by one: options may stand between them.
        replaced = dict(zip(urls, urls_now, strict=True))
        return [sys.executable, "-m", "vespiary"] + [replaced.get(a, a) for a in arguments]

    name = handler.rpartition(":")[0]
    file = Path(name) if name.endswith(".py") else Path(*name.split(".")).with_suffix(".py")
    return Reloader(command, urls, [file.absolute()]).run()
