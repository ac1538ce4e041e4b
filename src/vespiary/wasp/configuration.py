"""A configuration, read and checked: what a platform is made from.

Everything that can be known before the start is checked, plug-ins included: they are imported, and
an object of each is made. Nothing is bound and no `on_start` is called.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from msgspec import UNSET

from vespiary._acceptors import delegate_of
from vespiary._credentials import bare_url
from vespiary._listening import ListeningAddress, place
from vespiary._listening_sockets import descriptor_fault
from vespiary._loading import load_object
from vespiary._served import as_filter
from vespiary._site import Site
from vespiary._toml_files import KeyPath, Problem
from vespiary.endpoint import Endpoint
from vespiary.errors import ConfigurationError
from vespiary.handler import AnyHandler, Handler
from vespiary.limits import Limits
from vespiary.server_options import ServerOptions
from vespiary.wasp.clr.assemblies import files_of
from vespiary.wasp.cluster.settings import ClusterSettings, cluster_of
from vespiary.wasp.decoding import WRONG, decode
from vespiary.wasp.hosts import HOSTS, Hosting, HostMissing, Where
from vespiary.wasp.latency import Histogram, measure_handler
from vespiary.wasp.message_sizes import framing_filter
from vespiary.wasp.plugins import name_start
from vespiary.wasp.reading import Source, read_source
from vespiary.wasp.schema import (
    DEFAULT_HOST,
    HOSTS_WITHOUT_PLUGIN,
    ApplicationTable,
    ConfigurationTable,
    EndpointTable,
)
from vespiary.wasp.settings import check_clr, options_of, process_of, references_of, workers_of
from vespiary.wasp.wasm_limits import wasm_of
from vespiary.workers import Workers

__all__ = [
    "ADMIN",
    "Configuration",
    "Planned",
    "check_places",
    "configuration_of",
    "make_sites",
    "read_configuration",
]

logger = logging.getLogger("vespiary.wasp")

ADMIN = "admin"
"""The name that the administration's own endpoint has among the others."""


