"""Tests of the public interface; coroutines run in Vespiary's loop, on each driver."""

import asyncio
import inspect
from collections.abc import Coroutine
from typing import Any

import pytest

import vespiary
from vespiary.loop import Loop

SECONDS = 20.0


@pytest.fixture(params=["uring", "epoll"], autouse=True)
def driver(request: pytest.FixtureRequest) -> str:
    """Each of the kernel's drivers."""
    name: str = request.param
    try:
        Loop(driver=name).close()
    except vespiary.DriverUnavailable as error:
        pytest.skip(str(error))
    return name


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine, in bounded time."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    coroutine = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    driver = pyfuncitem.funcargs["driver"]
    assert isinstance(driver, str)
    vespiary.run(bounded(coroutine), driver=driver)
    return True


async def bounded(coroutine: Coroutine[Any, Any, object]) -> None:
    async with asyncio.timeout(SECONDS):
        await coroutine
