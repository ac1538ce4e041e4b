"""A server: endpoints, one life from start to shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import operator
from collections.abc import Callable, Sequence
from functools import reduce
from typing import TYPE_CHECKING, ParamSpec, Self, Unpack
from weakref import WeakSet

from vespiary._callbacks import check_callback
from vespiary._certificates import join_watcher, watch
from vespiary._core import copy_counters
from vespiary._directory import Directory, run_in, slot_in
from vespiary._first_step import Begins
from vespiary._life import Life, topic_statistics
from vespiary._listening import ListeningAddress, place, remove
from vespiary._option_checks import check_values
from vespiary._seconds import check_seconds
from vespiary._server_hooks import (
    begin_hook,
    cancel_start,
    end_hooks,
    end_loop,
    is_of_run,
    is_within,
    mark_handlers,
    settled,
    start_handler,
    stop_handlers,
)
from vespiary._shutdown import Shutdown
from vespiary._signals import Signals, join_signals
from vespiary._site import Site
from vespiary._slow_hooks import timed_callback
from vespiary.endpoint import Endpoint
from vespiary.errors import ConfigurationError, ConnectionClosed
from vespiary.handler import AnyHandler
from vespiary.loop import run, running_core
from vespiary.presence import Member, check_member
from vespiary.server_options import ServerOptions
from vespiary.statistics import (
    PortStatistics,
    ServerStatistics,
    ThreadStatistics,
    TimerStatistics,
    TopicStatistics,
    WorkerStatistics,
)
from vespiary.trace import requires
from vespiary.workers._backplane import Addressed, Published, Stated
from vespiary.workers._options import Workers, as_workers
from vespiary.workers._processes import check_fork
from vespiary.workers._supervisor import Supervisor

if TYPE_CHECKING:
    from vespiary._core import Connection, DatagramSocket, Timer
    from vespiary.workers._backplane import Cluster
    from vespiary.workers._worker import Worker

__all__ = ["Server", "ServerOptions"]

P = ParamSpec("P")

logger = logging.getLogger("vespiary")


class Server:
    """A server with one or more endpoints. It runs in any asyncio loop.

    ::

        async def main():
            server = vespiary.Server()
            server.add(Chat(), "ws://127.0.0.1:9001/rooms/{room}")
            server.add(page, "http://127.0.0.1:9001/")
            server.add(lines, "tcp://127.0.0.1:5050", framing="line")
            async with server:
                await server.wait_stopped()

        vespiary.run(main())

    If the program does nothing else, use `server.run()`. Both use Vespiary's own loop. With
    `asyncio.run` or uvloop, the server runs in that loop.

    SIGTERM and SIGINT stop the server gracefully (see `stop`), and a second signal stops it at
    once. A signal stops all servers of a loop. When they have stopped, the previous signal handlers
    are restored. If the program does not wait for the end of a server (in `wait_stopped`, `stop`,
    or at the end of the `async with`), the signal is then raised again: after SIGINT, `asyncio.run`
    cancels its main task and raises KeyboardInterrupt; SIGTERM ends the process.

    `stop`, or the end of the `async with` block, closes all listeners and connections, and ends all
    tasks of the server.

    Args:
        signals: Whether SIGTERM and SIGINT stop the server, with `run` and `async with`. With
            False, the program handles signals itself.
        retained_messages_max: Topics that retain a message (see `publish`); None for no limit.
            10,000: more than a program publishes states of; names that clients choose are not kept
            without end.
        retained_bytes_max: Bytes of all retained messages and their topics; None for no limit. 64
            MiB: 6 KiB for each of 10,000 messages.
        members_max: Connections that are present in topics (see `enter`), those of other workers
            and machines included; None for no limit. 100,000: about 30 MiB in each process.
    """

    _contains_exits = False
    """Whether a SystemExit in a worker process ends that one only, and not the server."""

    def __init__(
        self,
        *,
        signals: bool = True,
        retained_messages_max: int | None = 10_000,
        retained_bytes_max: int | None = 64 << 20,
        members_max: int | None = 100_000,
    ) -> None:
        """Create a server without endpoints. Then call `add` for each endpoint, and start it."""
        check_values(
            signals=signals,
            retained_messages_max=retained_messages_max,
            retained_bytes_max=retained_bytes_max,
            members_max=members_max,
        )
        self._members_max = members_max
        self._retained_max = retained_messages_max, retained_bytes_max
        self._sites: list[Site] = []
        self._addresses: list[ListeningAddress] = []
        self._added_by_run: list[Site] = []
        self._life: Life | None = None
        self._ended_port: PortStatistics | None = None
        self._ended_topics = TopicStatistics()
        self._ended_timers = TimerStatistics()
        self._wants_signals = signals
        self._signals: Signals | None = None
        self._own_loops: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
        self._supervisor: Supervisor | None = None
        self._worker: Worker | None = None
        self._cluster: Cluster | None = None
        self._is_handed_over = False
        self._ended_workers: tuple[WorkerStatistics, ...] = ()

    def add(
        self,
        handler: AnyHandler,
        url: str,
        **options: Unpack[ServerOptions],
    ) -> Endpoint:
        """Add an endpoint, before the start or while the server runs.

        Several `ws://` and `http://` endpoints can share a host and port. The path and `host=`
        decide which of them serves a request (see `vespiary.routing`).

        On a running server, an async `on_start` runs in a task. Until it has returned, no
        connection is accepted; if other endpoints use the same address, requests for this endpoint
        are answered with 503. If `on_start` fails, the endpoint is removed. Endpoints that hooks
        and handlers add are removed when the server stops.

        Args:
            handler: A `Handler`, a subclass of it, or an async function that takes a connection, or
                on `udp://` and `unixgram://` a datagram. `ASGI` and `WSGI` make applications into
                handlers.
            url: `tcp://`, `unix:///path`, `ws://`, `http://`, `ws+unix:///path:/target` or
                `http+unix:///path:/target`; with TLS `tls://`, `wss://`, `https://`; for datagrams
                `udp://`, `unixgram:///path`. With port 0, the kernel chooses a port.
            options: See `vespiary.ServerOptions`.

        Raises:
            ConfigurationError: the handler, the URL or an option is not valid, or the endpoint
                conflicts with another one.
            OSError: a running server cannot listen there.
            RuntimeError: the server runs in another thread, or the other workers of this server
                would listen there too.
        """
        site = Site.make(handler, url, options)
        life = self._current()
        self._check_shared(site)
        if life is None:
            self._forget_added()
        elif is_of_run(life):
            self._added_by_run.append(site)
        if life is None or life.starting:
            place(self._addresses, site)
            self._sites.append(site)
            return site.endpoint
        life.check_thread("add")
        if life.stopping:
            raise RuntimeError(
                "add() cannot be called while the server stops: add endpoints before the "
                "start, or while it runs"
            )
        address = place(self._addresses, site)
        try:
            address.open_for(site, life)
            self._start_handler(life, address, site)
            if site.tls is not None:
                watch(site.tls)
        except BaseException:
            remove(self._addresses, site)
            raise
        self._sites.append(site)
        return site.endpoint

    def _check_shared(self, site: Site) -> None:
        is_own = site.endpoint.port == 0 and not site.endpoint.is_unix
        names = ("sock", "fd", "reuse_port")
        if self._worker is None or is_own or any(site.options.get(name) for name in names):
            return
        raise RuntimeError(
            f"a worker cannot add {site.url}, because the other workers would listen there too: add"
            " it before run(), or with reuse_port=True in each worker"
        )

    def _forget_added(self) -> None:
        """Remove the endpoints that the latest run's own hooks and handlers have added."""
        for site in self._added_by_run:
            if remove(self._addresses, site):
                self._sites.remove(site)
        self._added_by_run.clear()

    def _start_handler(self, life: Life, address: ListeningAddress, site: Site) -> None:
        """Call `on_start` for an endpoint of a running server, and accept then."""
        known = [other for other in self._sites if other.handler is site.handler]
        hook = known[0].on_start if known else begin_hook(life, site, "on_start", self)

        def serve() -> None:
            site.begin()
            address.resume()
            logger.info("Serving %s", site.url)

        if hook is None:
            serve()
            return
        site.wait_for(hook, life)

        async def begin() -> None:
            try:
                await settled(hook)
            except BaseException as error:
                is_fatal = isinstance(error, KeyboardInterrupt | SystemExit)
                if is_fatal:
                    end_loop(life.loop, error)
                elif life.stopping:
                    raise
                else:
                    logger.exception("on_start failed, endpoint removed: %s", site.url)
                if not life.stopping:
                    remove(self._addresses, site)
                    self._sites.remove(site)
            else:
                if not life.stopping:
                    serve()

        task = life.loop.create_task(Begins(begin()))
        life.starting_tasks.add(task)
        task.add_done_callback(life.starting_tasks.discard)

    @property
    def urls(self) -> list[str]:
        """The URLs of the endpoints. After the start, port 0 is replaced by the port in use."""
        return [site.url for site in self._sites]

    @property
    def datagram_sockets(self) -> list[DatagramSocket]:
        """The sockets of the datagram endpoints, to send datagrams that are not replies.

        You can use the sockets from `on_start` until the server stops. An endpoint has one socket
        per address of its host name.
        """
        self._current()
        return [one for address in self._addresses for one in address.datagram_sockets]

    async def start(self) -> None:
        """Listen on all endpoints, await each `on_start`, and then accept connections.

        If the start fails, all listeners are closed, and `on_stop` is called for the handlers that
        have started. If the server is stopped during the start, for example in `on_start`, the same
        happens, and `start` returns. A running `on_start` is cancelled at once, unless it stops the
        server itself. It then has `drain_seconds` to return.

        Raises:
            OSError: the address of an endpoint cannot be bound.
            RuntimeError: the server runs already, or no loop runs in this thread.
            Exception: what `on_start` raised.
        """
        running = self._current()
        if running is not None:
            running.check_thread("start")
            raise RuntimeError(
                "the server runs already: stop it before you start it again, or make another Server"
            )
        self._forget_added()
        if not self._sites:
            logger.warning("The server has no endpoints, so it serves nothing: see Server.add")
        self._ended_workers = ()
        core, loop = running_core(), asyncio.get_running_loop()
        run = None if self._cluster is None else self._cluster.begin_run()
        topics = core.topics(*self._retained_max)
        life = Life(core, loop, topics, directory=Directory(run), members_max=self._members_max)
        self._life = life
        certificates = [site.tls for site in self._sites if site.tls is not None]
        life.certificates = join_watcher(certificates, signals=self._wants_signals)
        started: list[Site] = []
        try:
            await self._start(life, started)
        finally:
            if life.starting:
                life.stopping = True
                life.begin_stopper(self._stop_handlers(life, started[::-1]))
                await life.stopped.wait()

    async def _start(self, life: Life, started: list[Site]) -> None:
        for address in self._addresses:
            address.open(life)
        # An on_start may add endpoints.
        for site in self._sites:
            if any(other.handler is site.handler for other in started):
                continue
            if await start_handler(life, site, self):
                started.append(site)
            if life.stopping:
                return
        for address in self._addresses:
            if not address.listeners:
                address.open(life)
            for site in address.sites:
                if site.native is None:
                    address.open_for(site, life)
        mark_handlers(life)
        life.starting = False
        for address in self._addresses:
            address.resume()
            if self._worker is None:
                address.log()
        life.accepting.set()

    async def _wait_accepting(self) -> None:
        """Wait until the endpoints accept connections."""
        if self._life is not None:
            await self._life.accepting.wait()

    async def stop(self, drain_seconds: float | None = None) -> None:
        """Stop gracefully: accept no more connections, let connections finish, and end all tasks.

        If the handler has `on_shutdown`, it is called for each connection, which may then end by
        itself. An async function gets the messages that were already received, and then its `async
        for` ends. All other connections are closed when their queued messages are sent, on
        WebSocket with 1001. Work in progress continues. Shortly before the end of `drain_seconds`,
        the remaining connections are closed with 1001, and their tasks are cancelled. After
        `drain_seconds` they are reset. At the end, `on_stop` is called. Each step is logged.

        If the task that awaits `stop` is cancelled, the stop continues. Further calls wait for the
        same end. In the server's own handlers, in `on_start` and `on_stop`, and in tasks that they
        create, `stop` only begins the stop and returns, because the server waits for them. In a
        forked child process it does nothing, because the server belongs to the parent.

        Args:
            drain_seconds: How long connections may take to finish; default: `drain_seconds` of each
                endpoint. A further call may shorten this time.

        Raises:
            ConfigurationError: `drain_seconds` is not a valid number of seconds.
            RuntimeError: the server runs in another thread.
        """
        drain_seconds = check_seconds("drain_seconds", drain_seconds)
        life = self._current()
        if life is None or life.is_inherited:
            return
        life.check_thread("stop")
        self._begin_stop(life, drain_seconds)
        if not is_within(life):
            with life.wait():
                await life.stopped.wait()

    def _begin_stop(self, life: Life, drain_seconds: float | None) -> None:
        if self._worker is not None:
            self._worker.stop_began(drain_seconds)
        if life.starting:
            if not life.stopping and drain_seconds is None:
                known = [site.deadlines.drain_seconds for site in self._sites]
                drain_seconds = min((one for one in known if one is not None), default=None)
            life.limit_start(drain_seconds)
            cancel_start(life)
        elif life.stopper is None:
            life.begin_stopper(self._stop(life, drain_seconds))
        elif drain_seconds is not None:
            life.shorten(drain_seconds)
        life.stopping = True

    async def _stop(self, life: Life, drain_seconds: float | None) -> None:
        try:
            for address in self._addresses:
                address.close()
            for hook in life.hooks:
                hook.cancel()
            requires("rfc6455/7.4.1/h7")
            fronts = [front for address in self._addresses for front in address.removed_front]
            life.shutdown = Shutdown(
                self._sites + fronts,
                drain_seconds,
                life.force,
                addresses=self._addresses,
                is_handed_over=self._is_handed_over,
            )
            if life.shortened is not None:
                life.shutdown.shorten(life.shortened)
            await life.shutdown.run()
            if life.drains:
                await asyncio.wait(life.drains)
            await end_hooks(life.hooks, life.starting_tasks)
        finally:
            await self._stop_handlers(life, self._sites)

    async def _stop_handlers(self, life: Life, sites: Sequence[Site]) -> None:
        """Call `on_stop`, and give every address back; whatever happens, the run has ended."""
        try:
            fatal = await stop_handlers(life, sites, self)
            await self._close_addresses()
            if fatal is not None:
                end_loop(life.loop, fatal)
        finally:
            for address in self._addresses:
                address.release()
            self._life = None
            life.stopped.set()
            life.state.stop()
            if life.certificates is not None:
                life.certificates.leave()
            self._leave_signals(is_awaited=life.loop in self._own_loops or bool(life.waiting))
            life.core.cancel_timers(life.number)
            self._ended_port = PortStatistics(**life.core.port_statistics())
            self._ended_topics = topic_statistics(life)
            self._ended_timers = TimerStatistics(**life.core.timer_statistics())
            life.topics.end()

    def _leave_signals(self, *, is_awaited: bool) -> None:
        if self._signals is not None:
            self._signals.leave(self, is_awaited=is_awaited)
            self._signals = None

    def stop_soon(self) -> None:
        """Begin a graceful stop, and return. A second call stops the server at once.

        With workers, all of them stop, wherever this is called. May be called from any thread. If
        the loop of the server is closed, it does nothing.
        """
        if self._supervisor is not None:
            self._supervisor.stop_soon()
            return
        life = self._current()
        if life is None or life.is_inherited:
            return
        if not life.is_here:
            # The loop may be closed by now.
            with contextlib.suppress(RuntimeError):
                life.loop.call_soon_threadsafe(self.stop_soon)
        elif life.stopping:
            life.force.set()
            life.limit_start(0)
        else:
            self._begin_stop(life, None)

    async def wait_stopped(self) -> None:
        """Wait until the server has stopped.

        Raises:
            RuntimeError: the server runs in another thread; or this is one of the server's own
                handlers, which the stop waits for.
        """
        life = self._current()
        if life is not None:
            life.check_thread("wait_stopped")
            life.check_waits_for_others("wait_stopped", self._sites)
            with life.wait():
                await life.stopped.wait()

    def call_soon_threadsafe(
        self, callback: Callable[P, object], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Call a function on the loop's thread. May be called from any thread.

        The call is queued, and this method returns at once.

        Raises:
            TypeError: `callback` is not callable, or is an async function.
            RuntimeError: the server is not running, or this is a forked child of its process.
        """
        check_callback("call_soon_threadsafe", callback)
        self._running("call_soon_threadsafe").loop.call_soon_threadsafe(
            lambda: callback(*args, **kwargs)
        )

    def publish(
        self,
        topic: str,
        message: bytes | str,
        *,
        exclude: Connection | None = None,
        compress: bool | None = None,
        retain: bool = False,
    ) -> int:
        """Send a message to each of the server's connections that is subscribed to a topic.

        A connection gets the message once, even if it is subscribed to the topic and to patterns
        that match the topic.

        With workers, the connections of all of them get it: of one worker's messages in the order
        in which they were published. Those of other workers are not in the result. With a cluster
        (`vespiary run`), connections on other machines get it too.

        The message is encoded once for all subscribers, and compressed once for all that use the
        same parameters without context takeover. If the write queue of a subscriber is full, its
        endpoint's policy for slow consumers applies; other subscribers are not delayed. A topic
        belongs to one server, even if several servers run in the same loop.

        Args:
            topic: The name of the topic.
            message: Text or bytes, as for `Connection.send`.
            exclude: A connection that does not get the message, such as the sender's own.
            compress: As for `Connection.send`.
            retain: Whether the topic keeps the message, instead of an earlier one, and sends it to
                each connection that subscribes later.

        Returns:
            The number of subscribers for which the message was queued.

        Raises:
            RuntimeError: the server is not running.
            SendRefused: the framing of a subscriber cannot carry the message, or a limit does not
                allow the topic to retain it. No subscriber gets the message.
            MemoryError: there is not enough memory. Some subscribers may have got the message.
        """
        life = self._running("publish")
        taken = life.topics.publish(topic, message, exclude, compress, retain)
        if self._worker is not None or self._cluster is not None:
            text = message if isinstance(message, str) else bytes(message)
            self._publish_to_workers(life, Published(topic, text, compress, retain))
        return taken

    def _publish_to_workers(self, life: Life, published: Published) -> None:
        if self._worker is None and self._cluster is None:
            return
        if not life.is_here:
            life.loop.call_soon_threadsafe(self._publish_to_workers, life, published)
            return
        if published.retain or published.message is None:
            stamp = life.state.retain(*published[:3])
            published = published._replace(retain=published.retain and bool(stamp), stamp=stamp)
        if self._worker is not None and self._worker.backplane is not None:
            self._worker.backplane.publish(published)
        if self._cluster is not None:
            self._cluster.publish(published)

    def _share_state(self) -> None:
        """Share with other processes who is present, and what topics retain."""
        life, cluster = self._running("run"), self._cluster

        def send(stated: Stated) -> None:
            process = stated.process
            if cluster is not None and not (process and process.startswith(cluster.node)):
                cluster.state(stated)
            if self._worker is not None and self._worker.backplane is not None:
                self._worker.backplane.publish(stated)

        def is_away(process: str) -> bool:
            if cluster is None or process.startswith(cluster.node):
                return False
            return not cluster.is_connected

        life.state.connect(send, is_away)

    def connection_id(self, connection: Connection) -> str:
        """Return an id by which `send_to` finds a connection of this server, in any worker.

        It is a short text that you can keep in a database, for example. No other connection ever
        has the same.

        Raises:
            RuntimeError: the server is not running.
        """
        life = self._running("connection_id")
        return life.directory.id_of(connection, self._slot_index)

    def send_to(
        self, connection_id: str, message: bytes | str, *, compress: bool | None = None
    ) -> bool:
        """Send a message to the connection with this id, in any worker or on any machine.

        The messages that one worker sends to a connection arrive in their order. A message for a
        connection of another worker goes there as published messages do: it is dropped if that
        worker does not take them (see `Workers.backplane_bytes_max`), or if the connection has
        ended or its write queue is full.

        Args:
            connection_id: What `connection_id` has returned, in this worker or another.
            message: Text or bytes, as for `Connection.send`.
            compress: As for `Connection.send`.

        Returns:
            False if this worker knows that the connection has ended, because it had the connection
            itself, or because the worker that had it no longer runs.

        Raises:
            RuntimeError: the server is not running.
            ValueError: `connection_id` is not an id.
            WriteQueueFull, SendRefused, TypeError: as for `Connection.send`, if the connection is
                one of this worker.
        """
        life = self._running("send_to")
        slot = slot_in(connection_id)
        connection = life.directory.find(connection_id)
        if connection is not None:
            try:
                connection.send(message, compress=compress)
            except ConnectionClosed:
                return False
            return True
        text = message if isinstance(message, str) else bytes(memoryview(message))
        cluster, run = self._cluster, run_in(connection_id)
        if cluster is not None and not run.startswith(cluster.node):
            addressed = Addressed(connection_id, text, compress)
            if life.is_here:
                return cluster.send(run, addressed)
            life.loop.call_soon_threadsafe(cluster.send, run, addressed)
            return True
        if self._worker is None or slot == self._slot_index:
            return False
        return self._pass_on(life, slot, Addressed(connection_id, text, compress))

    def _pass_on(self, life: Life, slot: int, addressed: Addressed) -> bool:
        backplane = self._worker.backplane if self._worker is not None else None
        if backplane is None or not backplane.reaches(slot):
            return False
        if life.is_here:
            backplane.send(slot, addressed)
        else:
            life.loop.call_soon_threadsafe(backplane.send, slot, addressed)
        return True

    @property
    def _slot_index(self) -> int:
        """Where other workers find this process."""
        return self._worker.slot.index if self._worker is not None else 0

    def subscribers(self, topic: str) -> int:
        """Return how many of the server's connections get the messages of a topic.

        With workers, only the connections of this one are counted.

        Raises:
            RuntimeError: the server is not running.
        """
        return self._running("subscribers").topics.subscribers(topic)

    def subscribed_connections(self, topic: str) -> list[Connection]:
        """Return the connections that get the messages of a topic, by its name or a pattern.

        Raises:
            RuntimeError: the server is not running.
        """
        return self._running("subscribed_connections").topics.subscribed(topic)

    def enter(self, connection: Connection, topic: str, info: str = "") -> bool:
        """Make a connection present in a topic, for `presence` in all workers and machines.

        It is present until `leave`, or until it ends. It need not be subscribed to the topic. A
        second call changes `info`. Other processes see a change after about 0.1 seconds.

        Args:
            connection: A connection of this server.
            topic: The name of the topic, of at most 256 bytes.
            info: What `presence` returns with it, such as a name; at most 1,024 bytes.

        Returns:
            False if the connection is closing or has ended.

        Raises:
            RuntimeError: the server is not running.
            SendRefused: `members_max` connections are present already.
            TypeError, ValueError: an argument is not of the right type, or is too long.
        """
        life = self._running("enter")
        check_member("enter", topic, info)
        name = life.directory.id_of(connection, self._slot_index)
        if not connection.is_open:
            return False
        life.state.presence.enter(connection, name, topic, info)
        if life.is_here:
            life.state.run()
        else:
            life.loop.call_soon_threadsafe(life.state.run)
        return True

    def leave(self, connection: Connection, topic: str) -> bool:
        """Make a connection no longer present in a topic. Returns False if it was not.

        Raises:
            RuntimeError: the server is not running.
            TypeError, ValueError: `topic` is not a topic.
        """
        check_member("leave", topic)
        return self._running("leave").state.presence.leave(connection, topic)

    def presence(self, topic: str) -> list[Member]:
        """Return who is present in a topic: in this process, other workers, and other machines.

        Connections of another process are known about 0.1 seconds after they have entered. If that
        process ends or cannot be reached, they are removed after four to five seconds.

        Raises:
            RuntimeError: the server is not running.
            TypeError, ValueError: `topic` is not a topic.
        """
        check_member("presence", topic)
        return self._running("presence").state.presence.members(topic)

    def retained(self, topic: str) -> bytes | str | None:
        """Return the message that a topic retains; None if it retains none.

        Raises:
            RuntimeError: the server is not running.
        """
        return self._running("retained").topics.retained(topic)

    def discard_retained(self, topic: str) -> bool:
        """Discard the message that a topic retains. Returns False if there was none.

        Raises:
            RuntimeError: the server is not running.
        """
        life = self._running("discard_retained")
        is_discarded = life.topics.discard_retained(topic)
        self._publish_to_workers(life, Published(topic, None))
        return is_discarded

    def set_timer(
        self, seconds: float, callback: Callable[[], object], *, repeat: bool = False
    ) -> Timer:
        """Call `callback()` once after this many seconds, unless the server stops first.

        With `repeat=True` it is called every `seconds`, in step with the first call: one that is
        late does not delay the next, and calls that are missed because the loop was busy are
        skipped. An exception is logged, and the timer continues.

        Raises:
            RuntimeError: the server is not running.
            ValueError: `seconds` is not from 0 to 1e9, or not from 0.001 with `repeat`.
            TypeError: `callback` is not callable, or is an async function.
        """
        life = self._running("set_timer")
        called = timed_callback(callback, life.loop)
        return life.core.set_timer(seconds, called, repeat, life.number)

    def statistics(self) -> ServerStatistics:
        """Return the statistics since the start, or those of the latest run.

        With workers, those of all of them together.
        """
        life, port, topics = self._current(), self._ended_port, self._ended_topics
        timers = self._ended_timers
        if life is not None:
            port = PortStatistics(**life.core.port_statistics())
            topics = topic_statistics(life)
            timers = TimerStatistics(**life.core.timer_statistics())
        workers = self._worker_statistics(life)
        own = self._sites[len(workers[0].endpoints) :] if workers else self._sites
        together = zip(*(worker.endpoints for worker in workers), strict=True)
        return ServerStatistics(
            port=port or PortStatistics(),
            endpoints=(
                *(reduce(operator.add, endpoints) for endpoints in together),
                *(site.statistics() for site in own),
            ),
            topics=topics,
            timers=timers,
            threads=sum(
                (site.threads.statistics() for site in self._sites if site.threads is not None),
                start=ThreadStatistics(),
            ),
            running_seconds=life.loop.time() - life.started if life is not None else 0.0,
            workers=workers,
        )

    def _worker_statistics(self, life: Life | None) -> tuple[WorkerStatistics, ...]:
        if self._worker is not None:
            if life is not None and life.is_here:
                copy_counters(life.core)
            return self._worker.board.statistics()
        if self._supervisor is not None:
            return self._supervisor.board.statistics()
        return self._ended_workers

    @property
    def worker(self) -> int | None:
        """The number of the worker that this process is, from 1; None without workers."""
        return self._worker.number if self._worker is not None else None

    def _enter_worker(self, worker: Worker) -> None:
        """Be the server of a worker process from now on."""
        self._worker, self._supervisor = worker, None
        for address in self._addresses:
            address.enter_worker()

    async def __aenter__(self) -> Self:
        """Start the server (see `start`). From now on, even during the start, signals stop it."""
        if self._wants_signals and self._worker is None and self._current() is None:
            self._signals = join_signals(self)
        try:
            await self.start()
        except BaseException:
            if self._life is None:
                self._leave_signals(is_awaited=False)
            raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Stop the server gracefully: see `stop`."""
        await self.stop()

    def _current(self) -> Life | None:
        """Return the run; None where there is none, or where its loop was closed without a stop."""
        life = self._life
        if life is not None and life.loop.is_closed():
            for address in self._addresses:
                address.forget()
            # In a forked child the statistics cannot be read.
            with contextlib.suppress(RuntimeError):
                self._ended_port = PortStatistics(**life.core.port_statistics())
                self._ended_topics = topic_statistics(life)
                self._ended_timers = TimerStatistics(**life.core.timer_statistics())
            self._life = None
        return self._life

    def _running(self, name: str) -> Life:
        if self._life is None:
            raise RuntimeError(f"the server does not run: {name}() needs `async with server` first")
        self._life.check_process(name)
        return self._life

    async def _close_addresses(self) -> None:
        for address in self._addresses:
            address.close()
        # A socket is closed in the next turn of the loop.
        while not all(address.is_closed for address in self._addresses):  # noqa: ASYNC110
            await asyncio.sleep(0)

    def run(
        self,
        *,
        driver: str | None = None,
        spin_microseconds: int = 0,
        on_serving: Callable[[Sequence[str]], object] | None = None,
        workers: Workers | int | None = None,
    ) -> None:
        """Run in Vespiary's own loop until the server is stopped.

        If logging is not configured, log lines are written to standard error. If a signal arrives
        during the start, the server does not start, and `run` returns.

        Args:
            driver: `uring` or `epoll`. Default: `uring` where the kernel allows it, else `epoll`.
            spin_microseconds: See `vespiary.loop.Loop`.
            on_serving: Called with the URLs of the endpoints when all of them are listening.
            workers: In how many processes, or a `Workers`. They are forked from this one, which
                supervises them: see "Several processes" in the documentation. Default: in this
                process alone.

        Raises:
            ConfigurationError: there are no endpoints, or an argument is not valid.
            OSError: the address of an endpoint cannot be bound.
            WorkerFailed: a worker could not start.
            RuntimeError: workers cannot be forked, because threads or loops are there already.
            Exception: what `on_start` raised.
        """
        check_values(driver=driver, spin_microseconds=spin_microseconds, on_serving=on_serving)
        settings = as_workers(workers)
        if not self._sites:
            raise ConfigurationError(
                'a server needs an endpoint to run: server.add(handler, "ws://127.0.0.1:9001")'
            )
        if not logging.getLogger().handlers and not logger.handlers:
            process = "" if settings is None else " %(processName)s"
            form = f"%(asctime)s %(levelname)s{process} %(message)s"
            logging.basicConfig(level=logging.INFO, format=form)
        if settings is not None:
            self._supervise(settings, driver, spin_microseconds, on_serving)
            return

        async def main() -> None:
            self._own_loops.add(asyncio.get_running_loop())
            logger.info("%s", running_core().choice)
            async with self:
                if on_serving is not None and self._life is not None:
                    on_serving(self.urls)
                await self.wait_stopped()

        run(main(), driver=driver, spin_microseconds=spin_microseconds)

    def _supervise(
        self,
        settings: Workers,
        driver: str | None,
        spin_microseconds: int,
        on_serving: Callable[[Sequence[str]], object] | None,
    ) -> None:
        for site in self._sites:
            if site.options.get("connections"):
                raise ConfigurationError(
                    f"{site.url}: with workers, the datagrams of one peer would reach several of"
                    " them: serve an endpoint with connections=True without workers",
                    subject="workers",
                )
        check_fork()
        self._forget_added()
        try:
            for address in self._addresses:
                address.bind()
            supervisor = Supervisor(self, settings, driver, spin_microseconds, on_serving)
            self._supervisor = supervisor
            try:
                supervisor.run(signals=self._wants_signals)
            finally:
                self._ended_workers = supervisor.board.statistics()
                self._supervisor = None
                supervisor.close()
        finally:
            for address in self._addresses:
                address.unbind()
