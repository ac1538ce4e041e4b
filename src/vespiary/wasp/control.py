"""The operator's commands for a whole server: each process carries them out, and they are audited.

A request reaches the process whose loop has accepted it. It carries out the command itself first,
which finds what is wrong with it, then notes the change for workers that start later (`changes`),
and then has all others carry it out (`worker_calls`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from vespiary._counted import counted
from vespiary._directory import slot_in
from vespiary._toml_files import FileError
from vespiary.wasp.access import Who
from vespiary.wasp.audit import Audit
from vespiary.wasp.changes import Changed
from vespiary.wasp.connections import Ask, ConnectionQuery, merged_page
from vespiary.wasp.host_counters import memory_bytes
from vespiary.wasp.taps import TapOptions
from vespiary.wasp.worker_calls import (
    LOOK_SECONDS,
    RESUME_SECONDS,
    Colleague,
    Refused,
    WorkerSilent,
)

if TYPE_CHECKING:
    from vespiary.server import Server
    from vespiary.wasp.platform import Platform

__all__ = ["Control"]

T = TypeVar("T")

Arguments = dict[str, Any]


class Control:
    """Carries out commands in all processes of a server.

    Args:
        platform: What is served.
        audit: Where changes are written.
    """

    def __init__(self, platform: Platform, audit: Audit) -> None:
        self._platform = platform
        self._operations = platform.operations
        self.calls = platform.calls
        self.audit = audit

    async def start(self, server: Server) -> None:
        """Answer other workers from now on, and do what was asked of earlier ones."""
        await self.calls.serve(server, self.answer, self.stream)
        self._operations.hold_changed(self._platform.changes.read())

    def stop(self) -> None:
        """Answer no more."""
        self.calls.stop()

    # Commands that change something.

    async def reload(self, who: Who) -> str:
        """Read the configuration again.

        Raises:
            FileError: something is wrong in the new configuration. Nothing has changed.
            Exception: as for `Platform.reload`.
        """

        async def reload() -> str:
            return str(await self._platform.reload())

        return await self._audited(who, "reload", {}, reload)

    async def upgrade(self, who: Who) -> str:
        """Let a new process of the program take over the sockets.

        Raises:
            UpgradeFailed: it does not serve. Nothing has changed.
        """

        async def upgrade() -> str:
            process = await self._platform.upgrade()
            if self._platform.configuration.workers is None:
                return f"process {process} serves, and process {os.getpid()} drains"
            return f"process {process} starts the new program; its log says whether that serves"

        return await self._audited(who, "upgrade", {}, upgrade)

    async def endpoint(self, who: Who, command: str, name: str) -> str:
        """Suspend, resume or drain an endpoint, in all processes.

        Raises:
            Refused: it cannot be done.
            WorkerSilent: a worker has not done it.
        """

        def note(changed: Changed) -> None:
            if command == "resume":
                changed.held.pop(name, None)
            else:
                changed.held[name] = "suspended" if command == "suspend" else "drained"

        async def carry_out() -> str:
            if command != "resume" and self._platform.changes.read().held.get(name) == "drained":
                raise Refused(f"the endpoint {name!r} is drained: resume starts it again")
            await self._everywhere(command, {"endpoint": name}, note)
            return f"{name}: {command}"

        return await self._audited(who, command, {"endpoint": name}, carry_out)

    async def disconnect(self, who: Who, name: str, peer: str | None) -> str:
        """Close connections of an endpoint.

        Raises:
            Refused: the endpoint is not known.
            WorkerSilent: a worker has not done it.
        """
        arguments = {"endpoint": name, "peer": peer}

        async def carry_out() -> str:
            counts = await self._everywhere("disconnect", arguments)
            return f"closing {counted(sum(counts), 'connection')} of {name}"

        return await self._audited(who, "disconnect", arguments, carry_out)

    async def disconnect_one(self, who: Who, connection_id: str) -> str:
        """Close a connection.

        Raises:
            Refused: there is none with this id.
            WorkerSilent: its worker does not answer.
        """
        arguments = {"id": connection_id}

        async def carry_out() -> str:
            await self._at_its_worker("disconnect-one", arguments)
            return f"closing {connection_id}"

        return await self._audited(who, "disconnect", arguments, carry_out)

    async def set_limit(self, who: Who, name: str, bound: str, text: str) -> str:
        """Set a limit or a deadline of an endpoint, until the next reload.

        Raises:
            Refused: the endpoint, the limit or the value is not valid.
            WorkerSilent: a worker has not done it.
        """
        arguments = {"endpoint": name, "limit": bound, "value": text}

        def note(changed: Changed) -> None:
            changed.bounds.setdefault(name, {})[bound] = text

        async def carry_out() -> str:
            names = (await self._everywhere("set-limit", arguments, note))[0]
            return f"{', '.join(names)}: {bound} is {text} until the next reload"

        return await self._audited(who, "set limit", arguments, carry_out)

    async def set_level(self, who: Who, logger: str, level: str) -> str:
        """Set the level of the log, or of one logger, until the next reload.

        Raises:
            Refused: there is no such level.
            WorkerSilent: a worker has not done it.
        """
        arguments = {"logger": logger, "level": level}

        def note(changed: Changed) -> None:
            changed.levels[logger] = level

        async def carry_out() -> str:
            await self._everywhere("set-level", arguments, note)
            subject = f"the logger {logger}" if logger else "the log"
            return f"the level of {subject} is {level} until the next reload"

        return await self._audited(who, "log level", arguments, carry_out)

    async def tap(
        self, who: Who, connection_id: str, options: TapOptions
    ) -> AsyncGenerator[dict[str, Any]]:
        """Return what passes on a connection from now on: see `taps.tapped`.

        Raises:
            Refused: there is no such connection, or it cannot be tapped.
            WorkerSilent: its worker does not answer.
        """
        arguments = {
            "id": connection_id,
            "seconds": options.seconds,
            "records": options.records,
            "preview": options.preview,
        }

        async def begin() -> AsyncGenerator[dict[str, Any]]:
            worker = self._worker_of(connection_id)
            if worker is None:
                items = self.stream("stream-tap", arguments)
            else:
                items = self.calls.stream(worker, "stream-tap", arguments)
            # The first item says that the tap has begun: what is wrong is raised here.
            await anext(items)
            return items

        return await self._audited(who, "tap", arguments, begin)

    # Commands that look.

    async def connections(self, query: ConnectionQuery) -> dict[str, Any]:
        """List connections of all processes.

        Raises:
            Refused: the endpoint is not known.
            WorkerSilent: a worker does not answer.
        """

        async def own(part: ConnectionQuery) -> Any:
            return await self._operations.connections(part)

        async def other(worker: Colleague, part: ConnectionQuery) -> Any:
            arguments = {name: getattr(part, name) for name in part.__struct_fields__}
            return await self.calls.ask(worker, "connections", arguments)

        asks: list[tuple[int | None, Ask]] = [(self.calls.number, own)]
        asks += [(one.number, partial(other, one)) for one in self.calls.others()]
        # Ordered by worker, so that the pages of a list follow each other in every worker.
        ordered = sorted(asks, key=lambda one: one[0] or 0)
        wanted = [ask for number, ask in ordered if query.worker in (None, number)]
        return await merged_page(wanted, query)

    async def inspect(self, connection_id: str) -> dict[str, Any]:
        """Everything that is known about a connection.

        Raises:
            Refused: there is none with this id.
            WorkerSilent: its worker does not answer.
        """
        found: dict[str, Any] = await self._at_its_worker("inspect", {"id": connection_id})
        return found

    async def gathered(self, command: str, arguments: Arguments) -> list[tuple[int | None, Any]]:
        """The answer and the worker of each process; without those that do not answer."""
        others = self.calls.others()
        answers = await asyncio.gather(
            self.answer(command, arguments),
            *(self.calls.ask(one, command, arguments, LOOK_SECONDS) for one in others),
            return_exceptions=True,
        )
        if isinstance(answers[0], BaseException):
            raise answers[0]
        numbers = [self.calls.number, *(one.number for one in others)]
        pairs = zip(numbers, answers, strict=True)
        found = [(number, it) for number, it in pairs if not isinstance(it, BaseException)]
        return sorted(found, key=lambda one: one[0] or 0)

    # What this process does, for itself and for other workers.

    async def answer(self, command: str, arguments: Arguments) -> Any:
        """Carry out a command in this process.

        Raises:
            Refused: it cannot be carried out.
        """
        operations = self._operations
        match command:
            case "suspend":
                return operations.suspend(arguments["endpoint"])
            case "resume":
                return await operations.resume(arguments["endpoint"])
            case "drain":
                return await operations.drain(arguments["endpoint"])
            case "disconnect":
                return await operations.disconnect(arguments["endpoint"], arguments["peer"])
            case "disconnect-one":
                return await operations.disconnect_one(arguments["id"])
            case "set-limit":
                return operations.set_limit(
                    arguments["endpoint"], arguments["limit"], arguments["value"]
                )
            case "set-level":
                return operations.set_level(arguments["logger"], arguments["level"])
            case "connections":
                return await operations.connections(ConnectionQuery(**arguments))
            case "inspect":
                return await operations.inspect(arguments["id"])
            case "measures":
                return self._measures()
            case "log":
                return self._platform.records.latest(arguments["count"], arguments["level"])
            case "audit":
                return list(self.audit.entries)
        raise Refused(f"there is no command {command!r}")

    def stream(self, command: str, arguments: Arguments) -> AsyncGenerator[Any]:
        """Carry out a command in this process that has any number of results.

        Raises:
            Refused: it cannot be carried out.
        """
        if command != "stream-tap":
            raise Refused(f"there is no command {command!r}")
        options = {name: value for name, value in arguments.items() if name != "id"}
        return self._operations.tap(arguments["id"], TapOptions(**options))

    def _measures(self) -> dict[str, Any]:
        platform = self._platform
        server = platform.server
        statistics = server.statistics()
        return {
            "memory_bytes": memory_bytes(),
            "loop": platform.loop_delay.histogram.values(),
            "handlers": {
                name: histogram.values() for name, histogram in platform.histograms.items()
            },
            "queues": self._operations.queues(),
            "port": {
                name: getattr(statistics.port, name)
                for name in ("turns", "system_calls", "completions", "buffers_exhausted")
            },
            "threads": {
                name: getattr(statistics.threads, name)
                for name in ("threads", "threads_busy", "calls_waiting", "calls_run")
            },
            "timers": {
                name: getattr(statistics.timers, name)
                for name in ("timers_waiting", "timers_fired", "late_seconds_total")
            },
            "cluster": {} if server.cluster is None else server.cluster.measures(),
        }

    async def _everywhere(
        self,
        command: str,
        arguments: Arguments,
        note: Callable[[Changed], None] | None = None,
    ) -> list[Any]:
        """Carry out a command here, note the change, and have the other processes do it."""
        own = await self.answer(command, arguments)
        if note is not None:
            with self._platform.changes.change() as changed:
                note(changed)
        limit = {"seconds": RESUME_SECONDS} if command == "resume" else {}
        answers = await asyncio.gather(
            *(self.calls.ask(one, command, arguments, **limit) for one in self.calls.others()),
            return_exceptions=True,
        )
        failed = [str(one) for one in answers if isinstance(one, Exception)]
        if failed:
            raise WorkerSilent(f"done, but not everywhere: {'; '.join(failed)}")
        return [own, *answers]

    def _worker_of(self, connection_id: str) -> Colleague | None:
        """The other process that has a connection; None for this one."""
        with contextlib.suppress(ValueError):
            return self.calls.at_slot(slot_in(connection_id))
        return None

    async def _at_its_worker(self, command: str, arguments: Arguments) -> Any:
        worker = self._worker_of(arguments["id"])
        if worker is None:
            return await self.answer(command, arguments)
        return await self.calls.ask(worker, command, arguments)

    async def _audited(
        self, who: Who, what: str, arguments: Arguments, act: Callable[[], Awaitable[T]]
    ) -> T:
        try:
            result = await act()
        except FileError as error:
            self.audit.write(who, what, arguments, f"refused: {'; '.join(error.lines)}")
            raise
        except Refused as error:
            self.audit.write(who, what, arguments, f"refused: {error}")
            raise
        except Exception as error:
            self.audit.write(who, what, arguments, f"failed: {type(error).__name__}: {error}")
            raise
        done = result if isinstance(result, str) else "begun"
        self.audit.write(who, what, arguments, f"ok: {done}")
        return result
