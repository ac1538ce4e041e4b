"""The limits of plug-ins in WebAssembly, from their table."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from msgspec import UNSET

from vespiary._toml_files import KeyPath, Problem
from vespiary.errors import LimitsError
from vespiary.limits import Limits
from vespiary.wasp.reading import Source
from vespiary.wasp.schema import EndpointTable

__all__ = ["PAGE_BYTES", "WasmLimits", "wasm_of"]

PAGE_BYTES = 1 << 16
_MEMORY_BYTES_MAX = 1 << 32
_FUEL_MAX = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class WasmLimits:
    """What an instance may use.

    Attributes:
        fuel_per_call: Units of fuel, about one per instruction. 20 million: a loop without an end
            is stopped after some 50 milliseconds, which other connections wait for. A message that
            is sent costs 2,000 and one per byte, a line of the log 20,000.
        memory_bytes_max: Bytes of its memory, and again of its tables. 16 MiB: a thousand
            connections fit into a usual machine even if all of them use it up.
    """

    fuel_per_call: int = 20_000_000
    memory_bytes_max: int = 16 << 20


def wasm_of(source: Source, table: EndpointTable, path: KeyPath) -> WasmLimits | None:
    """The limits of an endpoint's plug-in; None if they are wrong, which is reported."""
    default = WasmLimits()
    if table.wasm is UNSET:
        return default
    place = (*path, "wasm")
    if table.host != "wasm":
        source.report(Problem(place, "is for the host wasm: write host = 'wasm', or remove it"))
    fuel = _number(source, table.wasm.fuel_per_call, (*place, "fuel_per_call"), _FUEL_MAX, 1000)
    memory = _number(
        source,
        table.wasm.memory_bytes_max,
        (*place, "memory_bytes_max"),
        _MEMORY_BYTES_MAX,
        PAGE_BYTES,
    )
    if fuel is None or memory is None:
        return None
    return WasmLimits(fuel or default.fuel_per_call, memory or default.memory_bytes_max)


def _number(source: Source, value: object, path: KeyPath, most: int, least: int) -> int | None:
    """A number, or a text as limits have it; 0 if it is not given, None if it is wrong."""
    if value is UNSET:
        return 0
    number: int | None = None
    with contextlib.suppress(LimitsError):
        number = Limits.from_texts({"frame_bytes_max": str(value)}).frame_bytes_max
    if number is None or not least <= number <= most:
        text = f"expected a number from {least} to {most}, such as '16MiB' for bytes"
        source.report(Problem(path, f"{text}; there is {source.shown(path, value)}"))
        return None
    return number
