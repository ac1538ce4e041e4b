"""Calls from one worker to another: an operator's request reaches one worker, and concerns all.

Each worker listens on a Unix socket in the abstract namespace (unix(7)), which has no file, and
ends with its process. The name contains a secret that was made before the first fork, and each call
begins with another one, so that only workers of the same server are answered.

A call and each answer is a JSON object in one line. The last answer has the key `result`, or says
that the command was refused or has failed. A stream of answers, such as a tap, has any number of
lines with the key `item` before that, and ends when the caller closes the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vespiary.errors import ConfigurationError
from vespiary.workers._board import State, Word

if TYPE_CHECKING:
    from vespiary.server import Server

__all__ = ["LOOK_SECONDS", "RESUME_SECONDS", "Colleague", "Refused", "WorkerCalls", "WorkerSilent"]

logger = logging.getLogger("vespiary.wasp")

_LINE_BYTES_MAX = 64 << 20
"""An answer with 10,000 connections has 5 MB."""
_SECONDS = 10.0
"""How long a worker has to answer: its loop may be busy, but not for longer than that."""
LOOK_SECONDS = 2.0
"""The same for what is looked at only: the dashboard and Prometheus show the others meanwhile."""
RESUME_SECONDS = 50.0
"""The same for the resumption of an endpoint, which waits until its connections have drained."""

Answer = Callable[[str, dict[str, Any]], Awaitable[Any]]
Stream = Callable[[str, dict[str, Any]], AsyncIterator[Any]]


class Refused(ConfigurationError):
    """An operator's command cannot be carried out; the text says why."""


class WorkerSilent(Exception):
    """A worker did not answer; the text says which one."""


@dataclass(frozen=True, slots=True)
class Colleague:
    """Another process that serves.

    Attributes:
        number: The number of its worker, from 1.
        process: Its process.
    """

    number: int
    process: int

    def __str__(self) -> str:
        return f"worker {self.number} (process {self.process})"


class WorkerCalls:
    """Answers the calls of other workers, and calls them; without workers there are none.

    It is made before the first fork.
    """

    def __init__(self) -> None:
        self._name = secrets.token_hex(16)
        self._secret = secrets.token_hex(32)
        self._server: Server | None = None
        self._listening: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, server: Server, answer: Answer, stream: Stream) -> None:
        """Answer calls from now on, in a worker.

        Args:
            server: The server of this process.
            answer: Carries out a command, and returns its result.
            stream: The same for a command with any number of results.
        """
        self._server = server
        if server._worker is None:
            return

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._answer(reader, writer, answer, stream)
            writer.close()

        path = self._path(os.getpid())
        self._listening = await asyncio.start_unix_server(accept, path, limit=_LINE_BYTES_MAX)

    def stop(self) -> None:
        """Answer no more calls."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        for task in self._tasks:
            task.cancel()

    @property
    def number(self) -> int | None:
        """The number of this worker; None without workers."""
        return None if self._server is None else self._server.worker

    def others(self) -> list[Colleague]:
        """The other processes that serve, or drain."""
        worker = None if self._server is None else self._server._worker
        if worker is None:
            return []
        found = [
            Colleague(slot[Word.WORKER], slot[Word.PROCESS])
            for slot in worker.board.slots
            if slot.index != worker.slot.index and slot[Word.STATE] != State.FREE
        ]
        return sorted((one for one in found if one.process), key=lambda one: one.number)

    def at_slot(self, index: int) -> Colleague | None:
        """The process that has a slot of the board; None if it is this one, or none has it."""
        worker = None if self._server is None else self._server._worker
        if worker is None or index == worker.slot.index or index >= len(worker.board.slots):
            return None
        slot = worker.board.slots[index]
        is_there = slot[Word.STATE] != State.FREE and slot[Word.PROCESS]
        return Colleague(slot[Word.WORKER], slot[Word.PROCESS]) if is_there else None

    async def ask(
        self, other: Colleague, command: str, arguments: dict[str, Any], seconds: float = _SECONDS
    ) -> Any:
        """Let another worker carry out a command, and return the result within `seconds`.

        Raises:
            Refused: the command cannot be carried out there.
            WorkerSilent: it does not answer.
        """
        try:
            async with asyncio.timeout(seconds):
                async with contextlib.aclosing(self.stream(other, command, arguments)) as answers:
                    async for answer in answers:
                        return answer
        except TimeoutError:
            raise WorkerSilent(f"{other} did not answer within {seconds:g} s") from None
        return None

    async def stream(
        self, other: Colleague, command: str, arguments: dict[str, Any]
    ) -> AsyncGenerator[Any]:
        """Let another worker carry out a command, and iterate over its results.

        Raises:
            Refused: the command cannot be carried out there.
            WorkerSilent: the connection to it cannot be made, or breaks.
        """
        call = {"secret": self._secret, "command": command, "arguments": arguments}
        try:
            path = self._path(other.process)
            reader, writer = await asyncio.open_unix_connection(path, limit=_LINE_BYTES_MAX)
        except OSError as error:
            raise WorkerSilent(f"{other} cannot be reached: {error.strerror}") from None
        try:
            writer.write(json.dumps(call).encode() + b"\n")
            while line := await reader.readline():
                answer = json.loads(line)
                if "refused" in answer:
                    raise Refused(answer["refused"], subject=command)
                if "failed" in answer:
                    raise WorkerSilent(f"{other}: {answer['failed']}")
                if "item" not in answer:
                    if answer["result"] is not None:
                        yield answer["result"]
                    return
                yield answer["item"]
            raise WorkerSilent(f"{other} has ended the connection")
        except ConnectionError as error:
            raise WorkerSilent(f"{other} has ended: {error.strerror}") from None
        finally:
            writer.close()

    async def _answer(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answer: Answer,
        stream: Stream,
    ) -> None:
        async with asyncio.timeout(_SECONDS):
            call = json.loads(await reader.readuntil(b"\n"))
        if not hmac.compare_digest(str(call.get("secret")), self._secret):
            return
        command, arguments = call["command"], call["arguments"]
        try:
            if command.startswith("stream-"):
                await _stream_until_end(stream(command, arguments), reader, writer)
                last: dict[str, Any] = {"result": None}
            else:
                last = {"result": await answer(command, arguments)}
        except Refused as error:
            last = {"refused": str(error)}
        except ConnectionError:
            raise
        except Exception as error:
            logger.exception("The command %s of another worker failed", command)
            last = {"failed": f"{type(error).__name__}: {error}"}
        writer.write(json.dumps(last).encode() + b"\n")
        await writer.drain()

    def _path(self, process: int) -> str:
        return f"\0vespiary-{self._name}-{process}"


async def _stream_until_end(
    items: AsyncIterator[Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Send items until there are no more, or until the caller has closed the connection."""

    async def send() -> None:
        async for item in items:
            writer.write(json.dumps({"item": item}).encode() + b"\n")
            await writer.drain()

    sending, ended = asyncio.ensure_future(send()), asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait((sending, ended), return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended.cancel()
        if not sending.done():
            sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending
