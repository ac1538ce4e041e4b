"""Coroutines in the simulation, from a seed that a failure names."""

from __future__ import annotations

import asyncio
import functools
import os
import random
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from vespiary._faults import FaultNames, Faults
from vespiary.errors import ConfigurationError
from vespiary.loop import Loop

__all__ = ["new_loop", "run", "seed_note", "simulated"]

T = TypeVar("T")
P = ParamSpec("P")

TIMEOUT_SECONDS = 3600.0
"""How much virtual time a test has: an hour is over at once where nothing more can happen."""


def new_loop(seed: int | None, faults: Faults | FaultNames | None) -> Loop:
    """A simulated loop; without a seed that of `VESPIARY_SEED`, or a new one."""
    return Loop(driver="sim", seed=_asked_seed() if seed is None else seed, faults=faults)


def run(
    main: Coroutine[Any, Any, T],
    *,
    seed: int | None = None,
    faults: Faults | FaultNames | None = None,
    timeout: float | None = TIMEOUT_SECONDS,
) -> T:
    """Run a coroutine in a simulated loop: its servers, clients and timers, and nothing real.

    Args:
        main: The coroutine.
        seed: What chance follows from. Default: `VESPIARY_SEED` of the environment, else any. An
            exception has a note with the seed; the same seed gives the same run.
        faults: What goes wrong in the network: `lossless`, `harsh` or `Faults`. Default: nothing.
        timeout: Virtual seconds until TimeoutError. A test that waits for what can never happen
            fails at once, since nothing keeps the clock from getting there.

    Raises:
        RuntimeError: a loop already runs in this thread.
        Exception: what the coroutine raises.
    """
    if asyncio._get_running_loop() is not None:
        main.close()
        raise RuntimeError(
            "a loop already runs in this thread: make the test a plain function, or decorate it"
            " with vespiary.testing.simulated"
        )

    async def bounded() -> T:
        async with asyncio.timeout(timeout):
            return await main

    try:
        loop = new_loop(seed, faults)
    except BaseException:
        main.close()
        raise
    try:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(bounded())
    except Exception as error:
        error.add_note(seed_note(loop.seed, faults))
        raise
    finally:
        main.close()


def simulated(
    *,
    seeds: int = 1,
    seed: int | None = None,
    faults: Faults | FaultNames | None = None,
    timeout: float | None = TIMEOUT_SECONDS,
) -> Callable[[Callable[P, Coroutine[Any, Any, None]]], Callable[P, None]]:
    """Make an `async def` test a plain one that runs in the simulation, once for each seed.

    Works under pytest without a plugin, and under unittest.

    Args:
        seeds: How many seeds to try: 0, 1, 2 and so on.
        seed: Only this one, to repeat a failure. So does `VESPIARY_SEED` in the environment.
        faults: As for `run`.
        timeout: As for `run`.

    Raises:
        ConfigurationError: `seeds` is less than 1.
    """
    if seeds < 1:
        raise ConfigurationError(f"seeds must be at least 1; got {seeds}", subject="seeds")

    def decorate(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
        @functools.wraps(test)
        def plain(*args: P.args, **kwargs: P.kwargs) -> None:
            only = _asked_seed() if seed is None else seed
            for number in range(seeds) if only is None else [only]:
                # The random numbers of the test itself follow from the seed too.
                before = random.getstate()
                random.seed(number)
                try:
                    run(test(*args, **kwargs), seed=number, faults=faults, timeout=timeout)
                finally:
                    random.setstate(before)

        return plain

    return decorate


def seed_note(seed: int | None, faults: Faults | FaultNames | None) -> str:
    """How to repeat a failure."""
    given = "" if faults is None else f", faults={faults!r}"
    return (
        f"simulated with seed={seed}{given}; to repeat it, pass this seed or set"
        f" VESPIARY_SEED={seed} in the environment"
    )


def _asked_seed() -> int | None:
    text = os.environ.get("VESPIARY_SEED")
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise ConfigurationError(
            f"VESPIARY_SEED must be a whole number; got {text!r}", subject="VESPIARY_SEED"
        ) from None
