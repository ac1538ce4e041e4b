"""The host `clr`: managed plug-ins in C#, in a process of their own.

The process is that of the host `process`, which loads mono and the plug-in. So its memory limit,
its restart and the operator's commands are the same. The server compiles the plug-in before it
starts the process, so mistakes in the code stop the start, or leave the old plug-in serving at a
reload. It also watches the files of the plug-in, and asks for a reload when they have changed and
can be compiled.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import UNSET

from vespiary.endpoint import Endpoint
from vespiary.errors import ConfigurationError
from vespiary.handler import AnyHandler
from vespiary.wasp.clr.assemblies import Managed, files_of, managed
from vespiary.wasp.clr.handler import ClrHandler
from vespiary.wasp.clr.probe import probe
from vespiary.wasp.clr.runtime import missing
from vespiary.wasp.hosts.hosting import Hosting, HostMissing, Where
from vespiary.wasp.hosts.process import ProcessHost, Streams
from vespiary.wasp.settings import references_of

if TYPE_CHECKING:
    from vespiary.server import Server
    from vespiary.wasp.configuration import Configuration

__all__ = ["make", "prepare_all"]

logger = logging.getLogger("vespiary.wasp")

_DEBOUNCE_MILLISECONDS = 500
"""Changes that follow each other so soon are one: an editor or a build writes several files."""
_STEP_MILLISECONDS = 100
_POLL_MILLISECONDS = 1000


def make(hosting: Hosting) -> AnyHandler | None:
    """Compile the plug-in, and make what serves the endpoint in this process.

    Raises:
        HostMissing: mono or pythonnet is not installed.
        ConfigurationError: the plug-in cannot be compiled or loaded.
    """
    if hosting.where is Where.PROCESS:
        assert isinstance(hosting.prepared, Managed)
        return ClrHandler(hosting.prepared, hosting.planned.name, hosting.config or {})
    if not _fits(hosting):
        return None
    if hosting.where is Where.KEEPER:
        return ClrHost(hosting, None)
    lacking = missing()
    if lacking is not None:
        raise HostMissing(lacking, subject="host")
    made = prepare(hosting)
    if hosting.where is Where.CHECK:
        probe(made)
    return ClrHost(hosting, made)


def prepare(hosting: Hosting) -> Managed:
    """Compile the plug-in if its files have changed, and read it.

    Raises:
        ConfigurationError: the plug-in cannot be compiled or read.
    """
    planned = hosting.planned
    return managed(planned.table.plugin, references_of(planned.table), planned.folder)


def prepare_all(configuration: Configuration, names: Iterable[str]) -> None:
    """Compile the plug-ins of endpoints, for any thread: making them later is quick then.

    What is wrong with one is reported when it is made.
    """
    for name in names:
        planned = configuration.endpoints[name]
        if planned.host == "clr":
            with contextlib.suppress(ConfigurationError):
                prepare(Hosting(configuration, planned, {}, Where.SERVER))


def _fits(hosting: Hosting) -> bool:
    """Whether plug-ins can serve the endpoint; what they cannot serve is reported."""
    table = hosting.planned.table
    fits = True
    for number, url in enumerate(hosting.planned.urls):
        endpoint = Endpoint.parse(url)
        is_datagram = endpoint.is_datagram and table.connections is not True
        if endpoint.is_http or is_datagram:
            text = (
                f"cannot be served by the host clr: it serves messages on tcp://, tls://, unix://,"
                f" ws:// and wss://, and on udp:// with connections = true; got {url!r}"
            )
            key = "url" if table.urls is UNSET else "urls"
            hosting.report(key if key == "url" else f"{key}.{number}", text)
            fits = False
    if table.executor is not UNSET:
        hosting.report("executor", "has no effect with host = 'clr': remove it")
        fits = False
    return fits


class ClrHost(Streams):
    """Stands for the plug-in in the server, and watches its files."""

    def __init__(self, hosting: Hosting, made: Managed | None) -> None:
        ProcessHost.__init__(self, hosting)
        self._made = self._prepared = made
        self._stop_watching = threading.Event()
        self._watcher: threading.Thread | None = None

    async def on_start(self, server: Server) -> None:
        """Start the process, and watch the files from then on."""
        await super().on_start(server)
        table = self._hosting.planned.table.clr
        is_watched = table is UNSET or table.watch
        # Of several workers, one asks for the reload of all.
        if is_watched and self._number == 0:
            name = f"watch endpoints.{self._name}"
            self._watcher = threading.Thread(target=self._watch, name=name, daemon=True)
            self._watcher.start()

    async def on_stop(self, server: Server) -> None:
        """Watch no more, and wait for the end of the process."""
        self._stop_watching.set()
        await super().on_stop(server)
        if self._watcher is not None:
            await asyncio.to_thread(self._watcher.join)

    def stop_soon(self) -> None:
        """Watch no more, and let the process stop."""
        self._stop_watching.set()
        super().stop_soon()

    def _watch(self) -> None:
        import watchfiles

        # It would log each change; what follows from one is logged here.
        logging.getLogger("watchfiles").setLevel(logging.WARNING)
        while not self._stop_watching.is_set():
            try:
                self._watch_with(watchfiles.watch)
            except OSError:
                # A folder is gone. It may come back, as in a deployment that replaces it.
                self._stop_watching.wait(_POLL_MILLISECONDS / 1000)

    def _watch_with(self, watch: Callable[..., Iterable[object]]) -> None:
        """Look at the files when the watch begins, and at each change, until it must begin again.

        Raises:
            OSError: a folder is not there.
        """
        planned = self._hosting.planned
        reference, folder = planned.table.plugin, planned.folder.resolve()
        files = set(files_of(reference, references_of(planned.table), folder))
        whole = folder / reference.partition(":")[0]
        is_folder = whole.is_dir()

        def is_ours(change: object, name: str) -> bool:
            del change
            path = Path(name)
            return path in files or (is_folder and path.suffix == ".cs" and whole in path.parents)

        roots = {whole if is_folder else whole.parent, *(one.parent for one in files)}
        identities = _identities(roots)
        has_begun = False
        for changes in watch(
            *roots,
            watch_filter=is_ours,
            debounce=_DEBOUNCE_MILLISECONDS,
            step=_STEP_MILLISECONDS,
            stop_event=self._stop_watching,
            rust_timeout=_POLL_MILLISECONDS,
            yield_on_timeout=True,
            recursive=is_folder,
            raise_interrupt=False,
        ):
            if changes or not has_begun:
                self._look()
            has_begun = True
            if _identities(roots) != identities:
                # Another folder has the name now.
                return

    def _look(self) -> None:
        """Ask for a reload if the plug-in is another one now, and can be compiled."""
        try:
            made = prepare(self._hosting)
        except ConfigurationError as error:
            logger.error("The plug-in of endpoints.%s was not replaced: %s", self._name, error)
            return
        if made != self._made:
            self._made = made
            logger.info("The plug-in of endpoints.%s has changed", self._name)
            if not self._stop_watching.is_set():
                os.kill(self._hosting.main, signal.SIGHUP)


def _identities(folders: Iterable[Path]) -> list[tuple[int, int]]:
    return [(found.st_dev, found.st_ino) for found in (one.stat() for one in sorted(folders))]
