"""Plug-ins: found by name, and made into a handler for each endpoint with its own configuration.

A plug-in is a subclass of `vespiary.Handler`, an object of one, an async function, or an ASGI or
WSGI application. A class gets an object per endpoint, so endpoints share nothing. Its configuration
is the argument `config` of
its `__init__`, of its `on_start`, or of both; of a function, the argument `config`. The annotation
says the type: a `msgspec.Struct`, a pydantic model, a dataclass, or anything else that msgspec
converts; without one, it is a `dict`.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import inspect
import sys
import typing
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from vespiary._blocked_loop import Interrupted
from vespiary._hooks import defined
from vespiary._loading import load_object
from vespiary._served import as_served
from vespiary._suggestions import advice
from vespiary._toml_files import KeyPath, Problem
from vespiary.errors import ConfigurationError
from vespiary.handler import AnyHandler, Handler
from vespiary.wasp.decoding import WRONG, decode
from vespiary.wasp.reading import Source

if TYPE_CHECKING:
    from vespiary.server import Server

__all__ = ["GROUP", "Plugin", "load_plugin", "make_handler", "module_state", "name_start"]

GROUP = "vespiary.plugins"
"""The group of entry points by which installed packages offer plug-ins."""

_PARAMETER = "config"


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plug-in that was loaded.

    Attributes:
        reference: How the configuration names it.
        found: The class, the object or the function.
    """

    reference: str
    found: Any


def load_plugin(reference: str, folder: Path, files: dict[Path, ModuleType]) -> Plugin:
    """Find a plug-in.

    Args:
        reference: `module:object`, `file.py:object`, or the name of an entry point.
        folder: Where files and modules are looked for first.
        files: Files that were executed for other endpoints.

    Raises:
        ConfigurationError: it is not there, or failed while it was imported.
    """
    if ":" in reference:
        return Plugin(reference, load_object(reference, folder, files))
    if reference.endswith(".py"):
        raise ConfigurationError(
            f"{reference!r} is a file: name the object in it too, as in {reference}:Echo",
            subject=reference,
        )
    points = importlib.metadata.entry_points(group=GROUP)
    known = sorted({point.name for point in points})
    if reference not in known:
        installed = advice(reference, known) if known else "no installed package offers a plug-in"
        raise ConfigurationError(
            f"there is no plug-in {reference!r}: write module:object or file.py:object, or the name"
            f" of an installed plug-in ({installed})",
            subject=reference,
        )
    point = next(iter(points.select(name=reference)))
    return Plugin(reference, load_object(point.value.replace(" ", "").partition("[")[0], folder))


def make_handler(
    source: Source,
    plugin: Plugin,
    config: dict[str, Any] | None,
    application: Mapping[str, Any],
    path: KeyPath,
) -> AnyHandler | None:
    """Make the handler of an endpoint.

    Args:
        source: The files: mistakes in the configuration are reported to it.
        plugin: What serves the endpoint.
        config: Its own table; None if there is none.
        application: The options of an ASGI or WSGI application.
        path: Where the endpoint is in the file.

    Returns:
        The handler; None if something was reported.

    Raises:
        ConfigurationError: the plug-in is not a handler.
        Exception: what its `__init__` has raised.
    """
    found = plugin.found
    is_class = inspect.isclass(found) and issubclass(found, Handler)
    own = found.__init__ if is_class else None
    if own is not None and _takes_config(own):
        value = _config(source, own, config, path)
        if value is WRONG:
            return None
        handler: AnyHandler = found(**{_PARAMETER: value})
    else:
        label = "application.{}".format
        own, handler = None, as_served(found, plugin.reference, application, label)
    if isinstance(handler, Handler):
        start: Callable[..., Any] = handler.on_start
        if _takes_config(start):
            value = _config(source, start, config, path)
            if value is WRONG:
                return None
            own, with_config = start, functools.partial(start, **{_PARAMETER: value})
            handler.on_start = with_config  # type: ignore[method-assign]
    elif _takes_config(handler):
        value = _config(source, handler, config, path)
        if value is WRONG:
            return None
        own = handler
        handler = cast("AnyHandler", functools.partial(handler, **{_PARAMETER: value}))
    if own is None and config:
        source.report(
            Problem(
                (*path, "config"),
                f"{plugin.reference} takes no configuration: remove the table, or give its"
                " on_start or __init__ an argument config",
            )
        )
        return None
    return handler


