"""The host `wasm`: plug-ins in WebAssembly, run by wasmtime with limits on time and memory.

Each connection has an instance of the module with a memory of its own, so connections share
nothing, and a fault ends one connection only. Every call gets a fixed amount of fuel. An
instruction takes about one unit, so a loop without an end stops after the same work on every
machine. The memory of an instance has a limit, beyond which `memory.grow` returns -1.

Calls run on the event loop. So `fuel_per_call` also limits how long other connections wait: what
is imported costs as much fuel as instructions that take that long.

The interface has as few functions as possible; a module imports what it uses and exports what it
needs::

    export  memory                                  its memory
    export  alloc(size i32) -> i32                  where a message of so many bytes may be written
    export  on_message(address i32, size i32, is_text i32)
    export  on_config(address i32, size i32)        the table `config` as JSON
    export  on_open()
    export  on_close(code i32)                      the close code; 0 without one
    import  vespiary.send(address i32, size i32, is_text i32)
    import  vespiary.close(code i32)
    import  vespiary.log(address i32, size i32)

The first three are required. The bytes at an address that `alloc` has returned belong to the
module from then on.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from vespiary._suggestions import advice
from vespiary.endpoint import Endpoint
from vespiary.errors import CloseReason, ConfigurationError
from vespiary.handler import AnyHandler, Handler
from vespiary.wasp.hosts.hosting import Hosting, HostMissing
from vespiary.wasp.wasm_limits import PAGE_BYTES, WasmLimits, wasm_of

if TYPE_CHECKING:
    import wasmtime

    from vespiary._core import Connection

__all__ = ["PluginTrapped", "WasmHandler", "make"]

logger = logging.getLogger("vespiary.wasp")

_MODULE = "vespiary"
_LOG_BYTES_MAX = 1000
_IMPORT_FUEL, _LOG_FUEL, _FUEL_PER_BYTE = 2_000, 20_000, 1
"""What a call of an import costs: some microseconds, and a line of the log some tens of them."""
_TABLES_MAX = 4
_TABLE_ELEMENT_BYTES = 8
_ADDRESS_MAX = (1 << 32) - 1
"""Addresses are 32 bits without a sign; wasmtime passes them with one."""
_EXPORTS = {
    "alloc": (["i32"], ["i32"]),
    "on_message": (["i32", "i32", "i32"], []),
    "on_config": (["i32", "i32"], []),
    "on_open": ([], []),
    "on_close": (["i32"], []),
}
_REQUIRED = ("memory", "alloc", "on_message")
_IMPORTS: dict[str, tuple[list[str], list[str]]] = {
    "send": (["i32", "i32", "i32"], []),
    "close": (["i32"], []),
    "log": (["i32", "i32"], []),
}


class PluginTrapped(Exception):
    """A plug-in in WebAssembly was stopped, because of a fault or a limit; the text says why."""


def make(hosting: Hosting) -> AnyHandler | None:
    """Compile the module, and check its interface.

    Raises:
        ConfigurationError: wasmtime is missing, or the module cannot be used.
    """
    planned = hosting.planned
    reference = planned.table.plugin
    path = planned.folder / reference
    if path.suffix not in (".wasm", ".wat"):
        raise _wrong(reference, "expected a file that ends with .wasm or .wat")
    for url in planned.urls:
        endpoint = Endpoint.parse(url)
        if endpoint.is_http or endpoint.is_datagram:
            raise _wrong(
                reference,
                f"cannot serve {url}: the host wasm serves messages on tcp://,"
                " tls://, unix://, ws:// and wss://",
            )
    runtime = _runtime()
    limits = wasm_of(hosting.source, planned.table, planned.path)
    if limits is None:
        return None
    engine = _engine(runtime)
    module = _compiled(runtime, engine, path, reference)
    faults = _faults(module, limits, has_config=bool(hosting.config))
    if faults:
        raise _wrong(reference, "; ".join(faults))
    config = json.dumps(hosting.config, default=str).encode() if hosting.config else None
    return WasmHandler(runtime, module, reference, limits, config, engine)


def _runtime() -> ModuleType:
    try:
        import wasmtime
    except ImportError:
        raise HostMissing(
            "the host 'wasm' needs wasmtime: pip install 'vespiary[wasm]'", subject="host"
        ) from None
    return wasmtime


def _wrong(reference: str, text: str) -> ConfigurationError:
    return ConfigurationError(f"{reference}: {text}", subject="plugin", value=reference)


def _engine(runtime: ModuleType) -> wasmtime.Engine:
    configuration = runtime.Config()
    configuration.consume_fuel = True
    # Its threads would not survive the fork of workers.
    configuration.parallel_compilation = False
    # Python's faulthandler has the signals of faults, so instructions check for them.
    configuration.signals_based_traps = False
    # An instance reserves the addresses that it uses, and not 4 GiB: there may be many.
    configuration.memory_reservation = 0
    configuration.memory_guard_size = 0
    engine: wasmtime.Engine = runtime.Engine(configuration)
    return engine


def _compiled(
    runtime: ModuleType, engine: wasmtime.Engine, path: Path, reference: str
) -> wasmtime.Module:
    try:
        data = path.read_bytes()
    except OSError as error:
        near = sorted(one.name for one in path.parent.glob("*.wa*"))
        text = f"cannot be read: {error.strerror}"
        raise _wrong(reference, f"{text}; {advice(path.name, near)}" if near else text) from None
    try:
        binary = runtime.wat2wasm(data) if path.suffix == ".wat" else data
        module: wasmtime.Module = runtime.Module(engine, binary)
        return module
    except runtime.WasmtimeError as error:
        raise _wrong(reference, f"is not a valid module: {error}") from None


def _faults(module: wasmtime.Module, limits: WasmLimits, *, has_config: bool) -> list[str]:
    """What the interface of a module does not have as it must."""
    exports = {one.name: one.type for one in module.exports}
    faults = [
        f"exports no {name}: expected {_shown(name)}" for name in _REQUIRED if name not in exports
    ]
    if has_config and "on_config" not in exports:
        faults.append(
            f"there is a table config, but it exports no on_config: expected {_shown('on_config')}"
        )
    for name, kind in exports.items():
        if name == "memory":
            faults += _memory_faults(kind, limits)
        elif name in _EXPORTS and _signature(kind) != _EXPORTS[name]:
            faults.append(f"exports {name} as {_words(_signature(kind))}: expected {_shown(name)}")
        elif name.startswith("on_") and name not in _EXPORTS:
            faults.append(f"exports {name}, which is never called: {advice(name, _EXPORTS)}")
    for one in module.imports:
        full = f"{one.module}.{one.name}"
        if one.module != _MODULE or one.name not in _IMPORTS:
            known = [f"{_MODULE}.{name}" for name in _IMPORTS]
            faults.append(f"imports {full}, which there is not: {advice(full, known)}")
        elif _signature(one.type) != _IMPORTS[one.name]:
            wanted = _words(_IMPORTS[one.name])
            faults.append(f"imports {full} as {_words(_signature(one.type))}: expected {wanted}")
    return faults


def _memory_faults(kind: Any, limits: WasmLimits) -> list[str]:
    if not hasattr(kind, "limits"):
        return ["the export memory is not a memory"]
    needed = kind.limits.min * PAGE_BYTES
    if needed <= limits.memory_bytes_max:
        return []
    text = f"needs a memory of {needed:,} bytes, and memory_bytes_max"
    return [f"{text} is {limits.memory_bytes_max:,}: raise it in the table wasm"]


def _signature(kind: Any) -> tuple[list[str], list[str]] | None:
    """The types of the parameters and results; None if it is not a function."""
    if not hasattr(kind, "params"):
        return None
    return [str(one) for one in kind.params], [str(one) for one in kind.results]


def _words(signature: tuple[list[str], list[str]] | None) -> str:
    if signature is None:
        return "something that is not a function"
    parameters, results = signature
    text = f"({', '.join(parameters)})"
    return f"{text} -> {', '.join(results)}" if results else text


def _shown(name: str) -> str:
    return "a memory" if name == "memory" else f"{name}{_words(_EXPORTS[name])}"


class _Instance:
    """The instance of one connection: what it exports, and what it imports.

    Attributes:
        is_trapped: Whether it was stopped: nothing in it is called any more.
    """

    def __init__(self, handler: WasmHandler, connection: Connection) -> None:
        self._handler = handler
        self._connection = connection
        self.is_trapped = False
        runtime = handler.runtime
        self._store = runtime.Store(handler.engine)
        limits = handler.limits
        self._store.set_limits(
            memory_size=limits.memory_bytes_max,
            table_elements=limits.memory_bytes_max // (_TABLES_MAX * _TABLE_ELEMENT_BYTES),
            instances=1,
            tables=_TABLES_MAX,
            memories=1,
        )
        i32 = runtime.ValType.i32()
        imports = [
            runtime.Func(
                self._store,
                runtime.FuncType([i32] * len(_IMPORTS[str(one.name)][0]), []),
                getattr(self, f"_{one.name}"),
            )
            for one in handler.module.imports
        ]
        with self._limited("its start"):
            made = runtime.Instance(self._store, handler.module, imports)
        self._exports = made.exports(self._store)

    @contextlib.contextmanager
    def _limited(self, name: str) -> Iterator[None]:
        """Give what is called fresh fuel, and report how it was stopped."""
        runtime, limits = self._handler.runtime, self._handler.limits
        self._store.set_fuel(limits.fuel_per_call)
        try:
            yield
        except (runtime.Trap, runtime.WasmtimeError) as error:
            self.is_trapped = True
            self._handler.trapped += 1
            text = str(error)
            if getattr(error, "trap_code", None) == runtime.TrapCode.OUT_OF_FUEL:
                text = f"it has used its fuel, fuel_per_call = {limits.fuel_per_call}\n{text}"
            reference = self._handler.reference
            raise PluginTrapped(f"{reference} was stopped in {name}: {text}") from None

    def call(self, name: str, *arguments: int) -> Any:
        """Call an export, if there is one of this name."""
        if self.is_trapped or name not in self._handler.exports:
            return None
        with self._limited(name):
            return self._exports[name](self._store, *arguments)

    def call_with(self, name: str, data: bytes, *arguments: int) -> None:
        """Write bytes where the plug-in wants them, and call an export with them."""
        address = self.call("alloc", len(data)) & _ADDRESS_MAX
        memory = self._exports["memory"]
        if address + len(data) > memory.data_len(self._store):
            self.is_trapped = True
            self._handler.trapped += 1
            text = f"alloc({len(data)}) has returned {address}, which is outside of its memory"
            raise PluginTrapped(f"{self._handler.reference} was stopped: {text}")
        memory.write(self._store, data, address)
        self.call(name, address, len(data), *arguments)

    def _charge(self, fuel: int) -> None:
        """Take fuel for what an import does; without any left, the next instruction traps."""
        self._store.set_fuel(max(0, self._store.get_fuel() - fuel))

    def _read(self, address: int, size: int) -> bytes:
        memory = self._exports["memory"]
        first = address & _ADDRESS_MAX
        last = first + (size & _ADDRESS_MAX)
        if last > memory.data_len(self._store):
            raise self._handler.runtime.Trap("an address that was passed is outside of its memory")
        return bytes(memory.read(self._store, first, last))

    def _send(self, address: int, size: int, is_text: int) -> None:
        data = self._read(address, size)
        self._charge(_IMPORT_FUEL + len(data) * _FUEL_PER_BYTE)
        self._connection.send(data.decode() if is_text else data)

    def _close(self, code: int) -> None:
        self._charge(_IMPORT_FUEL)
        if code:
            self._connection.close(code)
        else:
            self._connection.close()

    def _log(self, address: int, size: int) -> None:
        self._charge(_LOG_FUEL)
        text = self._read(address, min(size & _ADDRESS_MAX, _LOG_BYTES_MAX))
        logger.info("%s: %s", self._handler.reference, text.decode(errors="replace"))


class WasmHandler(Handler):
    """Runs one module for all connections of an endpoint.

    Attributes:
        trapped: How many instances were stopped.
    """

    def __init__(
        self,
        runtime: ModuleType,
        module: wasmtime.Module,
        reference: str,
        limits: WasmLimits,
        config: bytes | None,
        engine: wasmtime.Engine,
    ) -> None:
        self.runtime = runtime
        self.module = module
        self.engine = engine
        self.reference = reference
        self.limits = limits
        self.exports = {one.name for one in module.exports}
        self.trapped = 0
        self._config = config
        self._instances: dict[Connection, _Instance] = {}

    def on_open(self, connection: Connection) -> None:
        """Make the instance of a connection."""
        instance = self._instances[connection] = _Instance(self, connection)
        if self._config is not None:
            instance.call_with("on_config", self._config)
        instance.call("on_open")

    def on_message(self, connection: Connection, message: bytes | str) -> None:
        """Give the plug-in a message."""
        is_text = isinstance(message, str)
        data = message.encode() if isinstance(message, str) else message
        self._instances[connection].call_with("on_message", data, int(is_text))

    def on_close(self, connection: Connection, reason: CloseReason) -> None:
        """Give the plug-in the close code, and drop the instance."""
        instance = self._instances.pop(connection, None)
        if instance is not None:
            instance.call("on_close", reason.code or 0)
