"""From a handler to the callables that the native side calls.

Three forms come out the same way: a `Handler` whose methods are plain is called directly; one with
async methods, or an async function, gets a task for each connection; and either may answer requests
later.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, cast

from vespiary._core import Hooks
from vespiary._hook_checks import check_function, check_handler, is_async
from vespiary.errors import ConfigurationError, ConnectionClosed
from vespiary.handler import AsyncHandler, Handler
from vespiary.request import Request, Response, native_response

if TYPE_CHECKING:
    from vespiary._core import Connection

__all__ = ["as_handler", "handler_hooks"]

_METHODS = {
    "open": "on_open",
    "message": "on_message",
    "part": "on_part",
    "drain": "on_drain",
    "close": "on_close",
    "end": "on_end",
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
    if is_async(handler) and not inspect.isclass(handler):
        check_function(handler)
        return cast("AsyncHandler", handler)
    advice = ""
    if inspect.isclass(handler) and "__call__" in vars(handler):
        advice = ": an object of this class may be a handler, so make one"
    elif inspect.isasyncgenfunction(handler):
        advice = ": its yield makes it a generator"
    raise ConfigurationError(
        "a handler is a vespiary.Handler, a subclass of it, or an async function that takes a"
        f" connection; got {handler!r}{advice}",
        subject="handler",
        value=handler,
    )


def _made(cls: type[Handler]) -> Handler:
    try:
        inspect.signature(cls).bind()
    except TypeError as error:
        raise ConfigurationError(
            f"{cls.__name__} cannot be made without arguments ({error}): give an object of it",
            subject="handler",
            value=cls,
        ) from None
    return cls()


def _defined(handler: Handler, name: str) -> Callable[..., Any] | None:
    """The handler's own method, if it has one."""
    method = getattr(handler, name)
    if getattr(method, "__func__", None) is getattr(Handler, name):
        return None
    return cast("Callable[..., Any]", method)


def handler_hooks(handler: Handler | AsyncHandler) -> Hooks:
    """The callables for a handler."""
    if not isinstance(handler, Handler):
        return Hooks(spawn=_spawner(handler))
    hooks = Hooks()
    for hook, name in _METHODS.items():
        setattr(hooks, hook, _defined(handler, name))
    request = _defined(handler, "on_request")
    if request is not None:
        hooks.request = _requester(request)
    if any(is_async(hook) for hook in (hooks.open, hooks.message, hooks.close)):
        _make_async(hooks)
    return hooks


def _spawner(function: AsyncHandler) -> Callable[[Connection], asyncio.Task[object]]:
    """Starts the handler's task for a connection."""

    def spawn(connection: Connection) -> asyncio.Task[object]:
        coroutine = cast("Coroutine[Any, Any, object]", function(connection))
        task = asyncio.get_running_loop().create_task(coroutine)
        task.add_done_callback(connection._task_done)
        return task

    return spawn


def _make_async(hooks: Hooks) -> None:
    """Let a connection's task run the methods in order."""
    if hooks.part is not None:
        raise ConfigurationError(
            "on_part is called as parts arrive and cannot stand beside async methods:"
            " make them plain, or leave on_part out",
            subject="on_part",
        )
    opened, message, closed = hooks.open, hooks.message, hooks.close
    hooks.open = hooks.message = hooks.close = None

    async def handle(connection: Connection) -> None:
        try:
            if opened is not None:
                await _settled(opened(connection))
            async for received in connection:
                if message is not None:
                    await _settled(message(connection, received))
        except ConnectionClosed:
            if connection.is_open:
                connection._fail()
                raise
        except Exception:
            connection._fail()
            raise
        finally:
            if closed is not None:
                connection.close()
                reason = await asyncio.shield(connection.wait_closed())
                await _settled(closed(connection, reason))

    hooks.spawn = _spawner(handle)


async def _settled(result: Any) -> None:
    if inspect.isawaitable(result):
        await result


def _requester(method: Callable[..., Any]) -> Callable[..., Any]:
    """Makes the request, and puts the answer in the engine's form."""

    def request(
        connection: Connection,
        head: tuple[str, str, int, str | None],
        headers: list[tuple[str, str]],
    ) -> object:
        answer = method(Request.from_native(connection, head, headers))
        if inspect.isawaitable(answer):
            # The connection keeps the task, and cancels it at its end.
            return asyncio.ensure_future(_answer_later(connection, answer))
        return native_response(answer)

    return request


async def _answer_later(connection: Connection, awaited: Any) -> None:
    try:
        answer = native_response(await awaited)
    except Exception as error:
        connection._report(error)
        failed = Response(500, (), b"the server failed to answer\n")
        answer = native_response(failed)
    connection._answer(answer)
