"""Endpoints of a running server that take the place of others, as at a reload."""

import asyncio
from typing import Any

import pytest

import vespiary
from vespiary._replacing import replace_sites
from vespiary._site import Site

from .kit import TCP, serving


class Hanging(vespiary.Handler):
    """Never starts."""

    def __init__(self) -> None:
        self.was_cancelled = False

    async def on_start(self, server: vespiary.Server) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.was_cancelled = True


class Late(vespiary.Handler):
    """Raises the same exception for another reason."""

    async def on_start(self, server: vespiary.Server) -> None:
        raise TimeoutError("the database does not answer")


async def replaced(handler: Any, seconds: float | None) -> None:
    async with serving(Hello(), TCP) as server:
        site = Site.make(handler, TCP, {})
        try:
            await replace_sites(server, [], [site], {}, seconds)
        finally:
            assert len(server.urls) == 1


class Hello(vespiary.Handler):
    """What is served before."""


async def test_an_on_start_that_never_returns_is_cancelled_and_nothing_has_changed() -> None:
    handler = Hanging()
    with pytest.raises(TimeoutError, match=r"on_start has not returned within 0\.05 s"):
        await replaced(handler, 0.05)
    assert handler.was_cancelled


async def test_a_timeout_of_an_on_start_keeps_its_own_text() -> None:
    with pytest.raises(TimeoutError, match="the database does not answer"):
        await replaced(Late(), 30.0)
