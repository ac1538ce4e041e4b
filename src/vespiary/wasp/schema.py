"""What a configuration file may say: every table with its keys and their types.

msgspec reads these classes; `vespiary check --schema` prints them as JSON Schema. A key that is not
given is `UNSET`: the defaults are those of the public options (`Limits`, `ServerOptions` and so
on), and are defined only there.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, UnsetType

from vespiary.limits import Deadlines, Limits

__all__ = [
    "DEFAULT_HOST",
    "FRAMING_EXPECTED",
    "HOSTS_WITHOUT_PLUGIN",
    "OTHER_KEYS",
    "AdminTable",
    "ApplicationTable",
    "CertificateTable",
    "ClrTable",
    "ClusterTable",
    "CompressionTable",
    "ConfigurationTable",
    "DeadlinesTable",
    "EndpointTable",
    "LengthPrefixTable",
    "LimitsTable",
    "LogTable",
    "ProcessTable",
    "TLSTable",
    "WasmTable",
    "WebSocketTable",
    "WorkersTable",
    "json_schema",
]


class _Table(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A table; keys that it does not have are errors."""


FRAMING_EXPECTED = (
    "expected 'raw', 'line', 'crlf', 'length', a table, or a plug-in such as 'file.py:message_size'"
)
"""What `framing` may be."""


def _expected(text: str) -> Meta:
    """What an error says about a value of another type."""
    return Meta(extra={"expected": text})


_COUNT = _expected("expected a number such as 1000 or '64KiB', or 'none' for no limit")
_TIME = _expected("expected a time such as 10, '250ms' or '2min', or 'none' for no limit")

Count = Annotated[int | str, _COUNT]
Time = Annotated[int | float | str, _TIME]
Names = list[str]
Hosts = Literal["inline", "process", "static", "gateway", "wasm", "clr"]
HostName = Annotated[
    Hosts,
    _expected(
        f"expected how the endpoint is served: {', '.join(map(repr, get_args(Hosts)))} (ASGI and"
        " WSGI applications need no host, they are found by plugin; the interface is part of url;"
        " for the requests of one host name write host_name)"
    ),
]
"""How a plug-in runs: see `vespiary.wasp.hosts`."""
DEFAULT_HOST: Hosts = "inline"
HOSTS_WITHOUT_PLUGIN = ("static", "gateway")
"""Hosts that serve by themselves: their endpoints have no plug-in."""
FramingName = Annotated[
    str,
    Meta(
        extra_json_schema={
            "anyOf": [{"enum": ["raw", "line", "crlf", "length"]}, {"pattern": ".:."}],
        },
        extra={"expected": FRAMING_EXPECTED},
    ),
]


def _settings(owner: type[Limits | Deadlines], kind: Any) -> type[msgspec.Struct]:
    """A table with the fields of a settings class; each default is shown in the JSON Schema."""
    fields: list[tuple[str, Any, Any]] = []
    for item in dataclasses.fields(owner):
        default = "none" if item.default is None else item.default
        shown = Meta(extra_json_schema={"default": default})
        fields.append((item.name, Annotated[kind, shown] | UnsetType, UNSET))
    return msgspec.defstruct(
        f"{owner.__name__}Table",
        fields,
        bases=(_Table,),
        module=__name__,
        kw_only=True,
        frozen=True,
        forbid_unknown_fields=True,
    )


LimitsTable = _settings(Limits, Count)
DeadlinesTable = _settings(Deadlines, Time)


class LengthPrefixTable(_Table, frozen=True):
    """A framing with the length before each message: see `vespiary.LengthPrefix`."""

    width: Annotated[int, _expected("expected 1, 2, 4 or 8")] | UnsetType = UNSET
    byteorder: Literal["big", "little"] | UnsetType = UNSET
    includes_itself: bool | UnsetType = UNSET