@dataclass(frozen=True, slots=True)
class Planned:
    """An endpoint as the configuration has it, before anything of it is loaded.

    Attributes:
        name: Its name.
        urls: Where it listens.
        table: What the file says.
        options: Its options for `Server.add`, without the filters.
        folder: The folder of its file.
        changes: What is known of the files of its plug-in: if that differs, the endpoint has
            changed.
    """

    name: str
    urls: tuple[str, ...]
    table: EndpointTable
    options: dict[str, Any]
    folder: Path
    changes: tuple[object, ...] = ()

    @property
    def path(self) -> KeyPath:
        """Where it is in the file."""
        return ("endpoints", self.name)

    @property
    def host(self) -> str:
        """How it is served."""
        return _host_of(self.table)

    @property
    def served_by(self) -> str:
        """Its plug-in; of a host that needs none, the name of the host."""
        return self.table.plugin or self.host

    def url_path(self, number: int) -> KeyPath:
        """Where a URL of it is in the file."""
        is_alone = self.table.urls is UNSET
        return (*self.path, "url") if is_alone else (*self.path, "urls", number)

    def is_like(self, other: Planned) -> bool:
        """Whether another one would be served in the same way."""
        ours = (self.table, self.folder, self.changes)
        return ours == (other.table, other.folder, other.changes)


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the files say, complete and checked.

    Attributes:
        source: The files.
        table: Everything as it is written.
        endpoints: The endpoints by name.
        workers: The worker processes, if there are any.
        cluster: How other machines are reached, if they are.
    """

    source: Source
    table: ConfigurationTable
    endpoints: dict[str, Planned]
    workers: Workers | None
    cluster: ClusterSettings | None = None

    @property
    def path(self) -> Path:
        """The main file."""
        return self.source.path

    @property
    def pid_file(self) -> Path | None:
        """The file for the number of the main process, if there is to be one."""
        name = self.table.pid_file
        return None if name is None else self.source.folder_of(("pid_file",)) / name


def read_configuration(path: Path) -> Configuration:
    """Read and check a configuration; no plug-in is loaded.

    Raises:
        FileError: something is wrong; each mistake is named with file, line and key.
    """
    return configuration_of(read_source(path))


def configuration_of(source: Source) -> Configuration:
    """Check what was read; the same source gives the same configuration in any process.

    Raises:
        FileError: as for `read_configuration`.
    """
    table = decode(source, ConfigurationTable, source.data, ())
    if table is WRONG:
        # There are mistakes. Check the endpoints without any further, and report all at once.
        unreported = Source(source.path, written=source.written)
        for name, value in _tables_of(source).items():
            made = decode(unreported, EndpointTable, value, ("endpoints", name))
            if made is not WRONG:
                _plan(source, name, made)
        source.check()
    endpoints = {name: _plan(source, name, one) for name, one in table.endpoints.items()}
    if not table.endpoints:
        source.report(Problem(("endpoints",), "expected at least one endpoint: [endpoints.NAME]"))
    workers = workers_of(source, table.workers)
    for planned in endpoints.values():
        process_of(source, planned.table, planned.path)
        wasm_of(source, planned.table, planned.path)
        check_clr(source, planned.table, planned.path)
    cluster = cluster_of(source, table.cluster)
    source.check()
    return Configuration(source, table, endpoints, workers, cluster)


def _tables_of(source: Source) -> dict[str, Any]:
    found = source.data.get("endpoints")
    return found if isinstance(found, dict) else {}


def _host_of(table: EndpointTable) -> str:
    return DEFAULT_HOST if table.host is UNSET else table.host


def _plan(source: Source, name: str, table: EndpointTable) -> Planned:
    path: KeyPath = ("endpoints", name)
    if not table.plugin and _host_of(table) not in HOSTS_WITHOUT_PLUGIN:
        source.report(Problem((*path, "plugin"), "is missing: expected a string"))
    if not name.strip() or not name.isprintable() or "/" in name:
        text = "expected a name that can be read and is a part of a URL's path, without a slash"
        source.report(Problem(path, text))
    if name == ADMIN:
        source.report(Problem(path, "this name is reserved: give the endpoint another one"))
    given = [key for key in ("url", "urls") if getattr(table, key) is not UNSET]
    urls: tuple[str, ...] = ()
    if len(given) != 1:
        text = "url and urls exclude each other: keep one" if given else "expected url or urls"
        source.report(Problem(path, text))
    elif table.url is not UNSET:
        urls = (table.url,)
    else:
        urls = tuple(cast("list[str]", table.urls))
        if not urls:
            source.report(Problem((*path, "urls"), "is empty: expected at least one URL"))
    for number, url in enumerate(urls):
        try:
            Endpoint.parse(url)
        except ConfigurationError as error:
            where = (*path, "url") if table.urls is UNSET else (*path, "urls", number)
            source.report(Problem(where, str(error)))
    options = options_of(source, table, path)
    folder = source.folder_of((*path, "plugin"))
    return Planned(name, urls, table, options, folder, _changes(table, folder))


def _changes(table: EndpointTable, folder: Path) -> tuple[object, ...]:
    """What is known of the files of a plug-in, where it is made from files."""
    reference = table.plugin
    name = reference.rpartition(":")[0] or reference
    files = [folder / name] if name.endswith((".py", ".wasm", ".wat")) else []
    if _host_of(table) == "clr":
        files = files_of(reference, references_of(table), folder)
    found: list[object] = []
    for file in files:
        with contextlib.suppress(OSError):
            state = file.stat()
            found.append((str(file), state.st_mtime_ns, state.st_size, state.st_ino))
    return tuple(found)


def make_sites(
    configuration: Configuration,
    names: list[str],
    sockets: Mapping[str, Sequence[int]] | None,
    histograms: dict[str, Histogram] | None = None,
    where: Where | None = None,
    *,
    main: int = 0,
    prepared: object = None,
) -> dict[str, list[Site]]:
    """Load the plug-ins of some endpoints, and make what a server serves.

    Args:
        configuration: The configuration.
        names: The endpoints.
        sockets: The descriptors that a service manager has passed, by name; None if nothing is to
            be served.
        histograms: Where the time of handlers is counted, by endpoint; None if it is not measured.
        where: Which process this is; default: the server, or `vespiary check` without sockets.
        main: The process that reloads.
        prepared: In the process of a plug-in: what its host has made of it in the server.

    Returns:
        By the name of the endpoint, a site for each of its URLs.

    Raises:
        FileError: a plug-in cannot be loaded or made, or an option does not fit its endpoint.
    """
    source = configuration.source
    if where is None:
        where = Where.CHECK if sockets is None else Where.SERVER
    made: dict[str, list[Site]] = {}
    loaded = _Loaded()
    for name in names:
        planned = configuration.endpoints[name]
        hosting = Hosting(configuration, planned, loaded.files, where, main, prepared)
        handler = _handler(hosting, loaded)
        if handler is None:
            made[name] = []
            continue
        if histograms is not None:
            measure_handler(handler, histograms.setdefault(name, Histogram()))
        options = planned.options | (_filters(hosting) if delegate_of(handler) is None else {})
        is_own = where is Where.SERVER
        passed = _sockets(source, planned, sockets if is_own else None)
        sites = [
            _site(source, planned, handler, number, options | own)
            for number, own in zip(range(len(planned.urls)), passed, strict=True)
        ]
        made[name] = [site for site in sites if site is not None]
    source.check()
    check_places(configuration, made)
    return made


def check_places(configuration: Configuration, made: Mapping[str, Sequence[Site]]) -> None:
    """Report endpoints, including the administration, that cannot share an address.

    Raises:
        FileError: there are some.
    """
    addresses: list[ListeningAddress] = []
    for name, sites in made.items():
        for number, site in enumerate(sites):
            try:
                place(addresses, site)
            except ConfigurationError as error:
                planned = configuration.endpoints.get(name)
                path = (ADMIN, "url") if planned is None else planned.url_path(number)
                configuration.source.report(Problem(path, str(error)))
                break
    configuration.source.check()


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What was loaded for the endpoints before.

    Attributes:
        files: The files of plug-ins and filters: each is executed once.
        users: The endpoint that has an object, with the object, by its identity.
    """

    files: dict[Path, ModuleType] = field(default_factory=dict)
    users: dict[int, tuple[str, object]] = field(default_factory=dict)


