"""The callables of a handler that the native code calls.

There are three forms of handlers. The plain methods of a `Handler` are called directly. A `Handler`
with async methods, or an async function, gets a task for each connection. All of them may answer
requests later.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from vespiary._bodies import StreamedResponse, send
from vespiary._callbacks import may_be_async
from vespiary._core import Hooks, close_as_told, push, shutdown_begins
from vespiary._first_step import Begins
from vespiary._hook_checks import check_function, check_handler
from vespiary._kept_requests import keeps_request
from vespiary.errors import ConfigurationError
from vespiary.handler import AsyncHandler, Handler
from vespiary.request import NativeResponse, Request, Response, native_response

if TYPE_CHECKING:
    from vespiary._core import Connection
    from vespiary.errors import CloseReason

__all__ = ["as_handler", "defined", "handler_hooks", "start_response", "streamed_response"]

_CUE = object()
"""What waits behind a connection's messages when its server stops."""

_METHODS = {
    "open": "on_open",
    "message": "on_message",
    "part": "on_part",
    "drain": "on_drain",
    "subscribe": "on_subscribe",
    "unsubscribe": "on_unsubscribe",
    "close": "on_close",
    "end": "on_end",
    "shutdown": "on_shutdown",
    "limit": "on_limit",
}


def as_handler(handler: object) -> Handler | AsyncHandler:
    """Return a handler, checked; a class is made into an object.

    Raises:
        ConfigurationError: it is not a handler, or has a mistake in it (see `_hook_checks`).
    """
    if inspect.isclass(handler) and issubclass(handler, Handler):
        handler = _made(handler)
    if isinstance(handler, Handler):
        check_handler(handler)
        return handler
    if may_be_async(handler) and not inspect.isclass(handler):
        _refuse_asgi(handler)
        check_function(handler)
        return cast("AsyncHandler", handler)
    advice = ""
    if inspect.isclass(handler) and "__call__" in vars(handler):
        advice = ": pass an object of this class"
    elif inspect.isasyncgenfunction(handler):
        advice = ": its yield makes it a generator"
    elif callable(handler) and not inspect.isclass(handler):
        advice = " (for a WSGI application, pass vespiary.WSGI(app))"
    raise ConfigurationError(
        "a handler is a vespiary.Handler, a subclass of it, or an async function that takes a"
        f" connection; got {handler!r}{advice}",
        subject="handler",
        value=handler,
    )


def _refuse_asgi(handler: Any) -> None:
    """Refuse an ASGI application by itself, which takes three arguments.

    Raises:
        ConfigurationError: it is one.
    """
    if _takes(handler, 3) and not _takes(handler, 1):
        raise ConfigurationError(
            f"{handler!r:.200} takes three arguments, so it seems to be an ASGI application: pass"
            " vespiary.ASGI(app)",
            subject="handler",
            value=handler,
        )


def _takes(function: Any, count: int) -> bool:
    """Whether a function can be called with so many arguments."""
    try:
        inspect.signature(function).bind(*range(count))
    except (TypeError, ValueError):
        return False
    return True


def _made(cls: type[Handler]) -> Handler:
    try:
        inspect.signature(cls).bind()
    except TypeError as error:
        raise ConfigurationError(
            f"{cls.__name__} cannot be created without arguments ({error}): pass an instance "
            "of it instead",
            subject="handler",
            value=cls,
        ) from None
    return cls()


def defined(handler: Handler, name: str) -> Callable[..., Any] | None:
    """The handler's own method, if it has one."""
    method = getattr(handler, name)
    if getattr(method, "__func__", None) is getattr(Handler, name):
        return None
    return cast("Callable[..., Any]", method)


