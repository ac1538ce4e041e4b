"""Receiving with a deadline."""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

from vespiary._seconds import check_seconds

__all__ = ["receive_within"]

T = TypeVar("T")


def receive_within(receiving: Awaitable[T], timeout: float) -> Coroutine[Any, Any, T]:
    """What `connection.receive(timeout=timeout)` awaits.

    Raises:
        ConfigurationError: the timeout is not a number of seconds.
        TimeoutError: no message was received in time.
    """
    return _within(receiving, check_seconds("timeout", timeout))


async def _within(receiving: Awaitable[T], seconds: float) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await receiving
    except TimeoutError:
        raise TimeoutError(f"no message was received within {seconds:g} s") from None
