"""What a server knows of one run, from its start to its end."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import threading
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import InitVar, dataclass, field
from typing import TYPE_CHECKING, Any

from vespiary._directory import Directory
from vespiary._first_step import Begins
from vespiary._fork import process
from vespiary.statistics import TopicStatistics
from vespiary.workers._state import SharedState

if TYPE_CHECKING:
    from vespiary._certificates import Watcher
    from vespiary._core import Core, Topics
    from vespiary._server_hooks import Hook
    from vespiary._shutdown import Shutdown
    from vespiary._site import Site

__all__ = ["Life", "topic_statistics"]

_numbers = itertools.count(1)


@dataclass(slots=True, eq=False, weakref_slot=True)
class Life:
    """One run of a server.

    Attributes:
        core: The engine of the loop.
        loop: The loop.
        topics: The server's topics.
        context: The server's own copy of the context in which it was started. `on_start` and
            `on_stop` run in it, and connections get copies of it.
        thread: The thread that runs the loop.
        process: The process that started the server.
        started: The loop's time at the start.
        starting: Whether `on_start` has not returned everywhere.
        accepting: Set when all endpoints of the start accept connections.
        stopping: Whether a stop has been asked for, or the start has failed.
        force: Set when everything must end at once.
        stopped: Set when everything has ended.
        starting_tasks: What awaits the `on_start` of endpoints that were added later.
        hooks: The async `on_start` and `on_stop` that run.
        start_hook: The async `on_start` that is awaited, if one is.
        start_limit: What ends the wait for it, when the server stops meanwhile.
        stopper: The task that stops the server. It belongs to no caller, so the stop continues if a
        caller that waits for it is cancelled. shutdown: How its connections end, once they do.
        shortened: The shortest drain that a further stop has asked for before that. drains: What
        ends the connections of endpoints that were replaced. certificates: What watches the
        certificates of the endpoints. waiting: The program's tasks that wait for the end.
        directory: Its connections that are found by an id.
        state: Who is present in topics, and what it shares with other processes.
        number: Tells its timers from those of other runs in the same loop.
    """

    core: Core
    loop: asyncio.AbstractEventLoop
    topics: Topics
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    thread: int = field(default_factory=threading.get_ident)
    process: int = field(default_factory=process)
    started: float = 0.0
    starting: bool = True
    accepting: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: bool = False
    force: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    starting_tasks: set[asyncio.Task[None]] = field(default_factory=set)
    hooks: set[Hook] = field(default_factory=set)
    start_hook: Hook | None = None
    start_limit: asyncio.Timeout | None = None
    stopper: asyncio.Task[None] | None = None
    shutdown: Shutdown | None = None
    shortened: float | None = None
    drains: set[asyncio.Task[None]] = field(default_factory=set)
    certificates: Watcher | None = None
    waiting: set[asyncio.Task[Any]] = field(default_factory=set)
    directory: Directory = field(default_factory=Directory)
    state: SharedState = field(init=False)
    number: int = field(default_factory=_numbers.__next__)
    members_max: InitVar[int | None] = None

    def __post_init__(self, members_max: int | None) -> None:
        self.started = self.loop.time()
        self.state = SharedState(self.directory.run, self.loop, self.topics, members_max)

    def limit_start(self, seconds: float | None) -> None:
        """Let the `on_start` that is awaited continue for at most `seconds`."""
        limit = self.start_limit
        if limit is None or limit.expired() or seconds is None:
            return
        due = self.loop.time() + seconds
        limit.reschedule(min(due, limit.when() or due))

    def begin_stopper(self, stop: Coroutine[Any, Any, None]) -> None:
        """Run what stops the server in a task, which the end of the loop may cancel too early."""
        self.stopper = self.loop.create_task(Begins(stop))

    def shorten(self, drain_seconds: float) -> None:
        """Let the drain that has been asked for end in so many seconds at most."""
        if self.shutdown is not None:
            self.shutdown.shorten(drain_seconds)
        elif self.shortened is None or drain_seconds < self.shortened:
            self.shortened = drain_seconds

    @property
    def is_here(self) -> bool:
        """Whether the calling thread runs the loop."""
        return threading.get_ident() == self.thread

    @property
    def is_inherited(self) -> bool:
        """Whether this is a forked child of the process in which the server runs."""
        return self.process != process()

    def check_process(self, name: str) -> None:
        """Check that a method was called in the process that started the server.

        Raises:
            RuntimeError: it was called in a forked child.
        """
        if self.is_inherited:
            raise RuntimeError(
                f"{name}() in a forked child: the server belongs to the parent process: "
                "create another Server in the child"
            )

    def check_thread(self, name: str) -> None:
        """Check that a method was called on the loop's thread.

        Raises:
            RuntimeError: it was not, or in a forked child; the text says what to use there.
        """
        self.check_process(name)
        if not self.is_here:
            raise RuntimeError(
                f"{name}() belongs to the thread of the server's loop: from another thread use"
                " server.call_soon_threadsafe(), or server.stop_soon() to stop"
            )

    def check_waits_for_others(self, name: str, sites: Iterable[Site]) -> None:
        """Check that the end of the server does not wait for the current task.

        Raises:
            RuntimeError: it does; the text says what to do instead.
        """
        task = asyncio.current_task()
        if task is None:
            return
        if task in self.hooks:
            raise RuntimeError(
                f"{name}() in on_start or on_stop would wait for itself, because the server "
                "stops after them: remove it, or await it in a task that the hook does not "
                "wait for"
            )
        if any(site.has_task(task) for site in sites):
            raise RuntimeError(
                f"{name}() in a handler would wait for itself, because the server stops after "
                "its handlers: await it in the program that runs the server"
            )

    @contextmanager
    def wait(self) -> Iterator[None]:
        """Note that the current task waits for the end; one that is cancelled waits no more."""
        task = asyncio.current_task()
        if task is None:
            yield
            return
        self.waiting.add(task)
        try:
            yield
        except BaseException:
            self.waiting.discard(task)
            raise


def topic_statistics(life: Life) -> TopicStatistics:
    """What has happened with the topics of a server, and who is present."""
    presence = life.state.presence
    return TopicStatistics(
        **life.topics.statistics(),
        members=presence.own_count,
        members_elsewhere=presence.others_count,
        members_lost=life.state.lost,
    )
