"""Receiving with a deadline."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

__all__ = ["receive_within"]

T = TypeVar("T")


async def receive_within(receiving: Awaitable[T], seconds: float) -> T:
    """What `connection.receive(timeout=seconds)` awaits.

    Raises:
        TimeoutError: no message came in time.
    """
    try:
        async with asyncio.timeout(seconds):
            return await receiving
    except TimeoutError:
        raise TimeoutError(f"no message was received within {seconds} s") from None
