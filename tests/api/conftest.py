"""Tests of the public interface; coroutines run in Vespiary's loop, on each driver.

With VESPIARY_TEST_LOOP=asyncio or =uvloop they run in that loop, of which Vespiary is a guest.
"""

import asyncio
import gc
import inspect
import os
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

import vespiary
import vespiary.testing
from vespiary import ClientTLS, ServerTLS
from vespiary.loop import Loop

from .certificates import Certificates

SECONDS = 50.0


@pytest.fixture(params=["uring", "epoll"], autouse=True)
def driver(request: pytest.FixtureRequest) -> str:
    """Each of the kernel's drivers."""
    name: str = request.param
    try:
        Loop(driver=name).close()
    except vespiary.DriverUnavailable as error:
        pytest.skip(str(error))
    return name


@pytest.fixture
def loop(driver: str) -> Iterator[Loop]:
    """One of Vespiary's loops, which does not run."""
    made = Loop(driver=driver)
    yield made
    made.close()


@pytest.fixture
def whole_log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What all loggers log, without complaints about what earlier tests have left."""
    gc.collect()
    return caplog


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def tls(certificates: Certificates) -> ServerTLS:
    return ServerTLS(*certificates.make("localhost", "127.0.0.1"))


@pytest.fixture
def trusting(certificates: Certificates) -> ClientTLS:
    return ClientTLS(ca=certificates.ca)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine, in bounded time."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    coroutine = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    driver = pyfuncitem.funcargs["driver"]
    assert isinstance(driver, str)
    kind = os.environ.get("VESPIARY_TEST_LOOP", "vespiary")
    if driver == "sim":
        vespiary.testing.run(coroutine)
    elif kind == "vespiary":
        vespiary.run(bounded(coroutine), driver=driver)
    else:
        run_as_guest(bounded(coroutine), kind, driver)
    return True


def loop_factory(kind: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes a loop of this kind."""
    if kind == "vespiary":
        return Loop
    if kind == "uvloop":
        import uvloop

        return uvloop.new_event_loop
    assert kind == "asyncio", f"VESPIARY_TEST_LOOP must be asyncio or uvloop; got {kind!r}"
    return asyncio.SelectorEventLoop


def run_as_guest(coroutine: Coroutine[Any, Any, None], kind: str, driver: str) -> None:
    """Run a coroutine in a loop of this kind, with Vespiary's engine on this driver."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VESPIARY_DRIVER", driver)
        with asyncio.Runner(loop_factory=loop_factory(kind)) as runner:
            runner.run(coroutine)


async def bounded(coroutine: Coroutine[Any, Any, object]) -> None:
    async with asyncio.timeout(SECONDS):
        await coroutine
