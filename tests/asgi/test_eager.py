"""Tasks that begin at once: what a coroutine sees of its task, and when it has one of its own."""

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any

import anyio
import pytest

from vespiary.http._eager import Starter

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def begun(starter: Starter, coroutine: Coroutine[Any, Any, None]) -> Any:
    """Begin a coroutine as the engine does: in a callback, outside any task."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[asyncio.Task[None] | None] = loop.create_future()
    loop.call_soon(lambda: outcome.set_result(starter.begin(coroutine, "a call")))
    return await outcome


async def test_a_coroutine_that_waits_for_nothing_ends_at_once_within_a_task() -> None:
    starter = Starter()
    seen: list[Any] = []

    async def quick() -> None:
        variable.set("set")
        seen.append(asyncio.current_task())

    for _ in range(3):
        assert await begun(starter, quick()) is None
    assert None not in seen
    assert variable.get() == "unset"
    starter.end()


async def test_a_coroutine_that_waits_keeps_its_task_its_name_and_its_context() -> None:
    starter = Starter()
    seen: list[Any] = []

    async def slow() -> None:
        first = asyncio.current_task()
        variable.set("set")
        for _ in range(3):
            await asyncio.sleep(0)
            seen.append(asyncio.current_task() is first)
            seen.append(variable.get())

    one, two = await begun(starter, slow()), await begun(starter, slow())
    assert one is not two
    assert one.get_name() == "a call"
    await asyncio.gather(one, two)
    assert seen == [True, "set"] * 6
    assert variable.get() == "unset"
    starter.end()


async def test_timeouts_and_scopes_work_from_the_first_step_on() -> None:
    starter = Starter()
    seen: list[str] = []

    async def scoped() -> None:
        try:
            async with asyncio.timeout(0):
                await asyncio.sleep(3600)
        except TimeoutError:
            seen.append("timeout")
        with anyio.move_on_after(0):
            await asyncio.sleep(3600)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await asyncio.sleep(3600)
        async with anyio.create_task_group() as group:
            group.start_soon(asyncio.sleep, 0)
        seen.append("end")

    await (await begun(starter, scoped()))
    assert seen == ["timeout", "end"]
    starter.end()


async def test_a_cancellation_is_raised_where_the_coroutine_waits() -> None:
    starter = Starter()
    seen: list[str] = []

    async def waiting() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    for turns in range(3):
        task = await begun(starter, waiting())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert seen == ["cancelled"] * 3
    starter.end()


async def test_a_coroutine_that_cancels_itself_does_not_harm_the_next() -> None:
    starter = Starter()

    async def rash() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    async def careful() -> None:
        await asyncio.sleep(0)

    for _ in range(3):
        await begun(starter, rash())
        await (await begun(starter, careful()))
    starter.end()


async def test_a_task_of_the_coroutine_has_its_context() -> None:
    starter = Starter()
    seen: list[str] = []

    async def child() -> None:
        seen.append(variable.get())

    async def parent() -> None:
        variable.set("set")
        await asyncio.create_task(child())

    await (await begun(starter, parent()))
    assert seen == ["set"]
    starter.end()


async def test_a_factory_for_tasks_is_used() -> None:
    loop = asyncio.get_running_loop()
    made: list[str] = []

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        made.append("task")
        return asyncio.Task(coroutine, loop=loop, **options)

    async def quick() -> None: ...

    loop.set_task_factory(factory)
    try:
        await (await begun(Starter(), quick()))
    finally:
        loop.set_task_factory(None)
    assert made == ["task"]
