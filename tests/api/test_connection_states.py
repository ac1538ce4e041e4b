"""What each method and property of a connection does in each state: one table, tested."""

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import vespiary

from .kit import WS
from .test_every_thread import public

Call = Callable[[Any], object]

CALLS: dict[str, Call] = {
    "send": lambda it: it.send("x"),
    "send_part": lambda it: it.send_part("x", last=True),
    "send_end": lambda it: it.send_end(),
    "ping": lambda it: it.ping(),
    "start_tls": lambda it: it.start_tls(),
    "subscribe": lambda it: it.subscribe("topic"),
    "subscribe_pattern": lambda it: it.subscribe_pattern("topics/#"),
    "unsubscribe": lambda it: it.unsubscribe("topic"),
    "unsubscribe_pattern": lambda it: it.unsubscribe_pattern("topics/#"),
    "set_timer": lambda it: it.set_timer(60, print),
    "close": lambda it: it.close(),
    "abort": lambda it: it.abort(),
    "pause_reading": lambda it: it.pause_reading(),
    "resume_reading": lambda it: it.resume_reading(),
    "drain": lambda it: it.drain(),
    "wait_closed": lambda it: it.wait_closed(),
    "receive": lambda it: it.receive(),
    "data": lambda it: it.data,
    "peer": lambda it: it.peer,
    "local_address": lambda it: it.local_address,
    "is_open": lambda it: it.is_open,
    "is_shutting_down": lambda it: it.is_shutting_down,
    "queued_bytes": lambda it: it.queued_bytes,
    "subprotocol": lambda it: it.subprotocol,
    "version": lambda it: it.version,
    "extensions": lambda it: it.extensions,
    "close_reason": lambda it: it.close_reason,
    "request": lambda it: it.request,
    "response_headers": lambda it: it.response_headers,
    "tls": lambda it: it.tls,
    "statistics": lambda it: it.statistics(),
}

STATES = ("on_request", "on_open", "on_shutdown", "closing", "aborted", "on_close", "closed")
"""`closing` and `aborted` follow a close() and an abort(), `closed` follows on_close."""

OK, REFUSED, CLOSED = "works", "SendRefused", "ConnectionClosed"

ROWS: dict[str, tuple[str, ...]] = {
    "send": (REFUSED, OK, OK, CLOSED, CLOSED, CLOSED, CLOSED),
    "send_part": (REFUSED, OK, OK, CLOSED, CLOSED, CLOSED, CLOSED),
    # A WebSocket has no end of one direction.
    "send_end": (REFUSED, REFUSED, REFUSED, CLOSED, CLOSED, CLOSED, CLOSED),
    "ping": (REFUSED, OK, OK, CLOSED, CLOSED, CLOSED, CLOSED),
    # A WebSocket has its TLS from its beginning.
    "start_tls": (*("ConfigurationError",) * 6, CLOSED),
    "subscribe": (REFUSED, OK, OK, CLOSED, CLOSED, CLOSED, CLOSED),
    "subscribe_pattern": (REFUSED, OK, OK, CLOSED, CLOSED, CLOSED, CLOSED),
    "set_timer": (OK, OK, OK, OK, OK, CLOSED, CLOSED),
    "drain": (OK, OK, OK, OK, OK, OK, CLOSED),
    # Messages go to the handler's method.
    "receive": ("RuntimeError",) * 7,
}
"""What happens in each of STATES; a name that is not here works in all of them."""


async def ended(wait: Awaitable[object]) -> None:
    """Await something to its end, whatever that is."""
    with contextlib.suppress(vespiary.ConnectionClosed):
        await wait


class Asked(vespiary.Handler):
    """Makes one call in one state, and keeps its outcome."""

    keep_request = True

    def __init__(self, name: str, state: str) -> None:
        self.call = CALLS[name]
        self.state = state
        self.outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.waits: list[asyncio.Future[None]] = []

    def note(self, connection: vespiary.Connection | None, state: str) -> None:
        if state != self.state or self.outcome.done():
            return
        outcome = OK
        try:
            made = self.call(connection)
            if inspect.isawaitable(made):
                self.waits.append(asyncio.ensure_future(ended(made)))
        except vespiary.ConnectionClosed:
            outcome = CLOSED
        except Exception as error:
            outcome = type(error).__name__
        self.outcome.set_result(outcome)

    def on_request(self, request: vespiary.Request) -> None:
        self.note(request.connection, "on_request")

    def on_open(self, connection: vespiary.Connection) -> None:
        self.note(connection, "on_open")
        if self.state == "closing":
            connection.close()
        elif self.state == "aborted":
            connection.abort()
        self.note(connection, "closing")
        self.note(connection, "aborted")

    def on_shutdown(self, connection: vespiary.Connection) -> None:
        self.note(connection, "on_shutdown")
        connection.close()

    def on_close(self, connection: vespiary.Connection, reason: vespiary.CloseReason) -> None:
        self.note(connection, "on_close")
        loop = asyncio.get_running_loop()
        loop.call_later(0.005, self.note, connection, "closed")


def test_every_method_is_in_the_table() -> None:
    assert set(CALLS) == public(vespiary.Connection)
    assert set(ROWS) <= set(CALLS)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", CALLS)
async def test_a_method_does_in_a_state_what_the_table_says(name: str, state: str) -> None:
    handler = Asked(name, state)
    server = vespiary.Server(signals=False)
    server.add(handler, WS)
    async with server:
        with contextlib.suppress(OSError, vespiary.VespiaryError):
            # A server that reads no more does not answer its client's close frame.
            soon = vespiary.Deadlines(close_seconds=0.1)
            async with vespiary.connect(server.urls[0], deadlines=soon):
                if state == "on_shutdown":
                    await server.stop(1)
                elif state not in ("on_close", "closed"):
                    await handler.outcome
        outcome = await handler.outcome
    assert outcome == ROWS.get(name, (OK,) * len(STATES))[STATES.index(state)]