def _handler(hosting: Hosting, loaded: _Loaded) -> AnyHandler | None:
    source, planned = hosting.source, hosting.planned
    table, path = planned.table, planned.path
    host = HOSTS[planned.host]
    try:
        handler = host(hosting)
    except HostMissing as error:
        if table.optional:
            logger.warning("Not serving endpoints.%s, which is optional: %s", planned.name, error)
        else:
            source.report(Problem((*path, "host"), str(error)))
        return None
    except ConfigurationError as error:
        is_option = error.subject in ApplicationTable.__struct_fields__
        where = ("application", error.subject) if is_option else ("plugin",)
        source.report(Problem((*path, *where), str(error)))
        return None
    except (Exception, SystemExit) as error:
        text = f"{table.plugin} could not be created:\n{_story(error)}"
        source.report(Problem((*path, "plugin"), text))
        return None
    if handler is not None and _is_shared(source, handler, planned, loaded.users):
        return None
    if isinstance(handler, Handler):
        file, line = source.place_of(path)
        name_start(handler, f"raised by on_start of endpoints.{planned.name} ({file}:{line})")
    return handler


def _story(error: BaseException) -> str:
    """The traceback of what a plug-in has raised, without the frames before its own."""
    package = str(Path(__file__).parent.parent)
    frames = traceback.extract_tb(error.__traceback__)
    own = list(itertools.dropwhile(lambda frame: frame.filename.startswith(package), frames))
    story = [*traceback.format_list(own or frames), *traceback.format_exception_only(error)]
    return "".join(story).rstrip()


