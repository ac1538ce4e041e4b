"""A platform: a configuration's endpoints in one server, from start to reload to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vespiary._blocked_loop import Interrupted
from vespiary._counted import counted
from vespiary._listening import ListeningAddress
from vespiary._replacing import add_sites, bind_addresses, replace_sites, unbind_addresses
from vespiary._site import Site
from vespiary._toml_files import FileError, Problem
from vespiary.endpoint import Endpoint
from vespiary.errors import ConfigurationError
from vespiary.loop import running_core
from vespiary.loop._loop import run_until_exit
from vespiary.wasp.admin import admin_sites
from vespiary.wasp.admin_checks import check_admin
from vespiary.wasp.changes import Changes
from vespiary.wasp.cluster.nats import NatsCluster
from vespiary.wasp.configuration import (
    ADMIN,
    Configuration,
    Planned,
    check_places,
    make_sites,
    read_configuration,
)
from vespiary.wasp.handover import Predecessor, Successor, UpgradeFailed, adopt
from vespiary.wasp.hosts.clr import prepare_all
from vespiary.wasp.latency import Histogram, LoopDelay
from vespiary.wasp.log_records import LogRecords
from vespiary.wasp.logs import configure_log
from vespiary.wasp.operations import Operations, process_host
from vespiary.wasp.pid_file import kept_pid_file, take_pid_file
from vespiary.wasp.platform_server import PlatformServer
from vespiary.wasp.plugins import module_state
from vespiary.wasp.privileges import check_user, drop_privileges
from vespiary.wasp.schema import AdminTable
from vespiary.wasp.settings import start_seconds_of
from vespiary.wasp.systemd import notify, reloading, watchdog_seconds
from vespiary.wasp.upgrade import look_after, upgrade
from vespiary.wasp.worker_calls import WorkerCalls

__all__ = ["Platform", "Reload", "check", "read_checked"]

logger = logging.getLogger("vespiary.wasp")

_FIXED = ("workers", "driver", "user", "group", "pid_file", "cluster")
"""Keys of which a new value is used after a restart only."""


def check(path: Path) -> Configuration:
    """Read a configuration, load its plug-ins and make its endpoints, without starting anything.

    Raises:
        FileError: something is wrong; each mistake is named with file, line and key.
    """
    return Platform(path, sockets=None).configuration


@dataclass(frozen=True, slots=True)
class Reload:
    """What a reload has done.

    Attributes:
        started: The names of new endpoints.
        replaced: Of those that have changed, and of those that share an address with one of them.
        stopped: Of those that are gone.
        unchanged: Of those that nothing has happened to.
    """

    started: tuple[str, ...]
    replaced: tuple[str, ...]
    stopped: tuple[str, ...]
    unchanged: tuple[str, ...]

    @classmethod
    def begun(cls) -> Reload:
        """With workers: another process reloads, and logs the outcome."""
        return cls((), (), (), ())

    def __str__(self) -> str:
        parts = [
            f"{name} {', '.join(getattr(self, name))}"
            for name in ("started", "replaced", "stopped", "unchanged")
            if getattr(self, name)
        ]
        return "; ".join(parts) or "new workers start; the log says whether they serve"


@dataclass(frozen=True, slots=True)
class Reloads:
    """The reloads since the start.

    Attributes:
        succeeded: How many have.
        failed: How many have not, and have changed nothing.
        last_error: What was wrong at the latest one; None if it succeeded, and before the first.
    """

    succeeded: int = 0
    failed: int = 0
    last_error: str | None = None

    def after(self, error: Exception | None) -> Reloads:
        """The same, with one more reload."""
        if error is None:
            return Reloads(self.succeeded + 1, self.failed)
        return Reloads(self.succeeded, self.failed + 1, str(error) or type(error).__name__)


class Platform:
    """The server of a configuration file.

    Args:
        path: The configuration file. It is read and checked, and its plug-ins are loaded.
        sockets: The descriptors that a service manager has passed, by name; None if nothing is to
            be served.
        main: The process that reloads, with workers; default: this one.

    Raises:
        FileError: something is wrong in the configuration.
    """

    def __init__(
        self, path: Path, sockets: Mapping[str, Sequence[int]] | None, *, main: int | None = None
    ) -> None:
        self.sockets = sockets
        self.process = main or os.getpid()
        self.reloads = Reloads()
        self.changes = Changes()
        self.calls = WorkerCalls()
        self.records = LogRecords()
        self.loop_delay = LoopDelay()
        self.histograms: dict[str, Histogram] = {}
        self.operations = Operations(self)
        self.configuration = read_checked(path)
        settings = self.configuration.cluster if sockets is not None else None
        self.server = PlatformServer(None if settings is None else NatsCluster(settings))
        self.sites = self.make(self.configuration, list(self.configuration.endpoints))
        admin = self.configuration.table.admin
        if admin is not None:
            self.sites[ADMIN] = self._admin_sites(self.configuration, admin)
            check_places(self.configuration, self.sites)
        self._task: asyncio.Task[None] | None = None
        self._is_asked_again = False
        self._lock = asyncio.Lock()
        self._upgrading: asyncio.Task[int] | None = None
        self.successor: Successor | None = None
        self._modules = _modules(self.configuration)
        add_sites(self.server, [site for sites in self.sites.values() for site in sites])

    def make(self, configuration: Configuration, names: list[str]) -> dict[str, list[Site]]:
        """Load the plug-ins of some endpoints, and make what the server serves."""
        admin = configuration.table.admin
        measured = None
        if admin is not None and admin.handler_seconds:
            measured = self.histograms
        return make_sites(configuration, names, self.sockets, measured, main=self.process)

    def _admin_sites(self, configuration: Configuration, admin: AdminTable) -> list[Site]:
        try:
            return admin_sites(self, configuration.source, admin)
        except ConfigurationError as error:
            configuration.source.report(Problem(("admin",), str(error)))
            configuration.source.check()
            raise

    def run(self, predecessor: Predecessor | None = None) -> None:
        """Serve in this process until a signal stops the server.

        Args:
            predecessor: The process whose place this one takes, with the sockets that it has bound.

        Raises:
            OSError: an address cannot be listened on, or another file cannot be used.
            Exception: what an `on_start` has raised.
        """
        table = self.configuration.table
        configure_log(table.log, has_workers=False)
        self.records.install()
        try:
            if predecessor is not None:
                adopt(self.addresses(), predecessor.held)
                # The files belong to the other process until this one serves.
                self._files = [address.leave_file() for address, _ in self.addresses()]
            self.bind()
            with kept_pid_file(self.configuration, is_upgrade=predecessor is not None):
                drop_privileges(table)
                run_until_exit(self._serve(predecessor), _log_exit, driver=table.driver)
        finally:
            unbind_addresses(self.server)

    def bind(self) -> None:
        """Bind every socket that is not there.

        Raises:
            OSError: an address cannot be listened on.
        """
        bind_addresses(self.server)

    def serve_workers(self, on_serving: Callable[[], object]) -> None:
        """Serve in worker processes until a signal stops the server."""
        table, workers = self.configuration.table, self.configuration.workers
        configure_log(table.log, has_workers=True)
        self.records.install()
        self.server.run(driver=table.driver, workers=workers, on_serving=lambda _urls: on_serving())

    def addresses(self) -> list[tuple[ListeningAddress, frozenset[str]]]:
        """Every address, and what it is known by: its endpoints with their URLs, and its place."""
        names = {
            site: {f"{name} {url}", *_places(url)}
            for name, sites in self.sites.items()
            for site, url in zip(sites, self._urls(name), strict=True)
        }
        return [
            (address, frozenset(key for site in address.sites for key in names[site]))
            for address in self.server._addresses
        ]

    def _urls(self, name: str) -> tuple[str, ...]:
        table = self.configuration.table
        if name == ADMIN and table.admin is not None:
            return tuple(table.admin.url for _ in self.sites[ADMIN])
        return self.configuration.endpoints[name].urls

    def _notify_ready(self) -> None:
        count = len(self.configuration.endpoints)
        notify("READY=1", f"STATUS=Serving {counted(count, 'endpoint')}")

    async def _serve(self, predecessor: Predecessor | None) -> None:
        loop = asyncio.get_running_loop()
        server = self.server
        server.on_stopping = self._stopping
        logger.info("%s", running_core().choice)
        loop.add_signal_handler(signal.SIGHUP, self.reload_soon)
        loop.add_signal_handler(signal.SIGUSR2, self.upgrade_soon)
        async with server:
            if server._life is None:
                return
            if predecessor is not None:
                self._replace(predecessor)
            self._notify_ready()
            self._beat(loop)
            await server.wait_stopped()

    def _stopping(self) -> None:
        notify("STOPPING=1")
        if self._upgrading is not None:
            self._upgrading.cancel()

    def _replace(self, predecessor: Predecessor) -> None:
        """Take over what the process whose place this one takes has left."""
        kept = {file for file in self._files if file is not None}
        for address, file in zip(self.server._addresses, self._files, strict=True):
            if file is not None:
                address.keep_file(file)
        for held in predecessor.held:
            held.close()
            if held.file not in kept:
                held.remove_file()
        take_pid_file(self.configuration)
        predecessor.serves()
        look_after(self.server, predecessor)

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        seconds = watchdog_seconds()
        if seconds is not None and notify("WATCHDOG=1"):
            loop.call_later(seconds, self._beat, loop)

    def reload_soon(self) -> None:
        """Reload in a task. Another call during a reload begins a further one after it."""
        if self._task is not None and not self._task.done():
            self._is_asked_again = True
            return
        self._task = asyncio.ensure_future(self._reload_logged())

    async def _reload_logged(self) -> None:
        while True:
            self._is_asked_again = False
            with contextlib.suppress(Exception):
                await self.reload()
            if not self._is_asked_again:
                return

    def upgrade_soon(self) -> None:
        """Upgrade in a task (see `upgrade`)."""
        self._task_of_upgrade().add_done_callback(_log_failed_upgrade)

    async def upgrade(self) -> int:
        """Start the program again in a new process, which takes the place of this one.

        When it serves, this process begins to stop. With workers, this only begins the upgrade. A
        further call during an upgrade waits for the same one.

        Returns:
            The process id of the new one, or with workers of the old one, which logs the outcome.

        Raises:
            OSError: it cannot be started. Nothing has changed.
            UpgradeFailed: it has ended before it served, or this server stops.
        """
        if self.configuration.workers is not None:
            os.kill(self.process, signal.SIGUSR2)
            return self.process
        task = self._task_of_upgrade()
        await asyncio.wait([task])
        if task.cancelled():
            raise UpgradeFailed("the program was not upgraded: the server stops")
        return task.result()

    def _task_of_upgrade(self) -> asyncio.Task[int]:
        if self._upgrading is None or self._upgrading.done():
            self._upgrading = asyncio.ensure_future(self._upgrade())
        return self._upgrading

    async def _upgrade(self) -> int:
        async with self._lock:
            return await upgrade(self)

    async def reload(self) -> Reload:
        """Read the configuration again, and change what has changed.

        Endpoints that have not changed keep their connections. The outcome is logged too.

        Raises:
            FileError: something is wrong in the new configuration. Nothing has changed.
            OSError: an address cannot be listened on. Nothing has changed.
            Exception: what an `on_start` has raised. Nothing has changed.
        """
        if self.configuration.workers is not None:
            read_checked(self.configuration.path)
            os.kill(self.process, signal.SIGHUP)
            return Reload.begun()
        async with self._lock:
            logger.info("Reloading %s", self.configuration.path)
            reloading()
            try:
                done = await self._reload()
            except Exception as error:
                if isinstance(error, FileError):
                    for line in error.lines:
                        logger.error("%s", line)
                    logger.error("The configuration was not reloaded: the old one stays in use")
                else:
                    text = "The configuration was not reloaded: the old one stays in use"
                    logger.exception(text)
                self.reloads = self.reloads.after(error)
                raise
            finally:
                self._notify_ready()
            self.reloads = self.reloads.after(None)
            logger.info("Reloaded: %s", done)
            return done

    async def _reload(self) -> Reload:
        old = self.configuration
        new = read_checked(old.path)
        dirty = _changed(old.endpoints, new.endpoints)
        dirty |= {name for name, sites in self.sites.items() if not sites}
        names = [name for name in new.endpoints if name in dirty]
        # The compiler would keep the loop waiting.
        await asyncio.to_thread(prepare_all, new, names)
        made = self.make(new, names)
        if old.table.admin != new.table.admin:
            dirty.add(ADMIN)
            if new.table.admin is not None:
                made[ADMIN] = self._admin_sites(new, new.table.admin)
        kept = {name: sites for name, sites in self.sites.items() if name not in dirty}
        check_places(new, kept | made)
        gone = [site for name, sites in self.sites.items() if name in dirty for site in sites]
        added = [site for sites in made.values() for site in sites]
        pairs = {
            one: other
            for name in made.keys() & self.sites.keys()
            for one, other in zip(made[name], self.sites[name], strict=False)
        }
        if gone or added:
            await replace_sites(
                self.server,
                gone,
                added,
                pairs,
                start_seconds_of(new.endpoints[name].host for name in names),
            )
        _finish(old, new, kept)
        self.records.install()
        self._warn_of_old_modules(new)
        self.configuration, self.sites = new, kept | made
        self.operations.forget(self.changes.forget())
        before, after = old.endpoints.keys(), new.endpoints.keys()
        return Reload(
            started=tuple(name for name in after if name not in before),
            replaced=tuple(name for name in after if name in before and name in dirty),
            stopped=tuple(name for name in before if name not in after),
            unchanged=tuple(name for name in after if name not in dirty),
        )

    def _warn_of_old_modules(self, configuration: Configuration) -> None:
        """Log which modules have changed: they are imported once."""
        now = _modules(configuration)
        for name, state in now.items():
            if self._modules.get(name, state) != state:
                logger.warning(
                    "The module %s has changed, but the old one stays in use: restart the server,"
                    " or name its file in the configuration (%s.py:OBJECT), which a reload reads",
                    name,
                    name.rpartition(".")[2],
                )
        self._modules = now | self._modules


def _log_failed_upgrade(task: asyncio.Task[int]) -> None:
    error = None if task.cancelled() else task.exception()
    if isinstance(error, OSError):
        logger.error("The program was not upgraded: %s", error.strerror or error)
    elif error is not None:
        logger.error("%s", error)


def _modules(configuration: Configuration) -> dict[str, object]:
    """The modules of plug-ins, and what is known of their files."""
    plugins = [one.table.plugin for one in configuration.endpoints.values()]
    return dict(state for state in map(module_state, plugins) if state is not None)


def _log_exit(error: SystemExit) -> None:
    if not isinstance(error, Interrupted):
        logger.error("A plug-in has ended the program: the server stops", exc_info=error)


def read_checked(path: Path) -> Configuration:
    """Read a configuration, and check everything but its plug-ins.

    Raises:
        FileError: something is wrong; each mistake is named with file, line and key.
    """
    configuration = read_configuration(path)
    check_user(configuration.source, configuration.table)
    check_admin(configuration.source, configuration.table.admin)
    configuration.source.check()
    return configuration


def _finish(old: Configuration, new: Configuration, kept: Mapping[str, Sequence[Site]]) -> None:
    """Use what a reload changes in addition to endpoints: certificates, the log."""
    for key in _FIXED:
        if getattr(old.table, key) != getattr(new.table, key):
            logger.warning("The new value of %s is used after a restart", key)
    configure_log(new.table.log, has_workers=old.workers is not None)
    certificates = {site.tls for sites in kept.values() for site in sites if site.tls is not None}
    for tls in certificates:
        tls.reload_logged("the configuration is reloaded")
    for sites in kept.values():
        host = process_host(sites)
        if host is not None and sites[0].tls is not None:
            host.reload_certificates()


def _changed(old: dict[str, Planned], new: dict[str, Planned]) -> set[str]:
    """The names of endpoints that have changed, and of all that share an address with one."""
    dirty = {
        name
        for name in old.keys() | new.keys()
        if name not in old or name not in new or not old[name].is_like(new[name])
    }
    groups: dict[str, set[str]] = {}
    for endpoints in (old, new):
        for name, planned in endpoints.items():
            for number, url in enumerate(planned.urls):
                # On port 0, only what begins with an HTTP request may share a port.
                is_own = not _places(url) and not Endpoint.parse(url).has_http
                place = f"{name} {number}" if is_own else _place(url)
                groups.setdefault(place, set()).add(name)
    is_growing = True
    while is_growing:
        found = {name for names in groups.values() if names & dirty for name in names}
        is_growing = not found <= dirty
        dirty |= found
    return dirty


def _place(url: str) -> str:
    """Equal for URLs of one address."""
    endpoint = Endpoint.parse(url)
    return endpoint.path or f"{endpoint.is_datagram} {endpoint.authority}"


def _places(url: str) -> list[str]:
    """The place of a URL, if it says where."""
    endpoint = Endpoint.parse(url)
    return [_place(url)] if endpoint.is_unix or endpoint.port else []