def handler_hooks(handler: Handler | AsyncHandler, task_name: str = "a handler") -> Hooks:
    """Return the callables for a handler.

    Args:
        handler: A handler, as `as_handler` gives it.
        task_name: The name of its connections' tasks: this very object, so that they can be found.
    """
    if not isinstance(handler, Handler):
        return Hooks(spawn=_spawner(handler, task_name), keeps_request=True)
    asked = handler.keep_request
    keeps = keeps_request(type(handler)) if asked is None else asked
    hooks = Hooks(keeps_request=keeps)
    for hook, name in _METHODS.items():
        setattr(hooks, hook, defined(handler, name))
    # A host of applications, such as that of ASGI, drives each exchange by itself.
    hooks.exchange = getattr(handler, "_on_exchange", None)
    request = defined(handler, "on_request")
    if request is not None:
        hooks.request = _requester(request, task_name)
    if any(may_be_async(hook) for hook in (hooks.open, hooks.message, hooks.shutdown, hooks.close)):
        _make_async(hooks, task_name, type(handler).__qualname__)
    return hooks


def _spawner(
    function: AsyncHandler, task_name: str
) -> Callable[[Connection], asyncio.Task[object]]:
    """Starts the handler's task for a connection."""

    def spawn(connection: Connection) -> asyncio.Task[object]:
        coroutine = cast("Coroutine[Any, Any, object]", function(connection))
        loop = asyncio.get_running_loop()
        context = connection._context
        task = loop.create_task(coroutine, name=task_name, context=context)
        # Without `context` the callback would get its own copy, which lives as long as the task.
        task.add_done_callback(connection._task_done, context=context)
        return task

    return spawn


def _make_async(hooks: Hooks, task_name: str, owner: str) -> None:
    """Let a connection's task run the methods of a class in order."""
    for name, hook in (("on_part", hooks.part), ("on_end", hooks.end)):
        if hook is not None:
            raise ConfigurationError(
                f"{name} cannot be combined with async methods: make these plain methods, or "
                f"remove {name}",
                subject=name,
            )
    opened, message, closed, shutdown = hooks.open, hooks.message, hooks.close, hooks.shutdown
    hooks.open = hooks.message = hooks.close = hooks.shutdown = None
    if shutdown is not None:
        message = _with_cue(message, shutdown)
        hooks.shutdown = lambda connection: push(connection, _CUE)

    async def handle(connection: Connection) -> None:
        task = asyncio.current_task()
        settled = _settled_by(task)
        try:
            if opened is not None:
                await settled(opened(connection))
            async for received in connection:
                if message is not None:
                    await settled(message(connection, received))
        except (KeyboardInterrupt, SystemExit):
            connection._fail()
            raise
        except BaseException as error:
            if _is_ended(error, task):
                raise
            connection._fail(error)
        finally:
            if closed is not None and _is_current(task):
                close_as_told(connection)
                await settled(closed(connection, await _end_of(connection)))

    handle.__qualname__ = owner
    hooks.spawn = _spawner(lambda connection: Begins(handle(connection)), task_name)


async def _end_of(connection: Connection) -> CloseReason:
    """Wait until a connection has ended.

    A server that stops cancels its tasks more than once. It also resets the connections that are
    left, so the end comes, and `on_close` with it, although the wait is cancelled.
    """
    waiting = asyncio.ensure_future(connection.wait_closed())
    while True:
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            comes = connection.is_shutting_down or connection.close_reason is not None
            if waiting.cancelled() or not comes:
                raise


def _with_cue(message: Callable[..., Any] | None, shutdown: Callable[..., Any]) -> Any:
    """A method for messages and for the cue to shut down, which comes behind those that wait."""

    def receive(connection: Connection, received: Any) -> Any:
        if received is _CUE:
            shutdown_begins(connection)
            return shutdown(connection)
        return message(connection, received) if message is not None else None

    return receive


def _is_current(task: asyncio.Task[Any] | None) -> bool:
    """Whether a task takes this step.

    It does not where its coroutine is closed, by the collector or when its loop is gone: a
    GeneratorExit is raised in it, and it can await nothing more.
    """
    try:
        return asyncio.current_task() is task
    except RuntimeError:
        return False


def _is_ended(error: BaseException, task: asyncio.Task[Any] | None) -> bool:
    """Whether an error is the cancellation of a task, or the close of its coroutine.

    Both exceptions may also come out of what the handler did or awaited, which is a failure.
    """
    if isinstance(error, GeneratorExit):
        return not _is_current(task)
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


