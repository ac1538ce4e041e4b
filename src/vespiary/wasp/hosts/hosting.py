"""What a host gets to make the handler of an endpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from vespiary._toml_files import Problem
from vespiary.errors import ConfigurationError
from vespiary.handler import AnyHandler
from vespiary.wasp.decoding import decode

if TYPE_CHECKING:
    from vespiary.wasp.configuration import Configuration, Planned
    from vespiary.wasp.reading import Source

__all__ = ["Host", "HostMissing", "Hosting", "Where"]


class HostMissing(ConfigurationError):
    """What a host needs is not installed; the text says what."""


class Where(Enum):
    """Which process makes a handler."""

    CHECK = auto()
    """That of `vespiary check`, which loads every plug-in and serves nothing."""
    SERVER = auto()
    KEEPER = auto()
    """The keeper of a plug-in's process, which loads no plug-in."""
    PROCESS = auto()
    """The process of the plug-in."""


@dataclass(frozen=True, slots=True)
class Hosting:
    """An endpoint whose handler is wanted.

    Attributes:
        configuration: What it belongs to.
        planned: The endpoint.
        files: The files of plug-ins: each is executed once.
        where: Which process this is.
        main: The process to which a signal that asks for a reload is sent.
        prepared: For the process of a plug-in: what its host has made in the server.
    """

    configuration: Configuration
    planned: Planned
    files: dict[Path, ModuleType]
    where: Where
    main: int = 0
    prepared: object = None

    @property
    def source(self) -> Source:
        """The files: mistakes are reported to it."""
        return self.configuration.source

    @property
    def config(self) -> dict[str, Any] | None:
        """The endpoint's own table; None if there is none."""
        value = self.planned.table.config
        return None if value is UNSET else value

    def decoded(self, kind: type[Any]) -> Any:
        """The endpoint's own table as a type of a host that needs no plug-in.

        `WRONG` if something was reported.
        """
        for key in ("plugin", "application"):
            if getattr(self.planned.table, key) not in (UNSET, ""):
                self.report(key, f"has no effect with host = {self.planned.host!r}: remove it")
        place = (*self.planned.path, "config")
        return decode(self.source, kind, self.config or {}, place)

    def report_config(self, error: ConfigurationError) -> None:
        """Report what is wrong in the endpoint's own table."""
        place = (*self.planned.path, "config", *str(error.subject).split("."))
        self.source.report(Problem(place, str(error)))

    def report(self, key: str, text: str) -> None:
        """Report what is wrong at a key of the endpoint."""
        self.source.report(Problem((*self.planned.path, key), text))


Host = Callable[[Hosting], AnyHandler | None]
"""Makes the handler of an endpoint; None if something was reported.

Raises:
    ConfigurationError: the plug-in cannot be loaded, or is not one.
    Exception: what the plug-in has raised.
"""