class CompressionTable(_Table, frozen=True):
    """How WebSocket messages are compressed: see `vespiary.Compression`."""

    level: int | UnsetType = UNSET
    memory_level: int | UnsetType = UNSET
    threshold_bytes: int | UnsetType = UNSET
    server_context_takeover: bool | UnsetType = UNSET
    client_context_takeover: bool | UnsetType = UNSET
    server_window_bits: int | UnsetType = UNSET
    client_window_bits: int | UnsetType = UNSET


class WebSocketTable(_Table, frozen=True):
    """The options of WebSocket: see `vespiary.WebSocket`."""

    messages: Literal["any", "text", "binary"] | UnsetType = UNSET
    versions: list[int] | UnsetType = UNSET
    deflate_stream: bool | UnsetType = UNSET
    origins: Names | UnsetType = UNSET
    origin_required: bool | UnsetType = UNSET
    subprotocols: Names | UnsetType = UNSET
    headers: dict[str, str] | UnsetType = UNSET
    compression: CompressionTable | UnsetType = UNSET


class CertificateTable(_Table, frozen=True):
    """A further certificate with its key."""

    certificate: str
    key: str


class TLSTable(_Table, frozen=True):
    """Certificates and keys: see `vespiary.ServerTLS`. Paths are relative to the file's folder."""

    certificate: str
    key: str | UnsetType = UNSET
    more: list[CertificateTable] | UnsetType = UNSET
    client_ca: str | UnsetType = UNSET
    client_certificate: Literal["required", "optional"] | UnsetType = UNSET
    alpn: Names | UnsetType = UNSET
    minimum_version: Literal["1.2", "1.3"] | UnsetType = UNSET
    watch_seconds: Time | UnsetType = UNSET


class ApplicationTable(_Table, frozen=True):
    """The options of an ASGI or WSGI application: see `vespiary.ASGI` and `vespiary.WSGI`."""

    access_log: bool | UnsetType = UNSET
    root_path: str | UnsetType = UNSET
    lifespan: Literal["auto", "on", "off"] | UnsetType = UNSET
    threads: int | UnsetType = UNSET


class ProcessTable(_Table, frozen=True):
    """The process of a plug-in with the host `process`; defaults: those of `vespiary.Workers`.

    Attributes:
        memory_bytes_max: How much memory it may use, with all processes that it starts. At
            this limit it is killed. Default: no limit.
        hang_seconds: It is killed if its event loop is blocked for this time.
        start_seconds: It is killed if it has not started by then.
        stop_seconds: When it stops, it has this time after `drain_seconds` to end.
        restart_seconds_max: The longest wait before it starts again.
    """

    memory_bytes_max: Count | UnsetType = UNSET
    hang_seconds: Time | UnsetType = UNSET
    start_seconds: Time | UnsetType = UNSET
    stop_seconds: Time | UnsetType = UNSET
    restart_seconds_max: Time | UnsetType = UNSET


class WasmTable(_Table, frozen=True):
    """The limits of a plug-in with the host `wasm`.

    Attributes:
        fuel_per_call: How much one call may compute: about one unit per instruction.
        memory_bytes_max: The most memory that the instance of a connection may have.
    """

    fuel_per_call: Count | UnsetType = UNSET
    memory_bytes_max: Count | UnsetType = UNSET


class ClrTable(_Table, frozen=True):
    """What a managed plug-in with the host `clr` is made from.

    Attributes:
        references: Other assemblies: names of those of mono, such as `System.Xml`, or files that
            end with `.dll`.
        watch: Whether to reload when a file of the plug-in has changed.
    """

    references: Names = []
    watch: bool = True