def _is_shared(
    source: Source, handler: AnyHandler, planned: Planned, users: dict[int, tuple[str, object]]
) -> bool:
    """Report an object that several endpoints would share with its state."""
    if not isinstance(handler, Handler):
        return False
    other, _ = users.setdefault(id(handler), (planned.name, handler))
    if other == planned.name:
        return False
    text = (
        f"{planned.table.plugin} is one object, which endpoints.{other} has already: name its"
        " class, so that each endpoint gets its own object"
    )
    source.report(Problem((*planned.path, "plugin"), text))
    return True


def _filters(hosting: Hosting) -> dict[str, Any]:
    """The filters of an endpoint; what finds the messages of a framing's plug-in is the last."""
    source, planned, files = hosting.source, hosting.planned, hosting.files
    table, found = planned.table, []
    for number, reference in enumerate([] if table.filters is UNSET else table.filters):
        try:
            made = load_object(reference, planned.folder, files)
            found.append(as_filter(made, reference))
        except ConfigurationError as error:
            source.report(Problem((*planned.path, "filters", number), str(error)))
    if isinstance(table.framing, str) and ":" in table.framing:
        try:
            made = load_object(table.framing, planned.folder, files)
            limits = planned.options.get("limits") or Limits()
            found.append(framing_filter(made, table.framing, limits.message_bytes_max))
        except ConfigurationError as error:
            source.report(Problem((*planned.path, "framing"), str(error)))
    return {"filters": found} if found else {}


def _sockets(
    source: Source, planned: Planned, sockets: Mapping[str, Sequence[int]] | None
) -> list[dict[str, Any]]:
    """For each URL, the socket that was passed for it as an option; without one, no option."""
    name, count = planned.table.socket, len(planned.urls)
    if name is UNSET or sockets is None:
        return [{}] * count
    found = sockets.get(name, ())
    if len(found) != count:
        there = ", ".join(f"{one} ({len(many)})" for one, many in sockets.items()) or "none"
        text = (
            f"the service manager has passed {len(found)} sockets with the name {name!r}, and this"
            f" endpoint needs {count}; it has passed: {there}"
        )
        source.report(Problem((*planned.path, "socket"), text))
        return [{}] * count
    for number, descriptor in enumerate(found):
        url = planned.urls[number]
        fault = descriptor_fault(descriptor, Endpoint.parse(url))
        if fault is not None:
            text = f"the socket {name!r} that was passed for {bare_url(url)} is {fault}"
            source.report(Problem((*planned.path, "socket"), text))
            return [{}] * count
    # Duplicates: the endpoint closes its descriptor when it ends, and a reload needs another.
    return [{"fd": os.dup(number)} for number in found]


def _site(
    source: Source, planned: Planned, handler: AnyHandler, number: int, options: dict[str, Any]
) -> Site | None:
    url = planned.urls[number]
    if Endpoint.parse(url).is_secure and planned.table.tls is UNSET:
        text = (
            f"{bare_url(url)} needs a certificate:"
            ' add tls = { certificate = "FILE", key = "FILE" };'
            " for development, `vespiary cert` creates both files"
        )
        source.report(Problem(planned.url_path(number), text))
        return None
    try:
        return Site.make(handler, url, cast("ServerOptions", options))
    except ConfigurationError as error:
        key = "host_name" if error.subject == "host" else error.subject
        where = planned.path
        if error.subject in (url, bare_url(url)):
            where = planned.url_path(number)
        elif key in planned.table.__struct_fields__:
            where = (*where, key)
        elif error.subject.startswith("on_") or error.subject in ("handler", "__call__"):
            where = (*where, "plugin")
        source.report(Problem(where, str(error)))
        return None