def name_start(handler: Handler, note: str) -> None:
    """Let an exception of a handler's `on_start` say which endpoint it belongs to.

    One that ends the program is an error of the plug-in: at a reload, the old one stays in use.
    """
    start = defined(handler, "on_start")
    if start is None:
        return

    @functools.wraps(start)
    def on_start(server: Server) -> Any:
        with _noting(note):
            result = start(server)
        return _noted(result, note) if inspect.isawaitable(result) else result

    handler.on_start = on_start  # type: ignore[method-assign]


async def _noted(started: Awaitable[object], note: str) -> None:
    with _noting(note):
        await started


@contextlib.contextmanager
def _noting(note: str) -> Iterator[None]:
    try:
        yield
    except Interrupted:
        raise
    except SystemExit as error:
        failure = RuntimeError(f"on_start has ended the program: {error!r}")
        failure.add_note(note)
        raise failure from error
    except BaseException as error:
        error.add_note(note)
        raise


def module_state(reference: str) -> tuple[str, object] | None:
    """The module of a plug-in, and what is known of its file; None if it is not a module."""
    name = reference.rpartition(":")[0]
    file = getattr(sys.modules.get(name), "__file__", None)
    if name.endswith(".py") or file is None:
        return None
    try:
        found = Path(file).stat()
    except OSError:
        return None
    return name, (found.st_mtime_ns, found.st_size)


def _takes_config(function: Callable[..., Any]) -> bool:
    try:
        return _PARAMETER in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def _config(
    source: Source, function: Callable[..., Any], config: dict[str, Any] | None, path: KeyPath
) -> Any:
    """The configuration as the type that an argument has; `WRONG` if mistakes were reported."""
    kind = _kind(function)
    place = (*path, "config")
    if config is None:
        default = inspect.signature(function).parameters[_PARAMETER].default
        if default is not inspect.Parameter.empty:
            return default
    values = config or {}
    if kind in (None, Any, dict):
        return values
    if hasattr(kind, "model_validate"):
        return _pydantic(source, kind, values, place)
    return decode(source, kind, values, place)


def _kind(function: Callable[..., Any]) -> Any:
    """The annotation of the argument; without `None`, which stands for a missing table."""
    target = function
    while isinstance(target, functools.partial):
        target = target.func
    if not inspect.isroutine(target):
        target = type(target).__call__
    try:
        kind = typing.get_type_hints(target, include_extras=True).get(_PARAMETER)
    except NameError as error:
        raise ConfigurationError(
            f"the annotation of {_PARAMETER} cannot be read: {error}", subject=_PARAMETER
        ) from None
    others = [one for one in typing.get_args(kind) if one is not type(None)]
    return others[0] if len(others) == 1 and type(None) in typing.get_args(kind) else kind


def _pydantic(source: Source, kind: Any, values: dict[str, Any], path: KeyPath) -> Any:
    try:
        return kind.model_validate(values)
    except ValueError as error:
        faults = getattr(error, "errors", None)
        if faults is None:
            source.report(Problem(path, str(error)))
            return WRONG
        for fault in faults(include_url=False):
            place = (*path, *fault["loc"])
            shown = source.shown(place, fault["input"])
            there = "" if fault["type"] == "missing" else f"; got {shown}"
            source.report(Problem(place, f"{fault['msg']}{there}"))
        return WRONG