async def _settled(result: Any) -> None:
    if inspect.isawaitable(result):
        await result


def _settled_by(task: asyncio.Task[Any] | None) -> Callable[[Any], Awaitable[None]]:
    """What awaits a method's result; in asyncio's debug mode the task is shown as the method."""
    shown = task.get_coro() if task is not None and task.get_loop().get_debug() else None
    if not isinstance(shown, Begins):
        return _settled

    async def settle(result: Any) -> None:
        shown.shown = result
        await _settled(result)

    return settle


class _Later:
    """A response that is still to come, and the name of the task that will await it."""

    __slots__ = ("awaitable", "task_name")

    def __init__(self, awaitable: Awaitable[object], task_name: str) -> None:
        self.awaitable = awaitable
        self.task_name = task_name

    def __await__(self) -> Generator[Any, None, object]:
        return self.awaitable.__await__()


class _Ready:
    """Something that is awaited although it is there."""

    __slots__ = ("result",)

    def __init__(self, result: object) -> None:
        self.result = result

    def __await__(self) -> Generator[Any, None, object]:
        yield from ()
        return self.result


def streamed_response(later: object) -> StreamedResponse | None:
    """What a plain method has returned, if that is a response in pieces."""
    ready = later.awaitable if isinstance(later, _Later) else None
    result = ready.result if isinstance(ready, _Ready) else None
    return result if isinstance(result, StreamedResponse) else None


def _requester(method: Callable[..., Any], task_name: str) -> Callable[..., Any]:
    """Puts the response in the engine's form; one that is still to come is left as it is."""

    def request(connection: Connection, request: Request) -> object:
        response = method(request)
        if inspect.isawaitable(response):
            return _Later(response, task_name)
        native = native_response(response)
        if isinstance(native, StreamedResponse):
            return _Later(_Ready(native), task_name)
        return native

    request.__wrapped__ = method  # type: ignore[attr-defined] # As functools.wraps has it.
    return request


def start_response(connection: Connection, awaitable: Any) -> asyncio.Task[None]:
    """Await a response in a task; the connection keeps the task, and cancels it at its end.

    A call of an ASGI application has a task already, and is kept in its place.
    """
    if getattr(awaitable, "is_call", False):
        return cast("asyncio.Task[None]", awaitable)
    waiting = _respond_later(connection, awaitable)
    asked = getattr(awaitable, "awaitable", awaitable)
    cast("Any", waiting).__qualname__ = getattr(asked, "__qualname__", "on_request")
    name = getattr(awaitable, "task_name", None)
    loop = asyncio.get_running_loop()
    begins = Begins(waiting, shown=asked)
    return loop.create_task(begins, name=name, context=connection._context)


def _last_one(connection: Connection, answer: Response | None) -> Response | None:
    """The answer, with which the connection ends where its server is stopping."""
    if not connection.is_shutting_down or not isinstance(answer, Response) or answer.status < 200:
        return answer
    return replace(answer, headers=(*answer.headers, ("Connection", "close")))


_FAILED = NativeResponse(("failed",))
"""The handler has failed to respond: the client gets 500, and the connection ends with it."""


async def _native(connection: Connection, awaitable: Any) -> object:
    """What is awaited, in the engine's form."""
    awaited = await awaitable
    if isinstance(awaited, _Later):
        # A thread has called a method whose response is still to come.
        return await _native(connection, awaited)
    # A method that was run by a thread has put it in that form already.
    if isinstance(awaited, NativeResponse | StreamedResponse):
        return awaited
    return native_response(_last_one(connection, awaited))


async def _respond_later(connection: Connection, awaitable: Any) -> None:
    response: object = _FAILED
    task = asyncio.current_task()
    try:
        response = await _native(connection, awaitable)
        if isinstance(response, StreamedResponse):
            streamed, response = response, _FAILED
            await send(connection, streamed)
            return
    except BaseException as error:
        if _is_ended(error, task):
            raise
        connection._report(error)
    connection._answer(response)
