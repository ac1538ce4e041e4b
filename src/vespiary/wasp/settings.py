"""From the tables of a file to the public options: `Limits`, `WebSocket`, `ServerTLS` and others.

They check themselves. So what is wrong is what they say, and their defaults are the only ones.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET

from vespiary._suggestions import advice
from vespiary._toml_files import KeyPath, Problem
from vespiary.compression import Compression
from vespiary.errors import ConfigurationError, LimitsError
from vespiary.framing import LengthPrefix
from vespiary.limits import Deadlines, Limits
from vespiary.tls import ServerTLS
from vespiary.wasp.message_sizes import PREFIX
from vespiary.wasp.reading import Source
from vespiary.wasp.schema import (
    FRAMING_EXPECTED,
    EndpointTable,
    LengthPrefixTable,
    TLSTable,
    WorkersTable,
)
from vespiary.websocket import WebSocket
from vespiary.workers import Workers

__all__ = [
    "PROCESS_HOSTS",
    "bytes_of",
    "check_clr",
    "given",
    "mode_of",
    "options_of",
    "process_of",
    "references_of",
    "start_seconds_of",
    "tls_of",
    "workers_of",
]

T = TypeVar("T")

PROCESS_HOSTS = ("process", "clr")
"""Hosts that run a plug-in in a process of its own."""

_FRAMINGS = ("raw", "line", "crlf", "length")
_AS_THEY_ARE = (
    "slow_consumer",
    "executor",
    "proxy_protocol_from",
    "forwarded_from",
    "forwarded_field",
    "backlog",
    "reuse_port",
    "connections",
    "packet_info",
    "receive_buffer_bytes",
    "broadcast",
    "multicast_groups",
)
"""Keys whose values are those of the option of the same name."""

_TOGETHER = (
    {"certificate", "key"},
    {"client_ca", "client_certificate"},
    {"write_low_bytes", "write_high_bytes", "write_bytes_max"},
    {"versions", "deflate_stream"},
)
"""Options that are checked together. Without one of them, the others can seem to be wrong."""


def given(table: msgspec.Struct) -> dict[str, Any]:
    """The keys of a table that are in the file."""
    values = {name: getattr(table, name) for name in table.__struct_fields__}
    return {name: value for name, value in values.items() if value is not UNSET}


def options_of(source: Source, table: EndpointTable, path: KeyPath) -> dict[str, Any]:
    """The options of an endpoint for `Server.add`, without filters and sockets."""
    values = given(table)
    options = {name: values[name] for name in _AS_THEY_ARE if name in values}
    if "host_name" in values:
        options["host"] = values["host_name"]
    if "mode" in values:
        options["mode"] = mode_of(source, values["mode"], (*path, "mode"))
    if "limits" in values:
        options["limits"] = _measures(source, Limits, values["limits"], (*path, "limits"))
    if "deadlines" in values:
        options["deadlines"] = _measures(
            source, Deadlines, values["deadlines"], (*path, "deadlines")
        )
    if "framing" in values:
        options["framing"] = _framing(source, values["framing"], (*path, "framing"))
    if "websocket" in values:
        options["websocket"] = _websocket(source, values["websocket"], (*path, "websocket"))
    if "tls" in values:
        options["tls"] = tls_of(source, values["tls"], (*path, "tls"))
    return {name: value for name, value in options.items() if value is not None}


def _measures(
    source: Source, cls: type[Limits | Deadlines], table: msgspec.Struct, path: KeyPath
) -> Limits | Deadlines | None:
    texts = {name: str(value) for name, value in given(table).items()}
    return _made(source, lambda **values: cls.from_texts(values), texts, path)


def _made(
    source: Source, make: Callable[..., T], values: dict[str, Any], path: KeyPath
) -> T | None:
    """Make an object of options, and report each value that it refuses.

    An option that is refused is omitted then, so that the next one is found too. The options that
    are checked together with it are omitted as well.
    """
    values = dict(values)
    is_right = True
    while True:
        try:
            made = make(**values)
        except (ConfigurationError, OSError) as error:
            is_right = False
            name = _subject(error, values)
            source.report(Problem((*path, name) if name else path, _text(error)))
            if name is None:
                return None
            for other in {name}.union(*(group for group in _TOGETHER if name in group)):
                values.pop(other, None)
        except TypeError:
            # A required value was refused above, and its mistake is reported.
            return None
        else:
            return made if is_right else None


def _subject(error: ConfigurationError | OSError, values: dict[str, Any]) -> str | None:
    if isinstance(error, ConfigurationError):
        return error.subject if error.subject in values else None
    names = [name for name, value in values.items() if str(value) == str(error.filename)]
    return names[0] if names else None


def _text(error: ConfigurationError | OSError) -> str:
    if isinstance(error, ConfigurationError):
        return str(error)
    return f"{error.filename} cannot be read: {error.strerror}"


def mode_of(source: Source, text: str, path: KeyPath) -> int | None:
    """The permissions that an octal text stands for."""
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if 0 <= mode <= 0o777:
        return mode
    _report_text(source, text, path, "permissions as an octal string, as '660'")
    return None


def _framing(source: Source, value: str | LengthPrefixTable, path: KeyPath) -> Any:
    if isinstance(value, str):
        if ":" in value:
            # `module:name` is a plug-in, which is loaded later. This value replaces it until then.
            return PREFIX
        if value in _FRAMINGS:
            return value
        near = advice(value, _FRAMINGS)
        text = f"{FRAMING_EXPECTED}; got {source.shown(path, value)}"
        source.report(Problem(path, f"{text}: {near}" if near.startswith("did you") else text))
        return None
    return _made(source, LengthPrefix, given(value), path)


def _websocket(source: Source, table: msgspec.Struct, path: KeyPath) -> WebSocket | None:
    values = given(table)
    compression = values.get("compression")
    if compression is not None:
        place = (*path, "compression")
        values["compression"] = _made(source, Compression, given(compression), place)
    return _made(source, WebSocket, values, path)


def tls_of(source: Source, table: TLSTable, path: KeyPath) -> ServerTLS | None:
    """The certificate and the key of an endpoint."""
    folder = source.folder_of(path)
    values = given(table)
    for name in ("certificate", "key", "client_ca"):
        if name in values:
            values[name] = folder / values[name]
    if "more" in values:
        values["more"] = [(folder / one.certificate, folder / one.key) for one in values["more"]]
    if "watch_seconds" in values:
        place = (*path, "watch_seconds")
        values["watch_seconds"] = _seconds(source, values["watch_seconds"], place)
    return _made(source, ServerTLS, values, path)


def _seconds(source: Source, value: float | str, path: KeyPath) -> float | None:
    """A time; a text has one of the forms that deadlines have."""
    if not isinstance(value, str):
        return value
    try:
        return Deadlines.from_texts({"idle_seconds": value}).idle_seconds
    except LimitsError:
        _report_text(source, value, path, "a time such as 10, '250ms' or '2min', or 'none'")
        return None


def bytes_of(source: Source, value: int | str, path: KeyPath) -> int | None:
    """A size; a text has one of the forms that limits have."""
    if not isinstance(value, str):
        return value
    try:
        return Limits.from_texts({"frame_bytes_max": value}).frame_bytes_max
    except LimitsError:
        _report_text(source, value, path, "a size such as 1000, '64KiB' or '2MiB', or 'none'")
        return None


def _report_text(source: Source, value: str, path: KeyPath, wanted: str) -> None:
    source.report(Problem(path, f"expected {wanted}; got {source.shown(path, value)}"))


def workers_of(source: Source, value: int | WorkersTable | None) -> Workers | None:
    """How many workers there are, and when one is replaced."""
    if value is None:
        return None
    if isinstance(value, int):
        try:
            return Workers(value)
        except ConfigurationError as error:
            source.report(Problem(("workers",), str(error)))
            return None
    return _made(source, Workers, _worker_values(source, value, ("workers",)), ("workers",))


def process_of(source: Source, table: EndpointTable, path: KeyPath) -> Workers:
    """When the process of a plug-in is replaced.

    It starts again however often it fails, because other endpoints serve meanwhile.
    """
    once = {"count": 1, "start_failures_max": sys.maxsize}
    if table.process is UNSET:
        return Workers(**once)
    place = (*path, "process")
    if table.host not in PROCESS_HOSTS:
        hosts = " and ".join(PROCESS_HOSTS)
        text = f"is for the hosts {hosts}: write host = '{PROCESS_HOSTS[0]}', or remove the table"
        source.report(Problem(place, text))
    values = _worker_values(source, table.process, place)
    return _made(source, Workers, {**once, **values}, place) or Workers(**once)


def _worker_values(source: Source, table: msgspec.Struct, path: KeyPath) -> dict[str, Any]:
    values = given(table)
    for name in ("hang_seconds", "start_seconds", "stop_seconds", "restart_seconds_max"):
        if name in values:
            values[name] = _seconds(source, values[name], (*path, name))
    for name in ("memory_bytes_max", "backplane_bytes_max"):
        if name in values:
            values[name] = bytes_of(source, values[name], (*path, name))
    return values


def references_of(table: EndpointTable) -> list[str]:
    """The other assemblies of a managed plug-in."""
    return [] if table.clr is UNSET else table.clr.references


def check_clr(source: Source, table: EndpointTable, path: KeyPath) -> None:
    """Report a table of the host `clr` that has no effect."""
    if table.clr is not UNSET and table.host != "clr":
        text = "is for the host clr: write host = 'clr', or remove the table"
        source.report(Problem((*path, "clr"), text))


def start_seconds_of(hosts: Iterable[str]) -> float | None:
    """The longest time for `on_start` at a reload; the process of a plug-in has its own limit."""
    return None if set(PROCESS_HOSTS).intersection(hosts) else Workers(1).start_seconds