class EndpointTable(_Table, frozen=True):
    """An endpoint: where it listens, which plug-in serves it, and its options.

    The options are those of `vespiary.ServerOptions`. `host_name` is its `host`.
    """

    plugin: str = ""
    host: HostName | UnsetType = UNSET
    optional: bool = False
    url: str | UnsetType = UNSET
    urls: Names | UnsetType = UNSET
    config: dict[str, Any] | UnsetType = UNSET
    application: ApplicationTable | UnsetType = UNSET
    process: ProcessTable | UnsetType = UNSET
    wasm: WasmTable | UnsetType = UNSET
    clr: ClrTable | UnsetType = UNSET
    framing: FramingName | LengthPrefixTable | UnsetType = UNSET
    filters: Names | UnsetType = UNSET
    limits: LimitsTable | UnsetType = UNSET  # type: ignore[valid-type]
    deadlines: DeadlinesTable | UnsetType = UNSET  # type: ignore[valid-type]
    websocket: WebSocketTable | UnsetType = UNSET
    tls: TLSTable | UnsetType = UNSET
    slow_consumer: Literal["wait", "drop-oldest", "drop-newest", "disconnect"] | UnsetType = UNSET
    executor: Literal["threads"] | UnsetType = UNSET
    host_name: str | UnsetType = UNSET
    proxy_protocol_from: Names | UnsetType = UNSET
    forwarded_from: Names | UnsetType = UNSET
    forwarded_field: Literal["x-forwarded-for", "forwarded"] | UnsetType = UNSET
    mode: (
        Annotated[str, _expected("expected permissions as an octal string, as '660'")] | UnsetType
    ) = UNSET
    backlog: int | UnsetType = UNSET
    reuse_port: bool | UnsetType = UNSET
    connections: bool | UnsetType = UNSET
    packet_info: bool | UnsetType = UNSET
    receive_buffer_bytes: int | UnsetType = UNSET
    broadcast: bool | UnsetType = UNSET
    multicast_groups: Names | UnsetType = UNSET
    socket: str | UnsetType = UNSET


class WorkersTable(_Table, frozen=True):
    """Worker processes: see `vespiary.Workers`."""

    count: int
    hang_seconds: Time | UnsetType = UNSET
    start_seconds: Time | UnsetType = UNSET
    stop_seconds: Time | UnsetType = UNSET
    memory_bytes_max: Count | UnsetType = UNSET
    start_failures_max: int | UnsetType = UNSET
    restart_seconds_max: Time | UnsetType = UNSET
    backplane_bytes_max: Count | UnsetType = UNSET


class LogTable(_Table, frozen=True):
    """The log, which is written to standard error.

    Attributes:
        level: The least severe messages that are logged.
        format: `text`, or `json` for one object per line.
    """

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class AdminTable(_Table, frozen=True):
    """Where the dashboard, operators' commands, metrics and health checks are served.

    Attributes:
        url: `http://` on a loopback address, `http+unix://`, or `https://`. On other addresses a
            token or client certificates are needed.
        token: What requests have to send as `Authorization: Bearer TOKEN`.
        read_token: A token with which requests can read everything, but change nothing.
        tls: Certificate and key for `https://`, and the authority of client certificates.
        read_certificates: SHA-256 fingerprints of client certificates whose owners can only read.
        hosts: Host names by which browsers reach it; default: loopback names on a loopback address,
            and any name elsewhere.
        mode: The permissions of the Unix socket; default: 600.
        audit_file: A file to which a JSON object is appended per change, one per line.
        handler_seconds: Whether to measure how long handlers take, for a histogram.
        dashboard: Whether to serve the dashboard.
    """

    url: str
    token: str | None = None
    read_token: str | None = None
    tls: TLSTable | None = None
    read_certificates: Names = []
    hosts: Names = []
    mode: (
        Annotated[str, _expected("expected permissions as an octal string, as '660'")] | UnsetType
    ) = UNSET
    audit_file: str | None = None
    handler_seconds: bool = False
    dashboard: bool = True


