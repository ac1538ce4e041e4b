"""Mono in this process, through pythonnet.

It is loaded once, stays until the process ends, and handles signals of faults. So this happens only
in processes that have one plug-in, and in the one that `vespiary check` starts.
"""

from __future__ import annotations

import datetime
import importlib
import importlib.util
import os
import shutil
import warnings
from ctypes.util import find_library
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vespiary.errors import ConfigurationError
from vespiary.wasp.clr.assemblies import COMPILER, Assembly, Managed

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Loaded", "missing"]

_LIBRARY = "monosgen-2.0"
_PREFIXES = ("/usr", "/usr/local", "/opt/mono")
_FACADE = "lib/mono/4.5/Facades/netstandard.dll"
"""What pythonnet's own assembly refers to."""
_VERSION = 1
"""The version of the interface between Vespiary.cs and this program."""


def missing() -> str | None:
    """What is not installed, and how to install it; None if nothing is missing."""
    lacking = [one for one in ("pythonnet", "watchfiles") if importlib.util.find_spec(one) is None]
    if lacking:
        return f"the host 'clr' needs {' and '.join(lacking)}: pip install 'vespiary[clr]'"
    has_facade = any((Path(prefix) / _FACADE).exists() for prefix in _PREFIXES)
    if find_library(_LIBRARY) is None or shutil.which(COMPILER) is None or not has_facade:
        return "the host 'clr' needs mono: on Debian, apt install mono-devel"
    return None


class Loaded:
    """A plug-in whose assemblies are loaded.

    Args:
        managed: What to load.

    Raises:
        ConfigurationError: it is not an assembly, or was not compiled with Vespiary.cs.
    """

    def __init__(self, managed: Managed) -> None:
        # A fault ends the process; a debugger's look at it would take seconds and pages of log.
        os.environ.setdefault("MONO_DEBUG", "no-gdb-backtrace")
        import clr_loader

        pythonnet = importlib.import_module("pythonnet")

        with warnings.catch_warnings():
            # It advises against mono before 6.12, which Debian has.
            warnings.simplefilter("ignore")
            pythonnet.load(clr_loader.get_mono(debug=True, sgen=True))
        # These are mono's namespaces: no Python module has their names.
        self._system: Any = importlib.import_module("System")
        self._list: Any = importlib.import_module("System.Collections.Generic").List
        self._managed = managed
        self._assembly = self._load(managed.plugin)
        self._bridge = self._assembly.GetType("Vespiary.Bridge")
        if self._bridge is None or self._constant("Version") != _VERSION:
            text = "was not compiled with the Vespiary.cs of this version"
            advice = "vespiary check --csharp prints the file, which is compiled along"
            raise self._wrong(managed.plugin, f"{text}: {advice}")
        for one in managed.references:
            self._call("Add", self._load(one))

    def _wrong(self, assembly: Assembly, text: str) -> ConfigurationError:
        return ConfigurationError(f"{assembly.name}: {text}", subject="plugin", value=assembly.name)

    def _load(self, assembly: Assembly) -> Any:
        system = self._system
        parts = [assembly.data, *([] if assembly.symbols is None else [assembly.symbols])]
        try:
            arrays = [system.Array[system.Byte](part) for part in parts]
            return system.Reflection.Assembly.Load(*arrays)
        except system.Exception as error:
            raise self._wrong(assembly, f"is not an assembly: {error.Message}") from None

    def _constant(self, name: str) -> Any:
        field = self._bridge.GetField(name)
        return None if field is None else field.GetRawConstantValue()

    def _call(self, name: str, *arguments: Any) -> Any:
        system = self._system
        values = system.Array[system.Object](list(arguments))
        return self._bridge.GetMethod(name).Invoke(None, values)

    def names(self) -> list[str]:
        """The full names of all plug-ins in the assembly.

        Raises:
            ConfigurationError: a type in it needs an assembly that is not there.
        """
        try:
            return str(self._call("Names")).split()
        except self._system.Exception as error:
            inner = error.InnerException or error
            faults = getattr(inner, "LoaderExceptions", None) or [inner]
            text = "; ".join(sorted({str(one.Message) for one in faults}))
            raise self._wrong(self._managed.plugin, f"cannot be loaded: {text}") from None

    def start(self, name: str, config: Mapping[str, Any], wake: int) -> str | None:
        """Make an object of a plug-in, and call its OnStart.

        Args:
            name: The full name of its class.
            config: Its table.
            wake: The descriptor of an eventfd, to which a thread writes when it has queued records.

        Returns:
            What it has thrown, with the stack; None if it has started.
        """
        system = self._system
        values = self._table(config)
        error = self._call("Start", system.String(name), values, system.Int32(wake))
        return None if error is None else str(error)

    def addresses(self) -> tuple[int, int]:
        """The addresses of the functions Handle and Take."""
        handle, take = self._call("Addresses")
        return int(handle), int(take)

    def _table(self, values: Mapping[str, Any]) -> Any:
        table = self._system.Activator.CreateInstance(self._assembly.GetType("Vespiary.Config"))
        for key, value in values.items():
            table[key] = self._value(value)
        return table

    def _value(self, value: Any) -> Any:
        system = self._system
        if isinstance(value, dict):
            return self._table(value)
        if isinstance(value, list):
            made = self._list[system.Object]()
            for one in value:
                made.Add(self._value(one))
            return made
        if isinstance(value, bool):
            return system.Boolean(value)
        if isinstance(value, int):
            return system.Int64(value)
        if isinstance(value, datetime.datetime):
            # With an offset it becomes universal time: a DateTime has no offset.
            return system.DateTime.Parse(
                value.isoformat(),
                system.Globalization.CultureInfo.InvariantCulture,
                system.Globalization.DateTimeStyles.AdjustToUniversal,
            )
        return value if isinstance(value, float | str) else str(value)