class ClusterTable(_Table, frozen=True):
    """The broker that connects this server with those of other machines.

    Attributes:
        url: `nats://HOST:PORT` or `tls://HOST:PORT`, several with commas between them. It may have
            `USER:PASSWORD@`.
        name: Servers with the same name belong together.
        token: A token to log in with.
        credentials: A file with a user's JWT and key to log in with.
        tls_ca: The authorities that the certificate of the broker must have, for `tls://`; default:
            those of the machine.
        tls_certificate: A certificate to log in with.
        tls_key: Its key.
        queue_bytes_max: How many bytes of published messages are kept for nodes that miss them.
    """

    url: str
    name: str = "default"
    token: str | None = None
    credentials: str | None = None
    tls_ca: str | None = None
    tls_certificate: str | None = None
    tls_key: str | None = None
    queue_bytes_max: Count | UnsetType = UNSET


class ConfigurationTable(_Table, frozen=True):
    """A configuration file, with those that it includes."""

    endpoints: dict[str, EndpointTable]
    include: Names = []
    workers: int | WorkersTable | None = None
    driver: Literal["uring", "epoll"] | None = None
    user: str | None = None
    group: str | None = None
    pid_file: str | None = None
    log: LogTable = msgspec.field(default_factory=LogTable)
    admin: AdminTable | None = None
    cluster: (
        Annotated[str | ClusterTable, _expected("expected nats://HOST:PORT, or a table with url")]
        | None
    ) = None


OTHER_KEYS: dict[type, dict[str, str]] = {
    EndpointTable: {
        "port": "the port is part of url",
        "path": "the path is part of url",
        "address": "write url",
        "listen": "write url",
        "bind": "write url",
        "handler": "write plugin",
        "app": "write plugin",
        "module": "write plugin",
        "server_name": "write host_name",
        "trusted_proxies": "write forwarded_from",
        "proxy_headers": "write forwarded_from, with the addresses of the proxies",
        "policies": "write slow_consumer",
        "root_path": "write application.root_path",
        "lifespan": "write application.lifespan",
        "threads": "write application.threads",
        "access_log": "write application.access_log",
        "cert": "write tls.certificate",
        "certificate": "write tls.certificate",
        "key": "write tls.key",
        "ssl": "write tls",
        "fd": "write socket, with the name of a socket that systemd passes",
        "origins": "write websocket.origins",
        "subprotocols": "write websocket.subprotocols",
        "compression": "write websocket.compression",
        **{item.name: f"write limits.{item.name}" for item in dataclasses.fields(Limits)},
        **{item.name: f"write deadlines.{item.name}" for item in dataclasses.fields(Deadlines)},
    },
    ConfigurationTable: {
        "servers": "write [endpoints.NAME]",
        "server": "write [endpoints.NAME]",
        "pidfile": "write pid_file",
        "log_level": "write log.level",
        "metrics": "write [admin], which has /metrics",
        "includes": "write include",
        "plugin": "it belongs to an endpoint: write [endpoints.NAME] above it",
        "url": "it belongs to an endpoint: write [endpoints.NAME] above it",
    },
    TLSTable: {
        "cert": "write certificate",
        "certfile": "write certificate",
        "keyfile": "write key",
    },
    ProcessTable: {
        "memory": "write memory_bytes_max",
        "memory_max": "write memory_bytes_max",
        "limits": "write memory_bytes_max here; other limits belong to the endpoint",
    },
    WasmTable: {"fuel": "write fuel_per_call", "memory": "write memory_bytes_max"},
    LogTable: {"file": "the log goes to standard error: redirect it"},
    WebSocketTable: {"origin": "write origins", "protocols": "write subprotocols"},
}
"""Keys that people try, and what to write instead."""


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a configuration file."""
    made = msgspec.json.schema(ConfigurationTable)
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    made["title"] = "Vespiary configuration"
    without = {"properties": {"host": {"enum": list(HOSTS_WITHOUT_PLUGIN)}}, "required": ["host"]}
    made["$defs"]["EndpointTable"]["anyOf"] = [{"required": ["plugin"]}, without]
    return made
